/** The chunk buffer: when writing begins, who pauses when it is full, and what lies in it. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { ChunkBuffer } from "#store/chunk-buffer.ts";
import type { SessionStore } from "#store/session-store.ts";
import { settle, SimClock } from "#test/support/sim-clock.ts";
import {
  chunkAt,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  SESSION_B,
  testFile,
  type TestFile,
} from "#test/support/store-kit.ts";

const quiet = (): undefined => undefined;

function even(count: number, length: number): TestFile {
  return testFile(
    seededRandom(31),
    Array.from({ length: count }, () => length),
  );
}

interface Bench {
  readonly kit: Awaited<ReturnType<typeof openKit>>;
  readonly buffer: ChunkBuffer;
  readonly store: SessionStore;
  /** Calls of `write` for archive bytes so far. */
  writes(): number;
}

async function bench(
  options: { readonly bytesMax: number; readonly drainRatio: number },
  changes: Parameters<typeof request>[0] = {},
): Promise<Bench> {
  const clock = new SimClock();
  const buffer = new ChunkBuffer({ ...options, clock });
  const kit = await openKit({ buffer, clock });
  let writes = 0;
  kit.disk.hook = ({ call, path }) => {
    if (call === "write" && path.endsWith(".part")) writes += 1;
  };
  const store = await kit.storage.createSession(request(changes), listen().events);
  return { kit, buffer, store, writes: () => writes };
}

const LARGE = { bytesMax: 64 * MiB, drainRatio: 0.5 };

describe("with a drain ratio writing begins", () => {
  test("after a second, when little comes, and then everything is written", async () => {
    const { kit, store, writes } = await bench(LARGE);
    const file = even(6, 256 * KiB);
    for (const chunk of file.chunks) send(store, chunk);
    await kit.clock.advance(990);
    expect([writes(), store.backlogBytes]).toEqual([0, 6 * 256 * KiB]);
    await kit.clock.advance(20);
    expect([writes(), store.backlogBytes]).toEqual([6, 0]);
    // What comes next waits again.
    await kit.clock.until(store.finish(proofOf(file), quiet), 10_000);
    await kit.storage.close();
    expect(kit.clock.pendingCount).toBe(0);
  });

  test("when that part of the buffer is filled", async () => {
    const { kit, buffer, store, writes } = await bench({ bytesMax: 8 * MiB, drainRatio: 0.5 });
    const file = even(20, 256 * KiB);
    for (const chunk of file.chunks.slice(0, 15)) send(store, chunk);
    await settle();
    expect([writes(), buffer.usedBytes]).toEqual([0, 15 * 256 * KiB]);
    send(store, chunkAt(file, 15));
    await settle();
    expect([writes(), buffer.usedBytes]).toEqual([16, 0]);
    for (const chunk of file.chunks.slice(16)) send(store, chunk);
    await settle();
    expect(writes()).toBe(16);
    await store.abort(new Failure("E_ABORTED", "by the test"));
    expect([buffer.usedBytes, kit.clock.pendingCount]).toEqual([0, 0]);
  });

  test("when half of the window waits, which would stop the agent otherwise", async () => {
    const { store, writes } = await bench(LARGE, { windowBytes: 4 * MiB });
    const file = even(8, 256 * KiB);
    for (const chunk of file.chunks.slice(0, 7)) send(store, chunk);
    await settle();
    expect(writes()).toBe(0);
    send(store, chunkAt(file, 7));
    await settle();
    expect(writes()).toBe(8);
  });

  test("at the last chunk of a file and at Finish", async () => {
    const { kit, store, writes } = await bench(LARGE);
    const file = even(3, 256 * KiB);
    send(store, chunkAt(file, 0));
    send(store, chunkAt(file, 1));
    store.push();
    await settle();
    expect([writes(), store.acknowledgement(1)[0]?.durableChunks]).toEqual([2, 2]);
    send(store, chunkAt(file, 2));
    await settle();
    expect(writes()).toBe(2);
    // Hashing, syncing and committing take no simulated time but the turns of the hash.
    const startMs = kit.clock.now();
    await kit.clock.until(store.finish(proofOf(file), quiet), 10_000);
    expect(kit.clock.now() - startMs).toBeLessThan(100);
  });

  test("when the session is suspended: what was received becomes durable", async () => {
    const { kit, store } = await bench(LARGE);
    const file = even(3, 256 * KiB);
    for (const chunk of file.chunks) send(store, chunk);
    await kit.clock.until(store.suspend(new Failure("E_SHUTDOWN", "by the test")), 500);
    const tree = kit.disk.reboot().tree(`/srv/backup/.nbackup/sessions/${SESSION_A}`);
    expect(tree.get("archive.part")).toEqual(file.bytes);
  });
});

