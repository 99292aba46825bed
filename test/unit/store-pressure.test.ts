/** What a session costs and how it ends: memory, back-pressure, hashing in turns, faults of the disk, abort. */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { SYNC_DELAY_MS } from "#store/durability.ts";
import { BUFFER_BYTES, BufferPool } from "#store/buffer-pool.ts";
import type { SessionStore } from "#store/session-store.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  begin,
  chunkAt,
  end,
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

const PART = `/srv/backup/.nbackup/sessions/${SESSION_A}/archive.part`;

async function openSession(
  changes: Parameters<typeof request>[0] = {},
  options: Parameters<typeof openKit>[0] = {},
): Promise<Kit & { readonly store: SessionStore; readonly heard: Heard }> {
  const kit = await openKit(options);
  const { heard, events } = listen();
  return { ...kit, store: await kit.storage.createSession(request(changes), events), heard };
}

const even = (count: number, length: number): number[] => Array.from({ length: count }, () => length);

test("a session whose disk is slow is congested at 4 MiB and relieved at 2", async () => {
  const file = testFile(seededRandom(14), even(40, 256 * KiB));
  const { store, disk, heard } = await openSession();
  const gate = Promise.withResolvers<void>();
  disk.hook = ({ call }) => (call === "write" ? gate.promise : undefined);
  let sent = 0;
  while (!store.congested) {
    send(store, chunkAt(file, sent));
    sent += 1;
  }
  // The chunk in which the mark was reached was still sent to its end.
  expect(sent).toBe(16);
  expect(store.backlogBytes).toBeLessThan(5 * MiB);
  await settle();
  expect(heard.relief).toBe(0);
  disk.hook = ({ call }) => {
    if (call === "write") expect(store.congested).toBe(store.backlogBytes > 2 * MiB);
  };
  gate.resolve();
  await settle();
  expect([heard.relief, store.backlogBytes]).toEqual([1, 0]);
  expect(store.congested).toBeFalse();
});

test("255 slow streams with half-filled buffers stay within the backlog and are relieved", async () => {
  const file = testFile(seededRandom(15), even(255, 200_000));
  const { store, clock, heard, disk } = await openSession({ chunkBytes: 4 * MiB });
  const writers = file.chunks.map((chunk) => begin(store, chunk));
  let most = 0;
  for (let at = 0; at < 200_000; at += 5_000) {
    for (const [index, writer] of writers.entries()) {
      writer.write(chunkAt(file, index).bytes.subarray(at, at + 5_000));
      most = Math.max(most, store.backlogBytes);
      if (store.congested) await settle();
      expect(store.congested).toBe(false);
    }
  }
  for (const [index, writer] of writers.entries()) expect(end(writer, chunkAt(file, index))).toBe("received");
  // The piece that reaches the mark is counted whole.
  expect(most).toBeLessThan(8 * MiB + 256 * KiB);
  expect(heard.failed).toEqual([]);
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    60_000,
  );
  expect(disk.tree("/srv/backup/web-01/home").get("2026-02-12T02-00-00-123Z.tar.gz")).toEqual(file.bytes);
});

test("half-filled buffers of streams that say nothing more take at most half of the backlog", async () => {
  const file = testFile(seededRandom(15), even(31, 100_000));
  const { store } = await openSession();
  for (const chunk of file.chunks) begin(store, chunk).write(chunk.bytes.subarray(0, 500));
  await settle();
  expect(store.backlogBytes).toBeLessThanOrEqual(4 * MiB);
  expect(store.congested).toBeFalse();
});

test("what is hashed out of order is kept in memory up to the limit and read back from the file beyond it", async () => {
  const file = testFile(seededRandom(16), even(12, 256 * KiB));
  const { store, clock, disk } = await openSession({}, { pendingBytesMax: MiB });
  for (const chunk of file.chunks.slice(1)) send(store, chunk);
  await settle();
  const reads: string[] = [];
  disk.hook = ({ call, path, length }) => {
    if (call === "read") reads.push(`${path} ${length}`);
  };
  send(store, chunkAt(file, 0));
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  // Of the eleven that waited, the first four fit into 1 MiB; chunk 0 then took the place of the fourth.
  expect(reads).toEqual(Array.from({ length: 8 }, () => `${PART} ${256 * KiB}`));
});

