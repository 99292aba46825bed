/**
 * Agent and server together on a simulated clock: a server whose disk is full or fails. The run ends with the server's code and
 * hint, is not begun again, and leaves no connection, timer or file behind.
 */
import { describe, expect, test } from "bun:test";
import { KiB, MiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import type { BackupResult } from "#agent/result.ts";
import { agentPlan, agentWorld, MadeUpProducer } from "#test/support/agent-world.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import type { DiskHook } from "#test/support/memory-file.ts";
import { diskError } from "#test/support/memory-file.ts";
import { ServerWorld } from "#test/support/server-world.ts";

const PART = /archive\.part$/;

interface Ending {
  readonly result: BackupResult;
  readonly world: ServerWorld;
  readonly producers: number;
  readonly dialled: number;
}

async function run(parallels: number, disk: MemoryDisk, hook: DiskHook): Promise<Ending> {
  const world = await ServerWorld.start({ disk });
  // What the server does at all times.
  const timers = world.clock.pendingCount;
  disk.hook = hook;
  const producers: MadeUpProducer[] = [];
  const agent = agentWorld(world, () => {
    const producer = new MadeUpProducer(world.clock, Array<number>(200).fill(64 * KiB), 10);
    producers.push(producer);
    return producer;
  });
  const backup = runBackup(agent.deps, agentPlan({ parallels }), new AbortController().signal, () => undefined);
  const result = await world.clock.until(backup, 3_600_000);
  disk.hook = () => undefined;
  await world.clock.advance(30_000);
  expect(world.server.view()).toMatchObject({ sessionCount: 0, waitingCount: 0, connectionCount: 0 });
  expect(world.clock.pendingCount).toBe(timers);
  for (const producer of producers) expect(producer.stopped).toBeGreaterThan(0);
  return { result, world, producers: producers.length, dialled: agent.network.dialled };
}

for (const parallels of [0, 4]) {
  describe(`with ${parallels} streams`, () => {
    test("a disk that fills up in the middle ends the run with E_DISK_FULL and its hint, at once and for good", async () => {
      let bytes = 0;
      const { result, world, producers, dialled } = await run(parallels, new MemoryDisk(), ({ call, path, length }) => {
        if (call !== "write" || !PART.test(path)) return;
        bytes += length ?? 0;
        if (bytes > 2 * MiB) throw diskError("ENOSPC");
      });
      expect(result.failure).toMatchObject({ code: "E_DISK_FULL", exitCode: 1, retryable: false });
      expect(result.failure?.hint).toContain("free space");
      expect([producers, dialled]).toEqual([1, 1 + parallels]);
      expect(world.unfinished()).toEqual([]);
      await world.close();
    });

    test("a disk that fails to sync ends it with E_DISK in the same way", async () => {
      const { result, world, producers, dialled } = await run(parallels, new MemoryDisk(), ({ call, path }) => {
        if (call === "fdatasync" && PART.test(path)) throw diskError("EIO");
      });
      expect(result.failure).toMatchObject({ code: "E_DISK", exitCode: 1, retryable: false });
      expect([producers, dialled]).toEqual([1, 1 + parallels]);
      expect(world.unfinished()).toEqual([]);
      await world.close();
    });

    test("a storage without room for the session refuses it with E_FULL, and the agent does not ask again", async () => {
      const disk = new MemoryDisk({ capacityBytes: MiB });
      disk.space = () => Promise.resolve({ totalBytes: MiB, freeBytes: 10 });
      const { result, world, producers, dialled } = await run(parallels, disk, () => undefined);
      expect(result.failure).toMatchObject({ code: "E_FULL", exitCode: 1, retryable: false });
      expect(result.failure?.hint).toContain("more bytes");
      expect([producers, dialled]).toEqual([0, 1]);
      await world.close();
    });
  });
}

test("a network that breaks while the disk fills up changes nothing: the next connection hears of it", async () => {
  const world = await ServerWorld.start();
  const producer = new MadeUpProducer(world.clock, Array<number>(400).fill(64 * KiB), 10);
  const agent = agentWorld(world, () => producer);
  const backup = runBackup(agent.deps, agentPlan({ parallels: 4 }), new AbortController().signal, () => undefined);
  await world.clock.advance(1000);
  agent.network.down = true;
  world.disk.hook = ({ call, path }) => {
    if (call === "fdatasync" && PART.test(path)) throw diskError("ENOSPC");
  };
  await world.clock.advance(5);
  agent.network.cut();
  await world.clock.advance(5000);
  agent.network.down = false;
  const result = await world.clock.until(backup, 600_000);
  expect(result.failure?.code).toBe("E_DISK_FULL");
  world.disk.hook = () => undefined;
  await world.close();
});
