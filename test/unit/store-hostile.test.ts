/** What an agent that means harm, or a disk at its worst moment, cannot make the store do. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { SYNC_DELAY_MS } from "#store/durability.ts";
import type { SessionStore } from "#store/session-store.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  begin,
  chunkAt,
  type Heard,
  type Kit,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  SESSION_B,
  testFile,
} from "#test/support/store-kit.ts";

const SESSION = `/srv/backup/.nbackup/sessions/${SESSION_A}`;
const ABORTED = new Failure("E_ABORTED", "by the test");

async function openSession(
  options: Parameters<typeof openKit>[0] = {},
): Promise<Kit & { readonly store: SessionStore; readonly heard: Heard }> {
  const kit = await openKit(options);
  const { heard, events } = listen();
  return { ...kit, store: await kit.storage.createSession(request(), events), heard };
}

test("bytes of a chunk that was given up do not stay behind the end of the archive", async () => {
  const file = testFile(seededRandom(31), [1000, 1000]);
  const { store, disk, clock } = await openSession();
  for (const chunk of file.chunks) send(store, chunk);
  const placing = store.beginChunk({ file: 0, sequence: 2, offset: 2000, storedLength: MiB });
  if (placing.verdict !== "new") throw new Error("a duplicate");
  placing.writer.write(new Uint8Array(600 * KiB).fill(7));
  await settle();
  expect((await disk.lstat(`${SESSION}/archive.part`)).size).toBeGreaterThan(2000);
  placing.writer.abort();
  const answer = await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup").get(answer.archive)).toEqual(file.bytes);
  expect(disk.reboot().tree("/srv/backup").get(answer.archive)).toEqual(file.bytes);
});

test("a part that is shorter than what was written to it is never committed", async () => {
  const file = testFile(seededRandom(31), [1000, 1000]);
  const { store, disk, clock, storage } = await openSession();
  for (const chunk of file.chunks) send(store, chunk);
  await settle();
  const part = await disk.open(`${SESSION}/archive.part`, "read-write");
  await part.truncate(1500);
  await part.close();
  const finished = store.finish(proofOf(file), () => undefined).then(String, String);
  expect(await clock.until(finished, 10_000)).toContain("E_DISK: file 0 has 1500 bytes on the disk, expected 2000");
  await store.abort(ABORTED);
  expect(await storage.archives("web-01", "home")).toEqual([]);
});

test("a commit waits for the writes of chunks that were given up", async () => {
  const file = testFile(seededRandom(32), [1000]);
  const { store, disk, clock, log } = await openSession();
  send(store, chunkAt(file, 0));
  await clock.advance(SYNC_DELAY_MS);
  const placing = store.beginChunk({ file: 0, sequence: 1, offset: 1000, storedLength: MiB });
  if (placing.verdict !== "new") throw new Error("a duplicate");
  const gate = Promise.withResolvers<void>();
  const after: string[] = [];
  disk.hook = async ({ call }) => {
    if (call === "write" && after.length === 0) await gate.promise;
    else after.push(call);
  };
  placing.writer.write(new Uint8Array(300 * KiB));
  placing.writer.abort();
  const finished = store.finish(proofOf(file), () => undefined);
  await settle();
  expect(after).toEqual([]);
  gate.resolve();
  const answer = await clock.until(finished, 10_000);
  expect(disk.tree("/srv/backup").get(answer.archive)).toEqual(file.bytes);
  expect(log.lines.filter((line) => line.level === "error")).toEqual([]);
});

test("an abort during Finish closes nothing that Finish still uses", async () => {
  const file = testFile(seededRandom(33), [1000]);
  for (const held of ["fdatasync", "size"] as const) {
    const { store, disk, clock, log, storage } = await openSession();
    send(store, chunkAt(file, 0));
    const gate = Promise.withResolvers<void>();
    disk.hook = ({ call }) => (call === held ? gate.promise : undefined);
    const finished = store.finish(proofOf(file), () => undefined).then(String, String);
    await clock.advance(0);
    let done = false;
    const aborted = store.abort(ABORTED).then(() => {
      done = true;
    });
    await settle();
    expect([held, done]).toEqual([held, false]);
    gate.resolve();
    await aborted;
    expect(await finished).toBe(String(ABORTED));
    expect(log.lines.filter((line) => line.level === "error")).toEqual([]);
    expect(await storage.archives("web-01", "home")).toEqual([]);
    expect([...disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
  }
});

test("when the sync of one file fails, the sync of the other is waited for before anything is closed", async () => {
  const archive = testFile(seededRandom(34), [1000]);
  const index = testFile(seededRandom(35), [1000], 1);
  const { store, disk, clock, heard, log } = await openSession();
  const gate = Promise.withResolvers<void>();
  disk.hook = ({ call, path }) => {
    if (call !== "fdatasync") return undefined;
    if (path.endsWith("index.part")) throw diskError("EIO");
    return gate.promise;
  };
  send(store, chunkAt(archive, 0));
  send(store, chunkAt(index, 0));
  await clock.advance(SYNC_DELAY_MS);
  const aborted = store.abort(ABORTED);
  await settle();
  gate.resolve();
  await aborted;
  expect(log.lines.filter((line) => line.level === "error")).toEqual([]);
  expect([disk.openFiles, heard.durable]).toEqual([1, 0]);
});

test("a session id that is taken is refused, and the session that has it goes on", async () => {
  const file = testFile(seededRandom(36), [1000]);
  const { store, storage, disk, clock } = await openSession();
  send(store, chunkAt(file, 0));
  const again = storage.createSession(request({ agent: "web-02" }), listen().events);
  expect(await again.catch((error: unknown) => String(error))).toContain("E_STORAGE_FAILED");
  expect([...disk.tree("/srv/backup").keys()]).toContain(`.nbackup/sessions/${SESSION_A}/journal`);
  const answer = await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup").get(answer.archive)).toEqual(file.bytes);
  const other = await storage.createSession(request({ session: SESSION_B, agent: "web-02" }), listen().events);
  await other.abort(ABORTED);
});

test("tiny chunks take memory by their size, not a whole buffer each", async () => {
  const file = testFile(
    seededRandom(37),
    Array.from({ length: 1000 }, () => 3),
  );
  const { store, disk, clock } = await openSession();
  const gate = Promise.withResolvers<void>();
  disk.hook = ({ call }) => (call === "write" ? gate.promise : undefined);
  // All of them fit into one read of a socket, in the middle of which nobody can stop it.
  for (const chunk of file.chunks.slice(1)) send(store, chunk);
  expect([store.congested, store.backlogBytes < 5 * MiB]).toEqual([false, true]);
  gate.resolve();
  await settle();
  expect(store.backlogBytes).toBe(0);
  send(store, chunkAt(file, 0));
  const answer = await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup").get(answer.archive)).toEqual(file.bytes);
});

test("half-filled buffers of all lengths, large after tiny, take at most half of the backlog", async () => {
  const lengths = [...Array.from({ length: 100 }, () => 5000), ...Array.from({ length: 100 }, () => 300_000)];
  const file = testFile(seededRandom(38), lengths);
  const { store } = await openSession();
  for (const chunk of file.chunks) begin(store, chunk).write(chunk.bytes.subarray(0, 500));
  await settle();
  expect(store.backlogBytes).toBeLessThanOrEqual(4 * MiB);
  expect(store.congested).toBeFalse();
});

test("while one read back is slow, few others are read ahead of it", async () => {
  const file = testFile(
    seededRandom(39),
    Array.from({ length: 60 }, () => 256 * KiB),
  );
  const { store, disk, clock } = await openSession({ pendingBytesMax: 0 });
  for (const chunk of file.chunks.slice(2, 50)) send(store, chunk);
  await settle();
  const gate = Promise.withResolvers<void>();
  let reads = 0;
  disk.hook = ({ call, offset }) => {
    if (call !== "read") return undefined;
    reads += 1;
    return offset === 2 * 256 * KiB ? gate.promise : undefined;
  };
  send(store, chunkAt(file, 0));
  send(store, chunkAt(file, 1));
  await clock.advance(0);
  for (const chunk of file.chunks.slice(50)) {
    send(store, chunk);
    await settle();
  }
  // The slow one, seven behind it, and the two that were hashed before.
  expect(reads).toBeLessThanOrEqual(10);
  gate.resolve();
  const answer = await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup").get(answer.archive)?.length).toBe(file.bytes.length);
});