test("what stands first in the file is kept, in whatever order it came, and at most four pieces are read at once", async () => {
  const file = testFile(seededRandom(22), even(20, 256 * KiB));
  const { store, clock, disk } = await openSession({}, { pendingBytesMax: MiB });
  for (const chunk of file.chunks.slice(1).reverse()) send(store, chunk);
  await settle();
  const offsets: number[] = [];
  let [running, most] = [0, 0];
  disk.hook = async ({ call, offset }) => {
    if (call !== "read") return;
    offsets.push(offset ?? -1);
    running += 1;
    most = Math.max(most, running);
    await settle();
    running -= 1;
  };
  send(store, chunkAt(file, 0));
  await clock.advance(0);
  for (let turn = 0; turn < 100; turn += 1) await settle();
  disk.hook = () => undefined;
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(Math.min(...offsets)).toBe(4 * 256 * KiB);
  expect(most).toBe(4);
});

test("bytes that arrive in order are hashed as others come, without waiting for a turn", async () => {
  const file = testFile(seededRandom(23), even(10, 256 * KiB));
  const { store, clock } = await openSession();
  for (const chunk of file.chunks) send(store, chunk);
  const hashed: number[] = [];
  await clock.until(
    store.finish(proofOf(file), (_, done) => hashed.push(done)),
    10_000,
  );
  expect(hashed[0]).toBe(9 * 256 * KiB);
});

test("hashing a backlog takes many turns of the event loop, shared with other sessions", async () => {
  const file = testFile(seededRandom(17), even(24, 256 * KiB));
  const { store, storage, clock } = await openSession();
  const other = listen();
  const second = await storage.createSession(request({ session: SESSION_B, agent: "web-02" }), other.events);
  const order: string[] = [];
  for (const chunk of file.chunks.slice(1)) {
    send(store, chunk);
    send(second, chunk);
  }
  await settle();
  send(store, chunkAt(file, 0));
  send(second, chunkAt(file, 0));
  const done = [store, second].map((each, index) => {
    const finished = each.finish(proofOf(file), (phase, bytes) => order.push(`${index} ${phase} ${bytes}`));
    return clock.until(finished, 10_000);
  });
  // Nothing was hashed at once: the 6 MiB wait for turns of 1 MiB.
  expect(order).toEqual(["0 hashing 0", "1 hashing 0"]);
  expect((await Promise.all(done)).map((answer) => answer.bytes)).toEqual([6 * MiB, 6 * MiB]);
});

test("a failed sync is never tried again: the session fails with E_DISK and says so once", async () => {
  const file = testFile(seededRandom(18), even(3, 1000));
  const { store, disk, clock, heard } = await openSession();
  let syncs = 0;
  disk.hook = ({ call, path }) => {
    if (call !== "fdatasync" || !path.endsWith(".part")) return;
    syncs += 1;
    throw diskError("EIO");
  };
  send(store, chunkAt(file, 0));
  await clock.advance(SYNC_DELAY_MS);
  expect(heard.failed.map(String)).toEqual(["E_DISK: syncing web-01/home/2026-02-12T02-00-00-123Z.tar.gz: EIO"]);
  expect(() => send(store, chunkAt(file, 1))).toThrow("EIO");
  await clock.advance(10 * SYNC_DELAY_MS);
  expect([syncs, heard.failed.length, heard.durable]).toEqual([1, 1, 0]);
  await store.abort(must(heard.failed[0], "the failure"));
  expect([...disk.tree("/srv/backup").keys()].filter((path) => path.includes(SESSION_A))).toEqual([]);
});

