/**
 * From the agent's side: connections that are exchanged or put away on purpose, by `port_rotation` or by order of the server.
 * Nothing is lost, nothing is sent again, and it is no failure.
 */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import type { PortRotationConfig } from "#config/types.ts";
import { type BackupPlan, type BackupStage, runBackup } from "#agent/backup-run.ts";
import { DRAIN_STUCK_MS } from "#agent/departure.ts";
import type { SessionProgress } from "#agent/session-progress.ts";
import type { Message } from "#wire/messages.ts";
import { agentPlan, agentWorld, MadeUpProducer } from "#test/support/agent-world.ts";
import { ScriptRun } from "#test/support/script-run.ts";
import type { ScriptServer, ServedLink } from "#test/support/script-server.ts";
import { ServerWorld } from "#test/support/server-world.ts";
import type { SimClock } from "#test/support/sim-clock.ts";

const HOUR_MS = 3_600_000;

/** Chunks of 64 KiB, one each 100 ms. */
function steady(count: number): (clock: SimClock) => MadeUpProducer {
  return (clock) => new MadeUpProducer(clock, Array<number>(count).fill(64 * KiB), 100);
}

function rotating(plan: BackupPlan, portRotation: PortRotationConfig): BackupPlan {
  return { ...plan, entry: { ...plan.entry, portRotation } };
}

function order(server: ScriptServer, body: Message<"slotOrder">): void {
  const link = server.sessionLink;
  if (link === undefined) throw new Error("no session connection is up");
  link.send("slotOrder", body);
}

function progressOf(stages: readonly BackupStage[]): SessionProgress {
  const stage = stages.find((each) => each.stage === "running");
  if (stage?.stage !== "running") throw new Error("no session runs");
  return stage.progress();
}

for (const parallels of [0, 1, 4, 16]) {
  for (const latencyMs of [0, 40]) {
    test(`with port_rotation every few chunks over ${parallels} streams (${latencyMs} ms away) nothing is lost, sent again or a failure`, async () => {
      const world = await ServerWorld.start();
      const producer = new MadeUpProducer(
        world.clock,
        Array.from({ length: 600 }, (_, i) => 1 + ((i * 7919) % (200 * KiB))),
        5,
      );
      const agent = agentWorld(world, () => producer);
      agent.network.line = { latencyMs, bufferBytes: 64 * KiB };
      const plan = rotating(agentPlan({ parallels }), { mode: "per-n-chunks", chunksPerCycle: 7 });
      const stages: BackupStage[] = [];
      const run = runBackup(agent.deps, plan, new AbortController().signal, (stage) => void stages.push(stage));
      let over = false;
      void run.then(() => (over = true));
      let awayMost = 0;
      while (!over) {
        await world.clock.advance(20);
        if (stages.every(({ stage }) => stage !== "running")) continue;
        const { phase, streams } = progressOf(stages);
        // Before the first chunk none is up yet.
        if (phase === "reading" && streams.every(({ chunks }) => chunks > 0))
          awayMost = Math.max(awayMost, streams.filter(({ state }) => state !== "up").length);
      }
      const result = await run;
      expect(result.failure?.toString()).toBeUndefined();
      expect(world.content(result.archive ?? "").equals(Buffer.concat(producer.made))).toBe(true);
      expect(result).toMatchObject({ resentBytes: 0, reconnects: 0 });
      expect(awayMost).toBeLessThanOrEqual(Math.max(1, parallels / 4));
      expect(progressOf(stages).streams.reduce((sum, { rotations }) => sum + rotations, 0)).toBe(
        agent.network.dialled - 1 - parallels,
      );
      expect(agent.network.dialled).toBeGreaterThan(parallels === 0 ? 40 : 20);
      expect(agent.logged.filter((line) => / (warn|error) /.test(line))).toEqual([]);
      expect(world.eventsOf("session.ended")).toEqual([]);
      await world.close();
    });
  }
}

test("a stream that the server orders to be rotated ends with Goodbye behind a whole chunk and comes back from another port", async () => {
  const run = new ScriptRun({ parallels: 2, producer: steady(60) });
  await run.advance(2000);
  order(run.server, { slot: 1, order: "rotate", reason: "it is slow" });
  await run.advance(500);
  const [before, after, ...more] = run.server.streamLinks(1);
  expect(before?.received.at(-1)?.type).toBe("goodbye");
  expect(before?.closed).toBe(true);
  expect(after?.closed).toBe(false);
  expect(after?.pipe.client.localPort).not.toBe(before?.pipe.client.localPort);
  expect(more).toEqual([]);
  expect(run.server.streamLinks(0)).toHaveLength(1);
  expect(progressOf(run.stages).streams.map(({ rotations }) => rotations)).toEqual([0, 1]);
  expect(await run.result()).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
});