test("with ratio 0, and without a buffer, writing begins at once", async () => {
  for (const options of [
    { bytesMax: 64 * MiB, drainRatio: 0 },
    { bytesMax: 0, drainRatio: 0.5 },
  ]) {
    const { store, writes, kit } = await bench(options);
    send(store, chunkAt(even(1, 1000), 0));
    expect([writes(), kit.clock.pendingCount > 0]).toEqual([1, true]);
  }
});

test("what lies in the buffer is received, never durable", async () => {
  const { kit, store } = await bench(LARGE);
  const file = even(4, 256 * KiB);
  for (const chunk of file.chunks) send(store, chunk);
  await kit.clock.advance(900);
  expect(store.acknowledgement(10)).toEqual([{ file: 0, durableChunks: 0, durableBytes: 0, received: [[0, 3]] }]);
  const after = kit.disk.reboot().tree(`/srv/backup/.nbackup/sessions/${SESSION_A}`);
  expect(after.get("archive.part")).toHaveLength(0);
  await kit.clock.advance(2000);
  expect(store.acknowledgement(10)[0]?.durableChunks).toBe(4);
});

/** Two sessions beside each other on a disk that stands still. */
async function twoOnAStuckDisk(bytesMax: number) {
  const clock = new SimClock();
  const buffer = new ChunkBuffer({ bytesMax, drainRatio: 0, clock });
  const kit = await openKit({ buffer, clock });
  const first = await kit.storage.createSession(request(), listen().events);
  const second = await kit.storage.createSession(request({ session: SESSION_B, agent: "web-02" }), listen().events);
  const gate = Promise.withResolvers<void>();
  kit.disk.hook = ({ call }) => (call === "write" ? gate.promise : undefined);
  return { kit, buffer, first, second, free: () => gate.resolve() };
}

/** Sends chunks from a number on until the session pauses; the number after the last. */
function fill(store: SessionStore, file: TestFile, from = 0): number {
  let next = from;
  while (!store.congested) {
    send(store, chunkAt(file, next));
    next += 1;
  }
  return next;
}

test("a session that fills four fifths of the buffer pauses, and one that comes then still finds room", async () => {
  const file = even(140, 256 * KiB);
  const { kit, buffer, first, second, free } = await twoOnAStuckDisk(32 * MiB);
  fill(first, file);
  expect(first.backlogBytes / MiB).toBeCloseTo(25.75, 0);
  expect(second.congested).toBeFalse();
  const sent = fill(second, file);
  expect(second.backlogBytes).toBeGreaterThan(4 * MiB);
  expect(buffer.usedBytes).toBeLessThanOrEqual(32 * MiB);
  expect(buffer.pauses).toBe(2);
  free();
  await settle();
  expect([first.congested, second.congested, buffer.usedBytes]).toEqual([false, false, 0]);
  for (const chunk of file.chunks.slice(sent)) send(second, chunk);
  const answer = await kit.clock.until(second.finish(proofOf(file), quiet), 60_000);
  expect(kit.disk.tree("/srv/backup").get(answer.archive)).toEqual(file.bytes);
  await first.abort(new Failure("E_ABORTED", "by the test"));
  await kit.storage.close();
  expect([kit.disk.openFiles, kit.clock.pendingCount, buffer.usedBytes]).toEqual([0, 0, 0]);
});