test("a disk that fills up fails the session with E_DISK_FULL, and the abort leaves nothing behind", async () => {
  const file = testFile(seededRandom(19), even(10, 100_000));
  const kit = await openKit();
  const before = [...kit.disk.tree("/srv/backup").keys()];
  const { heard, events } = listen();
  const store = await kit.storage.createSession(request(), events);
  kit.disk.hook = ({ call, offset }) => {
    if (call === "write" && (offset ?? 0) >= 500_000) throw diskError("ENOSPC");
  };
  const late = begin(store, chunkAt(file, 9));
  for (const chunk of file.chunks.slice(0, 6)) send(store, chunk);
  await settle();
  expect(heard.failed.map((failure) => failure.code)).toEqual(["E_DISK_FULL"]);
  late.write(chunkAt(file, 9).bytes);
  expect(end(late, chunkAt(file, 9))).toBe("damaged");
  await store.abort(must(heard.failed[0], "the failure"));
  expect([...kit.disk.tree("/srv/backup").keys()]).toEqual(before);
  expect(heard.lost).toEqual([]);
  await kit.storage.close();
  expect([kit.disk.openFiles, kit.clock.pendingCount, store.backlogBytes]).toEqual([0, 0, 0]);
});

test("an abort waits for writes that are under way before it closes and removes anything", async () => {
  const file = testFile(seededRandom(20), even(4, 256 * KiB));
  const { store, disk, storage } = await openSession();
  const gate = Promise.withResolvers<void>();
  const after: string[] = [];
  disk.hook = async ({ call }) => {
    if (call === "write") await gate.promise;
    else after.push(call);
  };
  for (const chunk of file.chunks) send(store, chunk);
  let done = false;
  const aborted = store.abort(new Failure("E_ABORTED", "by the test")).then(() => {
    done = true;
  });
  await settle();
  expect([done, after]).toEqual([false, []]);
  gate.resolve();
  await aborted;
  expect(after.slice(0, 3)).toEqual(["close", "close", "close"]);
  expect(() => store.beginChunk({ file: 0, sequence: 9, offset: 9, storedLength: 1 })).toThrow("by the test");
  // Two of the four writes had begun; the others never do. Then the entry is free for a new session.
  const next = await storage.createSession(request({ session: SESSION_B }), listen().events);
  await next.abort(new Failure("E_ABORTED", "by the test"));
});

test("what an abort removed does not come back after a power loss, nor as a session without its bytes", async () => {
  const file = testFile(seededRandom(21), [1000]);
  for (let call = 0; ; call += 1) {
    const { store, disk, clock } = await openSession();
    send(store, chunkAt(file, 0));
    await clock.advance(SYNC_DELAY_MS);
    const start = disk.calls;
    const crashed = Promise.withResolvers<boolean>();
    disk.hook = ({ index }) => {
      if (index < start + call) return;
      disk.crash();
      crashed.resolve(false);
    };
    const ended = await Promise.race([
      store.abort(new Failure("E_ABORTED", "by the test")).then(() => true),
      crashed.promise,
    ]);
    for (const seed of [undefined, 1, 2, 3, 4]) {
      const tree = disk
        .reboot(seed === undefined ? undefined : seededRandom(seed))
        .tree("/srv/backup/.nbackup/sessions");
      if (ended) expect([...tree.keys()]).toEqual([]);
      const journal = tree.get(`${SESSION_A}/journal`);
      if (journal !== undefined) expect(tree.get(`${SESSION_A}/archive.part`)).toEqual(file.bytes);
    }
    if (ended) break;
  }
});

test("the pool keeps what is in use in turn, and drops what lay idle for long or when nobody works", () => {
  const pool = new BufferPool();
  const burst = Array.from({ length: 100 }, () => pool.take(BUFFER_BYTES));
  const held = pool.take(BUFFER_BYTES);
  for (const buffer of burst) pool.give(buffer);
  expect(pool.idle).toBe(100);
  for (let i = 0; i < 3000; i += 1) pool.give(pool.take(BUFFER_BYTES));
  expect([pool.idle, pool.inUse]).toEqual([32, 1]);
  pool.give(held);
  expect([pool.idle, pool.inUse]).toEqual([32, 0]);
});