test("a stream that is put away while it is about to be exchanged is not exchanged when it comes back", async () => {
  const run = new ScriptRun({ parallels: 2, producer: steady(60) });
  await run.advance(2000);
  order(run.server, { slot: 1, order: "rotate", reason: "it is slow" });
  order(run.server, { slot: 1, order: "park", reason: "it is not wanted" });
  await run.advance(1000);
  expect(run.server.streamLinks(1)).toHaveLength(1);
  order(run.server, { slot: 1, order: "resume", reason: "it is wanted" });
  await run.advance(500);
  expect(progressOf(run.stages).streams[1]).toMatchObject({ state: "up", rotations: 0 });
  expect(await run.result()).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
});

test("the session connection that carries the data is exchanged likewise, and the session resumes at once", async () => {
  const run = new ScriptRun({ producer: steady(60) });
  await run.advance(2000);
  order(run.server, { slot: 0, order: "rotate", reason: "it is slow" });
  await run.advance(100);
  expect(run.server.links[0]?.received.at(-1)?.type).toBe("goodbye");
  expect(run.server.open).toHaveLength(1);
  expect(run.server.sessionLink?.hello?.session).toBeDefined();
  expect(await run.result()).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
  expect(run.server.links).toHaveLength(2);
});

test("where the kernel gives the same port again, the next connection gets another one all the same", async () => {
  const run = new ScriptRun({ parallels: 1, producer: steady(60) });
  await run.advance(2000);
  // The port of the stream's connection comes again at the next dial.
  const ports = run.server.portsAgain;
  ports.push(run.server.streamLinks(0)[0]?.pipe.client.localPort ?? 0);
  order(run.server, { slot: 0, order: "rotate", reason: "it is slow" });
  await run.advance(500);
  expect(ports).toEqual([]);
  const [before, after, ...more] = run.server.streamLinks(0);
  expect(after?.closed).toBe(false);
  expect(after?.pipe.client.localPort).not.toBe(before?.pipe.client.localPort);
  expect(more).toEqual([]);
  expect(await run.result()).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
});

test("what an exchanged stream carried and nobody has acknowledged yet is not sent again", async () => {
  let silent = false;
  const run = new ScriptRun({
    parallels: 2,
    producer: steady(60),
    script: (link, arrived, server) => {
      if (!silent) return false;
      if (arrived.type === "data") server.hold(arrived.body);
      else if (arrived.type === "hello") server.welcome(link);
      else return false;
      return true;
    },
  });
  await run.advance(2000);
  silent = true;
  await run.advance(1000);
  order(run.server, { slot: 0, order: "rotate", reason: "it is slow" });
  await run.advance(1000);
  silent = false;
  expect(await run.result()).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
  expect(run.server.streamLinks(0)).toHaveLength(2);
});

test("but a server that was started anew gets it again", async () => {
  let silent = false;
  const run = new ScriptRun({
    parallels: 2,
    producer: steady(60),
    script: (_, arrived) => silent && arrived.type === "data",
  });
  await run.advance(2000);
  silent = true;
  await run.advance(1000);
  for (const slot of [0, 1]) order(run.server, { slot, order: "rotate", reason: "it is slow" });
  await run.advance(90);
  silent = false;
  run.server.restart(20);
  for (const link of run.server.open) link.pipe.cut();
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(result.resentBytes).toBeGreaterThanOrEqual(9 * 64 * KiB);
  // At once, and not when it is overdue.
  expect(result.durationMs).toBeLessThan(10_000);
});

test("a parked stream is drained and stays away until it is resumed; what it carried is not sent again", async () => {
  const run = new ScriptRun({ parallels: 2, producer: steady(200) });
  await run.advance(2000);
  order(run.server, { slot: 1, order: "park", reason: "the server is busy" });
  await run.advance(10_000);
  expect(run.server.streamLinks(1).map(({ closed }) => closed)).toEqual([true]);
  expect(progressOf(run.stages).streams.map(({ state }) => state)).toEqual(["up", "parked"]);
  order(run.server, { slot: 1, order: "resume", reason: "there is room" });
  await run.advance(100);
  expect(run.server.streamLinks(1).map(({ closed }) => closed)).toEqual([true, false]);
  expect(await run.result()).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
});

test("a slot that the server refuses until it says otherwise is parked: it is not tried again, and no failure", async () => {
  const run = new ScriptRun({
    parallels: 2,
    producer: steady(200),
    script: (link, arrived, server) => {
      if (arrived.type !== "hello" || arrived.body.slot !== 1) return false;
      server.refuse(link, "E_LIMIT", { retry: false });
      return true;
    },
  });
  await run.advance(10_000);
  expect(run.server.streamLinks(1)).toHaveLength(1);
  expect(progressOf(run.stages).streams[1]).toMatchObject({ state: "parked", reconnects: 0 });
  expect(await run.result()).toMatchObject({ result: "committed", reconnects: 0 });
  expect(run.logged.filter((line) => / (warn|error) /.test(line))).toEqual([]);
});

