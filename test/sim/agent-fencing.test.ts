/**
 * Two runs of the same agent, or two machines with one certificate, against one server: the older one can neither write into
 * nor take away what the newer one has, whenever it comes back.
 */
import { describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import type { BackupResult } from "#agent/result.ts";
import { agentParts, agentPlan, MadeUpProducer, SimNetwork } from "#test/support/agent-world.ts";
import { RETURN_MS } from "#server/limits.ts";
import { seededRandom } from "#test/support/seeded-random.ts";
import { ServerWorld } from "#test/support/server-world.ts";

const HOUR_MS = 3_600_000;

interface Run {
  readonly network: SimNetwork;
  readonly producers: MadeUpProducer[];
  readonly result: Promise<BackupResult>;
  readonly logged: readonly string[];
}

function start(world: ServerWorld, id: string, parallels: number, count: number, maxAttempts = 5): Run {
  const network = new SimNetwork(world);
  const producers: MadeUpProducer[] = [];
  const never = new AbortController().signal;
  const { deps, logged } = agentParts(world.clock, network, () => {
    const producer = new MadeUpProducer(world.clock, Array<number>(count).fill(4 * KiB), 100);
    producers.push(producer);
    return producer;
  });
  const identity = { ...deps.identity, run: `00000000-0000-4000-8000-0000000000${id}` };
  const plan = agentPlan({ parallels });
  const retry = { ...plan.retry, maxAttempts };
  const result = runBackup({ ...deps, identity }, { ...plan, retry }, never, () => undefined);
  return { network, producers, result, logged };
}

for (const parallels of [0, 3]) {
  test(`a run that was frozen and finds a newer one in its place ends, and does not take the place again (${parallels} streams)`, async () => {
    const world = await ServerWorld.start();
    const older = start(world, "aa", parallels, 10_000);
    await world.clock.advance(2000);
    older.network.freeze();
    older.network.down = true;
    const newer = start(world, "bb", parallels, 600);
    await world.clock.advance(15_000);
    expect(world.eventsOf("session.ended").map(({ fields }) => fields["code"])).toEqual(["E_SUPERSEDED"]);
    // The newer one has an outage of its own just when the older one is back: its session has no connection up.
    newer.network.down = true;
    newer.network.cut();
    await world.clock.advance(1000);
    expect(world.eventsOf("session.parked").length).toBeGreaterThan(0);
    older.network.down = false;
    const lost = await world.clock.until(older.result, HOUR_MS);
    expect(lost.failure).toMatchObject({ code: "E_SUPERSEDED", exitCode: 1 });
    expect(older.producers).toHaveLength(1);
    newer.network.down = false;
    const result = await world.clock.until(newer.result, HOUR_MS);
    expect(result.failure?.toString()).toBeUndefined();
    expect(newer.producers).toHaveLength(1);
    const made = Buffer.concat(must(newer.producers[0], "producer").made);
    expect(world.content(must(result.archive, "archive")).equals(made)).toBe(true);
    await world.clock.advance(60_000);
    await world.close();
  });
}

test("a second machine with the same certificate waits as busy while the first one lives, and disturbs nothing", async () => {
  const world = await ServerWorld.start();
  const first = start(world, "aa", 2, 600);
  await world.clock.advance(2000);
  const second = start(world, "bb", 2, 10);
  const refused = await world.clock.until(second.result, HOUR_MS);
  expect(refused.failure?.code).toBe("E_BUSY");
  expect(second.producers).toEqual([]);
  const result = await world.clock.until(first.result, HOUR_MS);
  expect(result.result).toBe("committed");
  expect(result.reconnects).toBe(0);
  await world.clock.advance(60_000);
  await world.close();
});

describe("after a loss of power of the server", () => {
  /** The server's machine is gone for so long; the agents' connections say nothing of it. */
  async function restarted(world: ServerWorld, networks: readonly SimNetwork[], downMs: number): Promise<ServerWorld> {
    world.disk.crash();
    for (const network of networks) {
      network.down = true;
      network.freeze();
    }
    await world.clock.advance(downMs);
    const disk = world.disk.reboot(seededRandom(1));
    const next = await ServerWorld.start({ disk, clock: world.clock, seed: 100 });
    for (const network of networks) {
      network.world = next;
      network.down = false;
    }
    return next;
  }

  test("a second run that starts before the agent is back does not take the place of the first, however long that is away", async () => {
    const first = await ServerWorld.start();
    const older = start(first, "aa", 2, 1_000);
    await first.clock.advance(20_000);
    const world = await restarted(first, [older.network], 240_000);
    const newer = start(world, "bb", 2, 10);
    const result = await world.clock.until(older.result, HOUR_MS);
    expect(result.failure?.toString()).toBeUndefined();
    expect(older.producers).toHaveLength(1);
    // It waited, and its backup came after the first one.
    expect((await world.clock.until(newer.result, HOUR_MS)).result).toBe("committed");
    expect(world.eventsOf("session.ended")).toEqual([]);
  });

  test("the next run of an agent that was killed with it waits for one time, and is committed", async () => {
    const first = await ServerWorld.start();
    const killed = start(first, "aa", 0, 1_000);
    await first.clock.advance(20_000);
    const world = await restarted(first, [killed.network], 5_000);
    killed.network.down = true;
    const begunAtMs = world.clock.now();
    const next = start(world, "bb", 0, 10, 2);
    const result = await world.clock.until(next.result, HOUR_MS);
    expect(result.failure?.toString()).toBeUndefined();
    expect(world.clock.now() - begunAtMs).toBeWithin(RETURN_MS - 1_000, RETURN_MS + 10_000);
    expect(world.eventsOf("admission.refused")).toHaveLength(1);
    expect(world.eventsOf("session.ended").map(({ fields }) => fields["code"])).toEqual(["E_SUPERSEDED"]);
    killed.network.down = false;
    expect((await world.clock.until(killed.result, HOUR_MS)).failure?.code).toBe("E_SUPERSEDED");
  });

  test("a run whose end the server has forgotten begins anew, but not in the place of the newer one", async () => {
    const first = await ServerWorld.start();
    const older = start(first, "aa", 0, 600);
    await first.clock.advance(2_000);
    older.network.freeze();
    older.network.down = true;
    const newer = start(first, "bb", 0, 600);
    await first.clock.advance(30_000);
    expect(first.eventsOf("session.ended").map(({ fields }) => fields["code"])).toEqual(["E_SUPERSEDED"]);
    const world = await restarted(first, [newer.network, older.network], 5_000);
    newer.network.down = true;
    await world.clock.advance(100_000);
    expect(older.logged.some((line) => line.includes("E_SESSION_GONE"))).toBe(true);
    newer.network.down = false;
    const result = await world.clock.until(newer.result, HOUR_MS);
    expect(result.failure?.toString()).toBeUndefined();
    expect(newer.producers).toHaveLength(1);
    expect(world.eventsOf("session.ended")).toEqual([]);
    expect((await world.clock.until(older.result, HOUR_MS)).result).toBe("committed");
  });
});
