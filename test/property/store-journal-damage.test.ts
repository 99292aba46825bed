/**
 * Journals of real sessions, damaged in every way: what is read is what was written, up to the damage; nothing throws,
 * memory stays bounded, and a storage that finds one opens and shows no archive but a true one.
 */
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { must } from "#base/assert.ts";
import { MiB } from "#base/units.ts";
import {
  decodeRecord,
  encodeChunks,
  encodeDocument,
  JOURNAL_MAGIC,
  JOURNAL_RECORD_BYTES_MAX,
  type JournalRecord,
} from "#store/journal-format.ts";
import { type JournalEnd, readJournal } from "#store/journal-reader.ts";
import { parseHead, parseIntent } from "#store/records.ts";
import type { SessionStore } from "#store/session-store.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { anyMutation, inPlace, mutate } from "#test/support/mutations.ts";
import {
  type Kit,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  SESSION_B,
  type TestFile,
  testFile,
} from "#test/support/store-kit.ts";

setDefaultTimeout(60_000);

interface Capture {
  readonly bytes: Buffer;
  readonly records: readonly JournalRecord[];
}

const FILES = [
  testFile(seededRandom(1), [70_000, 1, 300_000, ...Array.from({ length: 40 }, () => 500)]),
  testFile(seededRandom(2), [5000, 5000], 1),
];
const SESSION_C = "0d0d0d0d-0000-4000-8000-00000000000d";
const journalOf = (session: string): string => `.nbackup/sessions/${session}/journal`;
let own: Capture;
let other: Capture;
/** The storage as it stands in the middle of the commit of SESSION_A. */
let committing: MemoryDisk;

/** The journal of a session at the moment in which its archive is about to get its name. */
async function capture(
  session: string,
  ...files: readonly TestFile[]
): Promise<{ journal: Capture; disk: MemoryDisk }> {
  const kit = await openKit();
  const store = await kit.storage.createSession(request({ session }), listen().events);
  let found: { bytes: Buffer; disk: MemoryDisk } | undefined;
  kit.disk.hook = ({ call, path }) => {
    if (call !== "link" || !path.endsWith(".tar.gz") || found !== undefined) return;
    const bytes = kit.disk.tree("/srv/backup").get(journalOf(session));
    found = { bytes: Buffer.from(must(bytes, "journal")), disk: kit.disk.reboot() };
  };
  for (const chunk of files.flatMap((file) => file.chunks)) send(store, chunk);
  await kit.clock.until(
    store.finish(proofOf(...files), () => undefined),
    60_000,
  );
  const { bytes, disk } = must(found, "a commit");
  return { journal: { bytes, records: (await read(bytes)).records }, disk };
}

beforeAll(async () => {
  const first = await capture(SESSION_A, ...FILES);
  ({ journal: own, disk: committing } = first);
  ({ journal: other } = await capture(SESSION_B, testFile(seededRandom(3), [1000, 2000, 3000])));
});

/** Reads it as a start does; fails when it takes more memory or calls than the file's length justifies. */
async function read(bytes: Uint8Array): Promise<JournalEnd & { records: JournalRecord[] }> {
  const disk = new MemoryDisk();
  disk.plant("/journal", bytes);
  const lengths: number[] = [];
  disk.hook = ({ call, length }) => {
    if (call === "read") lengths.push(length ?? 0);
  };
  const file = await disk.open("/journal", "read");
  const records: JournalRecord[] = [];
  const journalEnd = await readJournal(file, (item) => records.push(item));
  await file.close();
  expect(Math.max(...lengths)).toBeLessThanOrEqual(MiB + JOURNAL_RECORD_BYTES_MAX);
  expect(lengths.length).toBeLessThanOrEqual(3 + bytes.length / MiB);
  return { records, ...journalEnd };
}

const encode = (item: JournalRecord): string =>
  Buffer.from(item.type === "chunk" ? encodeChunks([item.chunk]) : encodeDocument(item.type, item.body)).toString(
    "latin1",
  );

test("the captured journal is a whole one: its session, its chunks, its intent", async () => {
  expect(own.records.map(({ type }) => type)).toEqual(["session", ...Array(45).fill("chunk"), "intent"]);
  expect(await read(own.bytes)).toEqual({ records: [...own.records], wholeBytes: own.bytes.length, tornBytes: 0 });
});

test("damage in place leaves what stood before it, and no record that was not written", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(inPlace, { minLength: 1, maxLength: 4 }), async (mutations) => {
      const bytes = mutate(own.bytes, mutations, other.bytes);
      const { records, wholeBytes, tornBytes } = await read(bytes);
      expect(records).toEqual(own.records.slice(0, records.length));
      expect(wholeBytes + tornBytes).toBe(bytes.length);
      expect(bytes.subarray(0, wholeBytes).equals(own.bytes.subarray(0, wholeBytes))).toBeTrue();
    }),
    { numRuns: 400 },
  );
});

test("pieces that were cut out, doubled or moved in from another journal give only records that somebody wrote", async () => {
  const written = new Set([...own.records, ...other.records].map(encode));
  await fc.assert(
    fc.asyncProperty(fc.array(anyMutation, { minLength: 1, maxLength: 5 }), async (mutations) => {
      const bytes = mutate(own.bytes, mutations, other.bytes);
      const { records, wholeBytes, tornBytes } = await read(bytes);
      expect(records.filter((item) => !written.has(encode(item)))).toEqual([]);
      expect(wholeBytes + tornBytes).toBe(bytes.length);
      const magic = bytes.subarray(0, JOURNAL_MAGIC.length).equals(JOURNAL_MAGIC);
      expect(wholeBytes > 0).toBe(magic);
    }),
    { numRuns: 600 },
  );
});

