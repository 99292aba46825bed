/**
 * The commit log of a real storage, damaged in every way: the storage opens, lines that were not touched are known, and
 * whatever is read is a commit or nothing. The lines carry no checksum: a digit that changed is believed, and must do no harm.
 */
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { must } from "#base/assert.ts";
import { parseCommitLine } from "#store/records.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { anyMutation, mutate } from "#test/support/mutations.ts";
import { type Kit, listen, openKit, proofOf, request, seededRandom, send, testFile } from "#test/support/store-kit.ts";

setDefaultTimeout(60_000);
const LOG = ".nbackup/commits.jsonl";
const SESSIONS = Array.from({ length: 6 }, (_, index) => `0${index}0a0a0a-0000-4000-8000-00000000000a`);
const AFTERWARDS = "0f0f0f0f-0000-4000-8000-00000000000f";
const DAY_MS = 24 * 3600 * 1000;

let disk: MemoryDisk;
let bytes: Buffer;
let lines: readonly string[];

async function commit(kit: Kit, session: string, day: number): Promise<void> {
  const file = testFile(seededRandom(day), [100, 200]);
  const startWallMs = Date.UTC(2026, 1, 12) + day * DAY_MS;
  const store = await kit.storage.createSession(request({ session, startWallMs }), listen().events);
  for (const chunk of file.chunks) send(store, chunk);
  await kit.clock.until(
    store.finish(proofOf(file), () => undefined),
    60_000,
  );
}

const logOf = (from: MemoryDisk): Buffer => Buffer.from(must(from.tree("/srv/backup").get(LOG), "log"));

beforeAll(async () => {
  // More commits than archives are kept, so that there are lines of rotation as well.
  const kit = await openKit({ maxBackups: 3 });
  for (const [day, session] of SESSIONS.entries()) await commit(kit, session, day);
  await kit.storage.close();
  disk = kit.disk;
  bytes = logOf(disk);
  lines = bytes.toString().trimEnd().split("\n");
});

/** The storage with this in the place of its commit log. */
async function opened(log: Uint8Array): Promise<Kit> {
  const copy = disk.reboot();
  await copy.unlink(`/srv/backup/${LOG}`);
  copy.plant(`/srv/backup/${LOG}`, log);
  return await openKit({ disk: copy, maxBackups: 3 });
}

function isCommitOf(session: string, line: string): boolean {
  const parsed = parseCommitLine(line);
  return parsed?.type === "commit" && parsed.intent.session === session;
}

test("the log that is damaged below has commits and rotations", () => {
  const kinds = lines.map((line) => parseCommitLine(line)?.type);
  expect(kinds.filter((kind) => kind === "commit")).toHaveLength(SESSIONS.length);
  expect(kinds.filter((kind) => kind === "rotated")).toHaveLength(SESSIONS.length - 3);
});

test("a storage with a damaged commit log opens, knows what was not touched, and goes on", async () => {
  const whole = await opened(bytes);
  await fc.assert(
    fc.asyncProperty(fc.array(anyMutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
      const damaged = mutate(bytes, mutations, Buffer.from(`${lines.toReversed().join("\n")}\n`));
      const kit = await opened(damaged);
      const left = damaged.toString().split("\n").slice(0, -1);
      for (const line of lines.filter((one) => left.includes(one))) {
        const parsed = must(parseCommitLine(line), "a line of ours");
        if (parsed.type !== "commit") continue;
        const { session } = parsed.intent;
        const record = must(kit.storage.commitRecord(session), "a line that was not touched");
        // A doubled line of which the copy was damaged so that it still is one: the later counts.
        if (left.some((other) => other !== line && isCommitOf(session, other))) continue;
        const before = must(whole.storage.commitRecord(session), "the record itself");
        expect({ ...record, removed: [] }).toEqual({ ...before, removed: [] });
      }
      await commit(kit, AFTERWARDS, 20);
      await kit.storage.close();
      const again = await openKit({ disk: kit.disk, maxBackups: 3 });
      expect(again.storage.commitRecord(AFTERWARDS)?.session).toBe(AFTERWARDS);
      // What could not be read was dropped once: the file on the disk is whole again.
      const now = logOf(kit.disk).toString().trimEnd().split("\n");
      expect(now.filter((line) => parseCommitLine(line) === undefined)).toEqual([]);
      await again.storage.close();
      expect(kit.disk.openFiles).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test("a line of the log with any damage is a commit, a rotation or nothing, and names no file outside its entry", () => {
  fc.assert(
    fc.property(fc.nat(lines.length - 1), fc.array(anyMutation, { minLength: 1, maxLength: 3 }), (index, mutations) => {
      const line = Buffer.from(must(lines[index], "line"));
      const parsed = parseCommitLine(mutate(line, mutations, line).toString());
      if (parsed === undefined) return;
      const names =
        parsed.type === "commit" ? [parsed.intent.archive] : parsed.type === "rotated" ? parsed.removed : [];
      for (const name of names) expect(name).toMatch(/^[\w.-]+\/[\w.-]+\/\d{4}-[\dTZ-]+\.tar\.(gz|zst)$/);
      for (const name of names) expect(name.split("/")).not.toContain("..");
    }),
    { numRuns: 2000 },
  );
});
