/** What a server makes of the chunk buffer and of lazy storages: stalls of the disk, memory, admission, phases, counters. */
import { afterEach, describe, expect, test } from "bun:test";
import { KiB, MiB } from "#base/units.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { beginOf, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import { finishOf, makeChunks, type ScriptChunk } from "#test/support/script-client.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const CHUNK = 512 * KiB;
/** 12 MB/s: a link of 100 Mbit/s. test/unit/store-buffer.test.ts has the rate that the buffer bears. */
const CHUNKS_PER_SECOND = 24;

/** Different from one another and made quickly. */
function quickChunks(count: number): ScriptChunk[] {
  return Array.from({ length: count }, (_, sequence) => {
    const stored = Buffer.alloc(CHUNK, sequence & 0xff);
    stored.writeUInt32BE(sequence, 0);
    return { sequence, offset: sequence * CHUNK, stored, push: sequence === count - 1 };
  });
}

interface StallResult {
  /** The most bytes that the server did not read. */
  readonly unsentMost: number;
  readonly pauses: number;
  readonly usedMost: number;
}

/** A sender at a steady rate for 4 s, and a disk that stands still for 3 s of them. */
async function stall(chunkBuffer: NonNullable<WorldOptions["chunkBuffer"]>): Promise<StallResult> {
  const w = await start({ disk: new MemoryDisk(), chunkBuffer });
  const { link } = await w.session({ windowBytes: 256 * MiB });
  const chunks = quickChunks(4 * CHUNKS_PER_SECOND);
  let [unsentMost, usedMost] = [0, 0];
  let release: () => void = () => undefined;
  for (const chunk of chunks) {
    if (chunk.sequence === CHUNKS_PER_SECOND / 2) {
      const stuck = new Promise<void>((resolve) => {
        release = resolve;
      });
      w.disk.hook = ({ call }) => (call === "write" ? stuck : undefined);
    }
    if (chunk.sequence === 3.5 * CHUNKS_PER_SECOND) {
      w.disk.hook = () => undefined;
      release();
    }
    link.data(chunk, { generation: 1 });
    await w.clock.advance(1000 / CHUNKS_PER_SECOND);
    unsentMost = Math.max(unsentMost, link.unsentBytes);
    usedMost = Math.max(usedMost, w.server.view().chunkBuffer.usedBytes);
  }
  link.send("finish", finishOf(chunks), 1);
  await w.wait(link.expect("committed"));
  return { unsentMost, usedMost, pauses: w.server.view().chunkBuffer.pauses };
}

describe("a disk that stands still for 3 s", () => {
  test("does not stop a sender at 100 Mbit/s with a chunk buffer of 256 MB", async () => {
    const { unsentMost, pauses, usedMost } = await stall({ bytesMax: 256 * MiB, drainRatio: 0.5 });
    expect(unsentMost).toBe(0);
    expect(pauses).toBe(0);
    expect(usedMost).toBeGreaterThanOrEqual(3 * CHUNKS_PER_SECOND * CHUNK);
  });

  test("does stop it without one", async () => {
    const { unsentMost, pauses, usedMost } = await stall({ bytesMax: 0, drainRatio: 0.5 });
    expect(unsentMost).toBeGreaterThan(20 * MiB);
    expect(pauses).toBeGreaterThan(0);
    expect(usedMost).toBeLessThanOrEqual(5 * MiB);
  });
});

test("the chunk buffer counts in memory_limit, once for all sessions", async () => {
  const w = await start({ memoryBytesMax: 64 * MiB, chunkBuffer: { bytesMax: 20 * MiB, drainRatio: 0.5 } });
  // Of 44 MiB each session takes 16.
  await w.session({ backup: "one" });
  await w.session({ backup: "two" });
  const third = await w.hello();
  third.link.send("begin", beginOf({ backup: "three" }));
  expect((await w.wait(third.link.expect("queued"))).position).toBe(1);
  expect(w.server.view()).toMatchObject({ sessionCount: 2, waitingCount: 1, chunkBuffer: { bytesMax: 20 * MiB } });
});

const LAZY = storageConfig({
  reserve: { percent: 0, bytesMax: 0 },
  assembler: { mode: "lazy", pendingMemBytesMax: 8 * MiB, chunkShardLevels: 2, chunkFsync: false },
});

describe("a lazy storage", () => {
  test("tells the agent how far the assembling is, and counts", async () => {
    const w = await start({ storages: [LAZY] });
    const { link, admitted } = await w.session();
    const chunks = makeChunks(40, 64 * KiB);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    let resume = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      resume = resolve;
    });
    w.disk.hook = ({ call, path }) => (call === "fdatasync" && path.endsWith("archive.part") ? slow : undefined);
    link.send("finish", finishOf(chunks), 1);
    const total = 40 * 64 * KiB;
    for (;;) {
      const phase = await w.wait(link.expect("phase"));
      if (phase.phase === "assembling" && phase.done === total) break;
      expect(phase.total).toBe(total);
    }
    expect(w.server.view().staging).toEqual([{ storage: "main", stagedChunks: 40, assembledBytes: 0 }]);
    resume();
    await w.wait(link.expect("committed"));
    expect(w.content(admitted.archive).equals(Buffer.concat(chunks.map((chunk) => chunk.stored)))).toBe(true);
    expect(w.server.view().staging).toEqual([{ storage: "main", stagedChunks: 40, assembledBytes: total }]);
  });

  test("admits a session only with the room that its assembly takes: its size, and never more than 256 MB", async () => {
    for (const [capacity, estimate, fits] of [
      [1000 * MiB, 744 * MiB, true],
      [1000 * MiB, 745 * MiB, false],
      [100 * MiB, 49 * MiB, true],
      [100 * MiB, 51 * MiB, false],
    ] as const) {
      const w = await start({ storages: [LAZY], disk: new MemoryDisk({ capacityBytes: capacity }) });
      const { link } = await w.hello();
      link.send("begin", beginOf({ estimateBytes: estimate }));
      const answer = await w.wait(link.next(["ping", "pong", "sack", "phase"]));
      expect([estimate, answer.type]).toEqual([estimate, fits ? "admitted" : "refused"]);
      if (answer.type === "refused") expect(answer.body.code).toBe("E_FULL");
      await w.close();
      world = undefined;
    }
  });
});
