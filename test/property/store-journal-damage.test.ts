/**
 * Journals of real sessions, damaged in every way: what is read is what was written, up to the damage; nothing throws,
 * memory stays bounded, and a storage that finds one opens and shows no archive but a true one.
 */
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { must } from "#base/assert.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import {
  decodeRecord,
  encodeAssembled,
  encodeChunks,
  encodeDocument,
  JOURNAL_MAGIC,
  JOURNAL_RECORD_BYTES_MAX,
  type JournalRecord,
} from "#store/journal-format.ts";
import { type JournalEnd, readJournal } from "#store/journal-reader.ts";
import { parseHead, parseIntent } from "#store/records.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { StorageOptions } from "#store/storage-options.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import type { DiskEvent } from "#test/support/memory-file.ts";
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

/** A journal, and the disk on which it lay, at some moment of a session. */
interface Capture {
  readonly bytes: Buffer;
  readonly records: readonly JournalRecord[];
  readonly disk: MemoryDisk;
}

const FILES = [
  testFile(seededRandom(1), [70_000, 1, 300_000, ...Array.from({ length: 40 }, () => 500)]),
  testFile(seededRandom(2), [5000, 5000], 1),
];
const SESSION_C = "0d0d0d0d-0000-4000-8000-00000000000d";
const journalOf = (session: string): string => `.nbackup/sessions/${session}/journal`;
let own: Capture;
let other: Capture;

type Staging = StorageOptions["staging"];
const LAZY: Staging = { shardLevels: 1, chunkFsync: true, batchBytes: 100_000 };

/** The first call of its kind: what is on the disk before it is what is captured. */
type At = (event: DiskEvent) => boolean;
const aboutToBeNamed: At = ({ call, path }) => call === "link" && path.endsWith(".tar.gz");
const aboutToBeUnstaged: At = ({ call, path }) => call === "unlink" && path.includes("/chunks/");

async function capture(at: At, staging: Staging, session: string, ...files: readonly TestFile[]): Promise<Capture> {
  const kit = await openKit({ staging });
  const store = await kit.storage.createSession(request({ session }), listen().events);
  let found: { bytes: Buffer; disk: MemoryDisk } | undefined;
  kit.disk.hook = (event) => {
    if (found !== undefined || !at(event)) return;
    const bytes = kit.disk.tree("/srv/backup").get(journalOf(session));
    found = { bytes: Buffer.from(must(bytes, "journal")), disk: kit.disk.reboot() };
  };
  for (const chunk of files.flatMap((file) => file.chunks)) send(store, chunk);
  await kit.clock.until(
    store.finish(proofOf(...files), () => undefined),
    60_000,
  );
  const { bytes, disk } = must(found, "the moment to capture");
  return { bytes, disk, records: (await read(bytes)).records };
}

