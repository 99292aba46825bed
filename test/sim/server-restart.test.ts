/** A session outlives its server: killed, without power or stopped, it goes on where the disk says, and nothing is read twice. */
import { describe, expect, test } from "bun:test";
import { runBackup } from "#agent/backup-run.ts";
import type { BackupResult } from "#agent/result.ts";
import { KiB, MiB } from "#base/units.ts";
import { agentPlan, type AgentWorld, agentWorld, MadeUpProducer } from "#test/support/agent-world.ts";
import { seededRandom } from "#test/support/seeded-random.ts";
import { ServerWorld } from "#test/support/server-world.ts";

const HOUR_MS = 3_600_000;

type How = "killed" | "without power" | "stopped";

interface Running {
  readonly world: ServerWorld;
  readonly agent: AgentWorld;
  readonly producer: MadeUpProducer;
  readonly run: Promise<BackupResult>;
}

async function begin(parallels: number, chunks = 900): Promise<Running> {
  const world = await ServerWorld.start();
  const lengths = Array.from({ length: chunks }, (_, i) => 1 + ((i * 7919) % (200 * KiB)));
  const producer = new MadeUpProducer(world.clock, lengths, 20);
  const agent = agentWorld(world, () => producer);
  const plan = agentPlan({ parallels, windowBytes: 12 * MiB });
  return { world, agent, producer, run: runBackup(agent.deps, plan, new AbortController().signal, () => undefined) };
}

/** The server goes in that way and comes back after `downMs`. */
async function restart(
  running: Running,
  world: ServerWorld,
  how: How,
  seed: number,
  downMs = 3_000,
): Promise<ServerWorld> {
  const { network } = running.agent;
  network.down = true;
  if (how === "stopped") {
    const stopped = world.server.shutdown();
    void world.server.shutdown();
    await world.wait(stopped);
  } else {
    world.disk.crash();
    network.cut();
  }
  await world.clock.advance(downMs);
  const disk = how === "without power" ? world.disk.reboot(seededRandom(seed)) : world.disk.restart();
  const next = await ServerWorld.start({ disk, clock: world.clock, seed: 100 + seed });
  network.world = next;
  network.down = false;
  return next;
}

async function expectCommitted(running: Running, world: ServerWorld): Promise<BackupResult> {
  const result = await world.clock.until(running.run, HOUR_MS);
  expect(result.failure?.toString()).toBeUndefined();
  const wanted = Buffer.concat(running.producer.made);
  expect(world.content(result.archive ?? "").equals(wanted)).toBe(true);
  expect(result.sha256).toBe(new Bun.CryptoHasher("sha256").update(wanted).digest("hex"));
  expect(running.producer.started).toBe(1);
  expect(world.unfinished()).toEqual([]);
  return result;
}

for (const how of ["killed", "without power", "stopped"] as const) {
  for (const parallels of [0, 3]) {
    test(`a server that is ${how} three times over ${parallels} streams goes on with the session`, async () => {
      const running = await begin(parallels);
      let { world } = running;
      for (let round = 0; round < 3; round += 1) {
        while (running.agent.network.openCount < 1 + parallels) await world.clock.advance(50);
        await world.clock.advance(1_300);
        world = await restart(running, world, how, round);
        expect(world.eventsOf("session.recovered")).toHaveLength(1);
      }
      const result = await expectCommitted(running, world);
      // What was durable before each end was not sent again: far less than three times the archive.
      expect(result.resentBytes).toBeLessThan(result.archiveBytes);
      expect(world.eventsOf("session.verified")).toHaveLength(1);
    });
  }
}

describe("a session of an earlier start", () => {
  test("is verified before its agent comes back, and expires when it never does", async () => {
    const running = await begin(0);
    await running.world.clock.advance(3_000);
    const world = await restart(running, running.world, "killed", 1);
    running.agent.network.down = true;
    running.agent.network.cut();
    await world.clock.advance(1_000);
    expect(world.eventsOf("session.verified")).toHaveLength(1);
    await world.clock.advance(24 * HOUR_MS);
    expect(world.eventsOf("session.ended")[0]?.fields).toMatchObject({ code: "E_SESSION_EXPIRED" });
    expect(world.unfinished()).toEqual([]);
  });

  test("whose Finish came before the server died is finished again", async () => {
    const running = await begin(2, 40);
    const { world } = running;
    while (running.producer.made.length < 40) await world.clock.advance(20);
    const next = await restart(running, world, "without power", 5);
    await expectCommitted(running, next);
  });

  test("that is committed while its agent is away answers the agent that comes back after the next start", async () => {
    const running = await begin(0, 30);
    const { world, agent } = running;
    // Finish is here when the archive gets its name, and from then on no answer passes.
    world.disk.hook = ({ call }) => {
      if (call === "link") agent.network.freeze();
    };
    while (world.eventsOf("session.committed").length === 0) await world.clock.advance(20);
    const next = await restart(running, world, "killed", 3);
    await expectCommitted(running, next);
  });
});

test("while a storage cannot be opened nobody is told that a session in it is gone", async () => {
  const running = await begin(0);
  await running.world.clock.advance(2_000);
  const { network } = running.agent;
  network.down = true;
  running.world.disk.crash();
  network.cut();
  const disk = running.world.disk.restart();
  let broken = true;
  disk.hook = ({ call, path }) => {
    if (broken && call === "realpath" && path === "/srv/backups")
      throw Object.assign(new Error("EIO"), { code: "EIO" });
  };
  const world = await ServerWorld.start({ disk, clock: running.world.clock, seed: 100 });
  expect(world.eventsOf("storage.failed")).toHaveLength(1);
  network.world = world;
  network.down = false;
  await world.clock.advance(60_000);
  expect(world.eventsOf("storage.failed")).toHaveLength(1);
  broken = false;
  await expectCommitted(running, world);
  expect(world.eventsOf("storage.recovered")).toHaveLength(1);
});
