/**
 * Two runs of the same agent, or two machines with one certificate, against one server: the older one can neither write into
 * nor take away what the newer one has, whenever it comes back.
 */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import type { BackupResult } from "#agent/result.ts";
import { agentParts, agentPlan, MadeUpProducer, SimNetwork } from "#test/support/agent-world.ts";
import { ServerWorld } from "#test/support/server-world.ts";

const HOUR_MS = 3_600_000;

interface Run {
  readonly network: SimNetwork;
  readonly producers: MadeUpProducer[];
  readonly result: Promise<BackupResult>;
}

function start(world: ServerWorld, id: string, parallels: number, count: number): Run {
  const network = new SimNetwork(world);
  const producers: MadeUpProducer[] = [];
  const { deps } = agentParts(world.clock, network, () => {
    const producer = new MadeUpProducer(world.clock, Array<number>(count).fill(4 * KiB), 100);
    producers.push(producer);
    return producer;
  });
  const identity = { ...deps.identity, run: `00000000-0000-4000-8000-0000000000${id}` };
  const never = new AbortController().signal;
  const result = runBackup({ ...deps, identity }, agentPlan({ parallels }), never, () => undefined);
  return { network, producers, result };
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