test("however full the buffer is, a session always has 4 MiB of its own", async () => {
  const file = even(140, 256 * KiB);
  const { buffer, first, second } = await twoOnAStuckDisk(4 * MiB);
  fill(first, file);
  expect([first.backlogBytes, buffer.usedBytes]).toEqual([4 * MiB, 4 * MiB]);
  fill(second, file);
  expect(second.backlogBytes).toBe(4 * MiB);
});

test("a session alone bears a stall of 3 s at 65 MB/s with 256 MB, at any drain ratio up to what it may fill", () => {
  for (const drainRatio of [0, 0.25, 0.5, 0.75]) {
    const clock = new SimClock();
    const buffer = new ChunkBuffer({ bytesMax: 256 * MiB, drainRatio, clock });
    const share = buffer.join({ relief: quiet, write: quiet, holdBytesMax: 128 * MiB });
    for (let sent = 0; sent < 3 * 65 * MiB; sent += 256 * KiB) share.take(256 * KiB);
    expect([buffer.pauses, share.congested]).toEqual([0, false]);
  }
});

test("sessions that fill it together get equal parts of nearly all of it", () => {
  const clock = new SimClock();
  const buffer = new ChunkBuffer({ bytesMax: 512 * MiB, drainRatio: 0, clock });
  const shares = Array.from({ length: 8 }, () => buffer.join({ relief: quiet, write: quiet, holdBytesMax: 1 << 30 }));
  while (shares.some((share) => !share.congested)) {
    for (const share of shares) if (!share.congested) share.take(256 * KiB);
  }
  const parts = shares.map((share) => share.bytes);
  expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(256 * KiB);
  expect(buffer.usedBytes).toBeGreaterThan(0.96 * 512 * MiB);
  expect(buffer.usedBytes).toBeLessThanOrEqual(512 * MiB);
});

test("whatever sessions do, the buffer is bounded, everyone who pauses is relieved, and nothing is held for ever", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0, 2 * MiB, 40 * MiB),
      fc.constantFrom(0, 0.3, 1),
      fc.array(fc.tuple(fc.nat(3), fc.constantFrom("take", "give", "queue", "time"), fc.nat(64)), { maxLength: 400 }),
      (bytesMax, drainRatio, steps) => {
        const clock = new SimClock();
        const buffer = new ChunkBuffer({ bytesMax, drainRatio, clock });
        const relieved = [0, 0, 0, 0];
        const paused = [0, 0, 0, 0];
        const held = [false, false, false, false];
        const shares = held.map((_, index) =>
          buffer.join({
            relief: () => {
              relieved[index] = (relieved[index] ?? 0) + 1;
            },
            write: () => {
              held[index] = false;
              must(shares[index], "share").waits(false);
            },
            holdBytesMax: 8 * MiB,
          }),
        );
        for (const [index, step, amount] of steps) {
          const share = must(shares[index], "share");
          if (step === "take" && !share.congested) {
            share.take(amount * 64 * KiB);
            if (share.congested) paused[index] = (paused[index] ?? 0) + 1;
          }
          if (step === "give") share.give(Math.min(share.bytes, amount * 64 * KiB));
          if (step === "queue" && !held[index]) {
            held[index] = true;
            share.waits(true);
            if (buffer.writing) {
              held[index] = false;
              share.waits(false);
            }
          }
          if (step === "time") for (let turns = amount; turns > 0; turns -= 8) clock.step();
          const used = shares.reduce((sum, each) => sum + each.bytes, 0);
          expect(buffer.usedBytes).toBe(used);
          // One take beyond the mark, and what each has of its own.
          expect(used).toBeLessThanOrEqual(bytesMax + 4 * (4 * MiB + 64 * 64 * KiB));
          expect(shares.map((each, at) => each.congested === (paused[at] ?? 0) > (relieved[at] ?? 0))).toEqual(
            shares.map(() => true),
          );
        }
        for (const share of shares) share.give(share.bytes);
        while (clock.step());
        expect(held).toEqual([false, false, false, false]);
        expect(relieved).toEqual(paused);
        expect([buffer.usedBytes, buffer.pauses]).toEqual([0, paused.reduce((sum, count) => sum + count, 0)]);
      },
    ),
    { numRuns: 200 },
  );
});
