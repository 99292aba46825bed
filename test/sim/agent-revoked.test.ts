/** The real agent against a server that revokes it: the run ends with that reason and nothing is tried again, whatever was up when. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { KiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import type { BackupResult } from "#agent/result.ts";
import { Revocations } from "#server/revocations.ts";
import { agentParts, agentPlan, MadeUpProducer, SimNetwork } from "#test/support/agent-world.ts";
import { ServerWorld } from "#test/support/server-world.ts";

// Simulated hours take a moment on a machine that does other things.
setDefaultTimeout(60_000);

const MINUTE_MS = 60_000;

interface Scene {
  readonly world: ServerWorld;
  readonly revocations: Revocations;
  readonly network: SimNetwork;
  readonly producers: readonly MadeUpProducer[];
  readonly result: Promise<BackupResult>;
}

async function start(parallels: number): Promise<Scene> {
  const revocations = new Revocations();
  const world = await ServerWorld.start({ revocations });
  const network = new SimNetwork(world);
  const producers: MadeUpProducer[] = [];
  const { deps } = agentParts(world.clock, network, () => {
    const producer = new MadeUpProducer(world.clock, Array<number>(3_000).fill(4 * KiB), 100);
    producers.push(producer);
    return producer;
  });
  const result = runBackup(deps, agentPlan({ parallels }), new AbortController().signal, () => undefined);
  await world.clock.advance(2_000);
  return { world, revocations, network, producers, result };
}

async function revokedAtOnce({ world, network, producers, result }: Scene): Promise<void> {
  const { failure } = await world.clock.until(result, MINUTE_MS);
  expect(failure).toMatchObject({ code: "E_REVOKED", retryable: false, exitCode: 1 });
  const { dialled } = network;
  await world.clock.advance(10 * MINUTE_MS);
  expect([network.dialled, producers.length]).toEqual([dialled, 1]);
  expect(world.eventsOf("session.ended").map(({ fields }) => fields["code"])).toEqual(["E_REVOKED"]);
  expect(world.unfinished()).toEqual([]);
  await world.close();
}

for (const parallels of [0, 3]) {
  test(`a run whose connections are up ends at once (${parallels} streams)`, async () => {
    const scene = await start(parallels);
    await scene.revocations.add("web-1", scene.world.clock.wall());
    await revokedAtOnce(scene);
  });

  test(`a run that was cut off when it happened ends when it comes back (${parallels} streams)`, async () => {
    const scene = await start(parallels);
    scene.network.down = true;
    scene.network.cut();
    await scene.world.clock.advance(1_000);
    await scene.revocations.add("web-1", scene.world.clock.wall());
    await scene.world.clock.advance(10_000);
    scene.network.down = false;
    await revokedAtOnce(scene);
  });
}