for (const by of ["an order", "a new session connection"]) {
  test(`a refusal that was overtaken by ${by} which gives the slot back is not believed: the stream is tried again`, async () => {
    let refused: ServedLink | undefined;
    const run = new ScriptRun({
      parallels: 2,
      producer: steady(200),
      script: (link, arrived) => {
        if (arrived.type !== "hello" || arrived.body.slot !== 1 || refused !== undefined) return false;
        refused = link;
        return true;
      },
    });
    await run.advance(1000);
    if (by === "an order") order(run.server, { slot: 1, order: "resume", reason: "there is room" });
    else run.server.sessionLink?.pipe.cut();
    await run.advance(1000);
    run.server.refuse(must(refused, "a stream that waits"), "E_LIMIT", { retry: false });
    await run.advance(1000);
    expect(progressOf(run.stages).streams[1]).toMatchObject({ state: "up", reconnects: 0 });
    expect(await run.result()).toMatchObject({ result: "committed" });
  });
}

test("orders hold for one session connection: what is not said again on the next one is void", async () => {
  const run = new ScriptRun({
    parallels: 3,
    producer: steady(200),
    script: (link, arrived, server) => {
      if (arrived.type !== "hello" || arrived.body.role !== "session" || arrived.body.session === undefined)
        return false;
      server.welcome(link);
      link.send("slotOrder", { slot: 2, order: "park", reason: "still" });
      server.sack(link);
      return true;
    },
  });
  await run.advance(2000);
  for (const slot of [1, 2]) order(run.server, { slot, order: "park", reason: "the server is busy" });
  await run.advance(1000);
  run.server.sessionLink?.pipe.cut();
  await run.advance(3000);
  expect(progressOf(run.stages).streams.map(({ state }) => state)).toEqual(["up", "up", "parked"]);
  expect(run.server.streamLinks(2)).toHaveLength(1);
  expect(await run.result()).toMatchObject({ result: "committed", resentBytes: 0 });
});

test("a stream that is to be drained and takes nothing for 20 s is broken off, and what it carried goes out again", async () => {
  const run = new ScriptRun({
    parallels: 2,
    producer: (clock) => new MadeUpProducer(clock, Array<number>(400).fill(300 * KiB), 100),
    script: (link, arrived, server) => {
      if (arrived.type === "data" && server.streamLinks(0)[0] === link) link.pause();
      return false;
    },
  });
  await run.advance(2000);
  order(run.server, { slot: 0, order: "rotate", reason: "it is slow" });
  await run.advance(DRAIN_STUCK_MS - 2000);
  expect(run.server.streamLinks(0)).toHaveLength(1);
  await run.advance(4000);
  expect(run.server.streamLinks(0)).toHaveLength(2);
  const result = await run.result(HOUR_MS);
  expect(result.result).toBe("committed");
  expect(result.reconnects).toBe(1);
  expect(result.resentBytes).toBeGreaterThan(0);
});

test("one whose rest arrives slowly, a chunk in 8 s, is waited for, and nothing of it is sent again", async () => {
  let slow = false;
  let delayMs = 0;
  const run = new ScriptRun({
    parallels: 2,
    producer: steady(900),
    script: (link, arrived, server) => {
      if (!slow || server.streamLinks(0)[0] !== link) return false;
      if (arrived.type !== "data" && arrived.type !== "goodbye") return false;
      delayMs += 8_000;
      run.clock.after(delayMs, () => {
        if (arrived.type === "data") server.hold(arrived.body);
        server.sack(link);
        if (arrived.type === "goodbye") link.end();
      });
      return true;
    },
  });
  await run.advance(2000);
  slow = true;
  await run.advance(600);
  order(run.server, { slot: 0, order: "rotate", reason: "it is slow" });
  await run.advance(DRAIN_STUCK_MS + 5000);
  expect(delayMs).toBeGreaterThan(DRAIN_STUCK_MS + 10_000);
  expect(progressOf(run.stages).streams[0]).toMatchObject({ state: "draining", reconnects: 0 });
  const result = await run.result();
  expect(result).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
  expect(run.server.streamLinks(0)).toHaveLength(2);
});

test("one that the server does not read because its disk is late is waited for", async () => {
  const run = new ScriptRun({
    parallels: 2,
    producer: (clock) => new MadeUpProducer(clock, Array<number>(40).fill(300 * KiB), 100),
    script: (link, arrived, server) => {
      if (arrived.type !== "data") return false;
      link.pause();
      const session = server.sessionLink;
      if (session !== undefined) server.sack(session, { stalled: true });
      return true;
    },
  });
  await run.advance(2000);
  order(run.server, { slot: 0, order: "rotate", reason: "it is slow" });
  await run.advance(DRAIN_STUCK_MS * 2);
  expect(run.server.streamLinks(0)).toHaveLength(1);
  expect(progressOf(run.stages).streams[0]?.state).toBe("draining");
  run.interrupt();
  expect((await run.result()).failure?.code).toBe("E_INTERRUPTED");
});