test("a length of any size is judged before anything is kept for it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: 46 }), fc.integer({ min: 0, max: 0xffff_ffff }), async (index, length) => {
      const ends = recordStarts();
      const bytes = Buffer.from(own.bytes);
      bytes.writeUInt32BE(length, must(ends[index], "a record") + 4);
      const { records } = await read(bytes);
      expect(records).toEqual(own.records.slice(0, bytes.equals(own.bytes) ? undefined : index));
    }),
    { numRuns: 300 },
  );
});

/** Where each record of `own` begins. */
function recordStarts(): number[] {
  const starts: number[] = [];
  let at = JOURNAL_MAGIC.length;
  for (const record of own.records) {
    starts.push(at);
    at += encode(record).length;
  }
  return starts;
}

test("a foreign magic is no journal, whatever follows", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 8, maxLength: 8 }), async (magic) => {
      fc.pre(!Buffer.from(magic).equals(JOURNAL_MAGIC));
      const bytes = Buffer.concat([magic, own.bytes.subarray(8)]);
      expect(await read(bytes)).toEqual({ records: [], wholeBytes: 0, tornBytes: bytes.length });
    }),
  );
  for (const short of [0, 1, 7]) {
    expect((await read(own.bytes.subarray(0, short))).wholeBytes).toBe(0);
  }
});

/** A record with any type and payload whose CRC is right: what a bug or a wicked hand would write. */
function sealed(type: number, payload: Uint8Array): Buffer {
  const out = Buffer.alloc(8 + payload.length + 4);
  out[0] = type;
  out.writeUInt32BE(payload.length, 4);
  out.set(payload, 8);
  out.writeUInt32BE(crc32(out.subarray(0, 8 + payload.length)), 8 + payload.length);
  return out;
}

test("a record with a right CRC and any content is a record or broken, and means a session or nothing", () => {
  const json = fc.oneof(
    fc.json({ maxDepth: 3 }),
    fc.constantFrom("[".repeat(16_000), `{"__proto__":{"session":"x"}}`, "null", "1e999", '"\\ud800"', ""),
  );
  const payload = fc.oneof(
    json.map((text) => new TextEncoder().encode(text)),
    fc.uint8Array({ minLength: 60, maxLength: 60 }),
    fc.uint8Array({ maxLength: 300 }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.integer({ min: 0, max: 4 }), fc.nat(255)), payload, (type, body) => {
      const decoded = decodeRecord(sealed(type, body));
      expect(["record", "broken"]).toContain(decoded.outcome);
      if (decoded.outcome !== "record") return;
      expect(decoded.length).toBe(body.length + 12);
      if (decoded.record.type === "chunk") {
        expect(Number.isSafeInteger(decoded.record.chunk.offset)).toBeTrue();
        return;
      }
      expect(parseHead(decoded.record.body)).toBeUndefined();
      expect(parseIntent(decoded.record.body)).toBeUndefined();
    }),
    { numRuns: 1000 },
  );
});

/** Sends what the store says that it has not, as an agent would, and commits. */
async function goOn(store: SessionStore, kit: Kit): Promise<string> {
  const said = store.acknowledgement(1000);
  for (const { chunks } of FILES) {
    for (const chunk of chunks) {
      const { durableChunks = 0 } = said.find(({ file }) => file === chunk.file) ?? {};
      if (chunk.sequence >= durableChunks) send(store, chunk);
    }
  }
  const finished = store.finish(proofOf(...FILES), () => undefined);
  return (await kit.clock.until(finished, 60_000)).archive;
}

async function backUpAnother(kit: Kit): Promise<void> {
  const next = testFile(seededRandom(4), [100, 200]);
  const store = await kit.storage.createSession(request({ session: SESSION_C, backup: "etc" }), listen().events);
  for (const chunk of next.chunks) send(store, chunk);
  const finished = store.finish(proofOf(next), () => undefined);
  const { archive } = await kit.clock.until(finished, 60_000);
  expect(Buffer.from(must(kit.disk.tree("/srv/backup").get(archive), "archive")).equals(next.bytes)).toBeTrue();
}

test("a storage that finds a damaged journal opens, and the session is committed, goes on or is gone, with the true bytes", async () => {
  const whole = must(FILES[0], "archive").bytes;
  const journal = `/srv/backup/${journalOf(SESSION_A)}`;
  const seen = { committed: 0, "went on": 0, gone: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(anyMutation, { maxLength: 3 }), async (mutations) => {
      const disk = committing.reboot();
      await disk.unlink(journal);
      disk.plant(journal, mutate(own.bytes, mutations, other.bytes));
      const kit = await openKit({ disk });
      const [left] = kit.storage.takeLeft().sessions;
      const { heard, events } = listen();
      if (left !== undefined) await goOn(left.adopt(events), kit);
      // The part files are as they were: whatever the journal says, the disk has the right bytes.
      expect(heard).toMatchObject({ failed: [], lost: [] });
      const shown = [...disk.tree("/srv/backup")].filter(([name]) => name.endsWith(".tar.gz"));
      for (const [, bytes] of shown) expect(Buffer.from(bytes).equals(whole)).toBeTrue();
      expect(shown.length).toBeGreaterThanOrEqual(left === undefined ? 0 : 1);
      seen[left !== undefined ? "went on" : shown.length > 0 ? "committed" : "gone"] += 1;
      await backUpAnother(kit);
      await kit.storage.close();
      expect([...disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
      expect(disk.openFiles).toBe(0);
    }),
    { numRuns: 200 },
  );
  for (const [outcome, count] of Object.entries(seen)) expect([outcome, count > 0]).toEqual([outcome, true]);
});