beforeAll(async () => {
  own = await capture(aboutToBeNamed, LAZY, SESSION_A, ...FILES);
  other = await capture(aboutToBeNamed, undefined, SESSION_B, testFile(seededRandom(3), [1000, 2000, 3000]));
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

function encode(item: JournalRecord): string {
  const bytes =
    item.type === "chunk"
      ? encodeChunks([item.chunk])
      : item.type === "assembled"
        ? encodeAssembled(item.assembled)
        : encodeDocument(item.type, item.body);
  return Buffer.from(bytes).toString("latin1");
}

test("the captured journal has all that a journal may have: its session, chunks, what was assembled, its intent", async () => {
  const types = own.records.map(({ type }) => type);
  expect(types.filter((type, index) => type !== types[index - 1])).toEqual(["session", "chunk", "assembled", "intent"]);
  expect(types.filter((type) => type === "chunk")).toHaveLength(FILES.flatMap((file) => file.chunks).length);
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
    fc.asyncProperty(fc.nat(), fc.integer({ min: 0, max: 0xffff_ffff }), async (which, length) => {
      const starts = recordStarts();
      const index = which % starts.length;
      const bytes = Buffer.from(own.bytes);
      bytes.writeUInt32BE(length, must(starts[index], "a record") + 4);
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
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc.uint8Array({ maxLength: 300 }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.nat(255)), payload, (type, body) => {
      const decoded = decodeRecord(sealed(type, body));
      expect(["record", "broken"]).toContain(decoded.outcome);
      if (decoded.outcome !== "record") return;
      expect(decoded.length).toBe(body.length + 12);
      const { record } = decoded;
      if (record.type === "chunk") expect(Number.isSafeInteger(record.chunk.offset)).toBeTrue();
      else if (record.type === "assembled") expect(Number.isSafeInteger(record.assembled.bytes)).toBeTrue();
      else expect([parseHead(record.body), parseIntent(record.body)]).toEqual([undefined, undefined]);
    }),
    { numRuns: 1000 },
  );
});

/** Sends what the store says that it has not, as an agent would, and commits; or is told why that is not possible. */
async function goOn(store: SessionStore, kit: Kit): Promise<Failure | undefined> {
  const said = store.acknowledgement(1000);
  try {
    for (const { chunks } of FILES) {
      for (const chunk of chunks) {
        const { durableChunks = 0 } = said.find(({ file }) => file === chunk.file) ?? {};
        if (chunk.sequence >= durableChunks) send(store, chunk);
      }
    }
    const finished = store.finish(proofOf(...FILES), () => undefined);
    await kit.clock.until(finished, 60_000);
    return undefined;
  } catch (error) {
    const failure = toFailure(error);
    await kit.clock.until(store.abort(failure), 60_000);
    return failure;
  }
}

async function backUpAnother(kit: Kit): Promise<void> {
  const next = testFile(seededRandom(4), [100, 200]);
  const store = await kit.storage.createSession(request({ session: SESSION_C, backup: "etc" }), listen().events);
  for (const chunk of next.chunks) send(store, chunk);
  const finished = store.finish(proofOf(next), () => undefined);
  const { archive } = await kit.clock.until(finished, 60_000);
  expect(Buffer.from(must(kit.disk.tree("/srv/backup").get(archive), "archive")).equals(next.bytes)).toBeTrue();
}

/** By what was done to the disk before: what may become of a session whose journal is damaged. */
const MOMENTS: readonly {
  readonly name: string;
  readonly at: At;
  readonly staging: Staging;
  readonly outcomes: string[];
}[] = [
  // The part files have every byte, whatever the journal says of them.
  { name: "eager, in its commit", at: aboutToBeNamed, staging: undefined, outcomes: ["committed", "went on", "gone"] },
  // A journal that has lost what was assembled contradicts the staged files, which are gone.
  { name: "lazy, in its commit", at: aboutToBeNamed, staging: LAZY, outcomes: ["committed", "gone", "failed"] },
  { name: "lazy, while it is assembled", at: aboutToBeUnstaged, staging: LAZY, outcomes: ["went on", "gone"] },
];

test.each(MOMENTS)(
  "a storage that finds a damaged journal opens, and shows the true archive or none: a session that was $name",
  async ({ at, staging, outcomes }) => {
    const whole = must(FILES[0], "archive").bytes;
    const journal = `/srv/backup/${journalOf(SESSION_A)}`;
    const found = await capture(at, staging, SESSION_A, ...FILES);
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(anyMutation, { maxLength: 3 }), async (mutations) => {
        const disk = found.disk.reboot();
        await disk.unlink(journal);
        disk.plant(journal, mutate(found.bytes, mutations, other.bytes));
        const kit = await openKit({ disk, staging });
        const { sessions, casualties } = kit.storage.takeLeft();
        expect(sessions.length + casualties.length).toBeLessThanOrEqual(1);
        const [left] = sessions;
        const failure = left === undefined ? casualties[0]?.failure : await goOn(left.adopt(listen().events), kit);
        const shown = [...disk.tree("/srv/backup")].filter(([name]) => name.endsWith(".tar.gz"));
        for (const [, bytes] of shown) expect(Buffer.from(bytes).equals(whole)).toBeTrue();
        expect(["E_DISK", "E_MISMATCH", undefined]).toContain(failure?.code);
        if (failure !== undefined) expect(shown).toEqual([]);
        seen.add(
          failure !== undefined ? "failed" : shown.length === 0 ? "gone" : left === undefined ? "committed" : "went on",
        );
        await backUpAnother(kit);
        await kit.storage.close();
        expect([...disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
        expect(disk.openFiles).toBe(0);
      }),
      { numRuns: 150 },
    );
    expect(outcomes.filter((outcome) => !seen.has(outcome))).toEqual([]);
  },
);
