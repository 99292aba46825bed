/** Agent and server together on a simulated clock: what cuts, outages and silence do to a session. */
import { expect, test } from "bun:test";
import { KiB, MiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import type { BackupResult } from "#agent/result.ts";
import { agentPlan, agentWorld, MadeUpProducer } from "#test/support/agent-world.ts";
import { ServerWorld } from "#test/support/server-world.ts";

const HOUR_MS = 3_600_000;

/** What the archive on the server must be: the chunks one after another, in one file, nothing unfinished left. */
function expectArchive(world: ServerWorld, result: BackupResult, producer: MadeUpProducer): void {
  expect(result.failure?.toString()).toBeUndefined();
  expect(result.result).toBe("committed");
  const wanted = Buffer.concat(producer.made);
  expect(result.archiveBytes).toBe(wanted.length);
  const stored = world.content(result.archive ?? "");
  expect(stored.equals(wanted)).toBe(true);
  expect(result.sha256).toBe(new Bun.CryptoHasher("sha256").update(wanted).digest("hex"));
  expect(producer.started).toBe(1);
  expect(producer.stopped).toBeGreaterThan(0);
  expect(world.unfinished()).toEqual([]);
}

for (const parallels of [0, 1, 4, 32]) {
  test(`a backup over ${parallels} streams is committed and byte-identical`, async () => {
    const world = await ServerWorld.start();
    const producer = new MadeUpProducer(
      world.clock,
      Array.from({ length: 60 }, (_, i) => 1 + ((i * 7919) % (300 * KiB))),
    );
    const agent = agentWorld(world, () => producer);
    const run = runBackup(agent.deps, agentPlan({ parallels }), new AbortController().signal, () => undefined);
    expectArchive(world, await world.clock.until(run, HOUR_MS), producer);
    await world.close();
  });

  test(`all connections cut fifty times over ${parallels} streams: the same bytes, and nothing is read twice`, async () => {
    const world = await ServerWorld.start();
    const producer = new MadeUpProducer(
      world.clock,
      Array.from({ length: 1500 }, (_, i) => 1 + ((i * 7919) % (64 * KiB))),
      20,
    );
    const agent = agentWorld(world, () => producer);
    const run = runBackup(agent.deps, agentPlan({ parallels }), new AbortController().signal, () => undefined);
    for (let cut = 0; cut < 50; cut += 1) {
      // All are up again, and something was acknowledged since.
      while (agent.network.openCount < 1 + parallels) await world.clock.advance(50);
      await world.clock.advance(237);
      agent.network.cut();
    }
    const result = await world.clock.until(run, HOUR_MS);
    expectArchive(world, result, producer);
    expect(result.reconnects).toBeGreaterThanOrEqual(50);
    await world.close();
  });
}

for (const parallels of [0, 4]) {
  for (const how of ["cut", "frozen"] as const) {
    test(`an outage of 20 minutes (${how}) over ${parallels} streams with the default configuration is survived`, async () => {
      const world = await ServerWorld.start();
      const producer = new MadeUpProducer(
        world.clock,
        Array.from({ length: 400 }, () => 256 * KiB),
        20,
      );
      const agent = agentWorld(world, () => producer);
      const run = runBackup(agent.deps, agentPlan({ parallels }), new AbortController().signal, () => undefined);
      await world.clock.advance(3000);
      agent.network.down = true;
      if (how === "cut") agent.network.cut();
      else agent.network.freeze();
      await world.clock.advance(20 * 60_000);
      agent.network.down = false;
      const result = await world.clock.until(run, HOUR_MS);
      expectArchive(world, result, producer);
      await world.close();
    });
  }
}

test("a full window stops the producer until the server can be reached again", async () => {
  const world = await ServerWorld.start();
  const producer = new MadeUpProducer(
    world.clock,
    Array.from({ length: 40 }, () => MiB),
    1,
  );
  const agent = agentWorld(world, () => producer);
  const run = runBackup(
    agent.deps,
    agentPlan({ parallels: 2, windowBytes: 12 * MiB }),
    new AbortController().signal,
    () => undefined,
  );
  await world.clock.advance(200);
  agent.network.down = true;
  agent.network.cut();
  await world.clock.advance(60_000);
  const made = producer.made.length;
  await world.clock.advance(60_000);
  expect(producer.made.length).toBe(made);
  agent.network.down = false;
  expectArchive(world, await world.clock.until(run, HOUR_MS), producer);
  await world.close();
});

test("a source that could not be read as it is makes the result name it", async () => {
  const world = await ServerWorld.start();
  const problem = { path: Buffer.from("/home/gone"), reason: "vanished" as const };
  const producer = new MadeUpProducer(world.clock, [100, 200], 1, [problem]);
  const agent = agentWorld(world, () => producer);
  const run = runBackup(agent.deps, agentPlan(), new AbortController().signal, () => undefined);
  const result = await world.clock.until(run, HOUR_MS);
  expectArchive(world, result, producer);
  expect(result.problems).toEqual([problem]);
  expect(result.problemCount).toBe(1);
  await world.close();
});

test("an interrupted run gives its session up, and the server cleans up at once", async () => {
  const world = await ServerWorld.start();
  const producer = new MadeUpProducer(
    world.clock,
    Array.from({ length: 1000 }, () => 64 * KiB),
    10,
  );
  const agent = agentWorld(world, () => producer);
  const stop = new AbortController();
  const run = runBackup(agent.deps, agentPlan({ parallels: 3 }), stop.signal, () => undefined);
  await world.clock.advance(2000);
  stop.abort();
  const result = await world.clock.until(run, 1000);
  expect(result.failure?.code).toBe("E_INTERRUPTED");
  expect(result.failure?.exitCode).toBe(130);
  await world.clock.advance(1000);
  expect(world.unfinished()).toEqual([]);
  expect(world.server.view().sessionCount).toBe(0);
  await world.close();
});

test("a stream that stalls with a chunk half-way does not hold up the end: an idle one sends it as well", async () => {
  const world = await ServerWorld.start();
  const producer = new MadeUpProducer(
    world.clock,
    Array.from({ length: 40 }, () => 300 * KiB),
    10,
  );
  const agent = agentWorld(world, () => producer);
  const run = runBackup(agent.deps, agentPlan({ parallels: 4 }), new AbortController().signal, () => undefined);
  await world.clock.advance(100);
  // The first of the four streams; the session connection was dialled before it.
  agent.network.stall(1);
  const result = await world.clock.until(run, 15_000);
  expectArchive(world, result, producer);
  expect(result.resentBytes).toBeGreaterThan(0);
  expect(result.resentBytes).toBeLessThan(3 * MiB);
  await world.close();
});
