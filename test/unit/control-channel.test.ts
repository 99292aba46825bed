/** The control channel: the agent's ControlLink against the real server, on a simulated clock and network. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { every } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { MovingAverage } from "#base/moving-average.ts";
import { ControlLink, type RunVerdict } from "#agent/control-link.ts";
import type { ControlChannelConfig } from "#config/types.ts";
import type { Connection } from "#net/connection.ts";
import { parseEventRecord, parseSessionRecord } from "#observe/records.ts";
import { RecordStore } from "#observe/record-store.ts";
import type { AgentView } from "#observe/agent-views.ts";
import type { StartedView } from "#observe/views.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { type ScriptPipe, scriptPipe } from "#test/support/script-pipe.ts";
import { seededRandom } from "#test/support/seeded-random.ts";
import { helloOf, RUN, ServerWorld } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { CONTROL_ENTRIES_MAX } from "#wire/limits.ts";

const SETTINGS: ControlChannelConfig = {
  ...{ enabled: true, keepaliveIntervalMs: 30_000, reconnectDelayMs: 5_000, maxReconnectDelayMs: 60_000 },
};
const LATENCY_MS = 20;

/** An agent whose daemon runs nothing, and the line between it and the server. */
class Channel {
  readonly link: ControlLink;
  readonly pipes: ScriptPipe[] = [];
  readonly dialled: number[] = [];
  readonly asked: string[] = [];
  verdict: RunVerdict = { accepted: true, message: "a run of home begins" };
  /** undefined: nobody answers at the address. */
  server: ServerWorld | undefined;

  constructor(clock: SimClock, server: ServerWorld | undefined, settings = SETTINGS, agent = "web-1", port = 1) {
    this.server = server;
    const peer = { commonName: agent, fingerprint: "00".repeat(32), notBeforeMs: 0, notAfterMs: 2e12, serial: "01" };
    const dial = (): Promise<Connection> => {
      this.dialled.push(clock.now());
      if (this.server === undefined) return Promise.reject(new Failure("E_CONNECT", "connection refused"));
      const pipe = scriptPipe(clock, `192.0.2.9:${port}`, () => peer, { latencyMs: LATENCY_MS });
      this.pipes.push(pipe);
      this.server.server.accept(pipe.server);
      return Promise.resolve(pipe.client);
    };
    this.link = new ControlLink({
      ...{ clock, random: seededRandom(port), log: memoryLogger(), settings },
      deps: () => ({ clock, dialer: { dial }, identity: { agent, software: "nbackup-agent 0.0.0", run: RUN } }),
      facts: () =>
        Promise.resolve({
          ...{ uptimeMs: Math.round(clock.now()), backupCount: 1 },
          backups: [{ backup: "home", storage: "main", activity: "idle" }],
        }),
      run: (backup) => {
        this.asked.push(backup);
        return this.verdict;
      },
    });
  }

  get pipe(): ScriptPipe {
    return must(this.pipes.at(-1), "pipe");
  }

  get isUp(): boolean {
    return this.link.view().connectedSinceWallMs !== null;
  }
}

let world: ServerWorld | undefined;
let channels: Channel[] = [];

async function start(clock = new SimClock()): Promise<ServerWorld> {
  world = await ServerWorld.start({ clock });
  return world;
}

function channel(w: ServerWorld, settings = SETTINGS, agent = "web-1", port = 1): Channel {
  const made = new Channel(w.clock, w, settings, agent, port);
  channels.push(made);
  made.link.start();
  return made;
}

afterEach(async () => {
  for (const { link } of channels) link.stop();
  channels = [];
  await world?.close();
  world = undefined;
});

async function ask<T>(w: ServerWorld, request: unknown): Promise<T> {
  const disk = new MemoryDisk();
  await disk.mkdir("/state", 0o700);
  const parts = { disk, linesMax: 100, clock: new SimClock(), log: memoryLogger() };
  const around = {
    pid: 1,
    reading: { readWallMs: 0, failure: null },
    events: await RecordStore.open({ ...parts, path: "/state/events", parse: parseEventRecord }),
    history: await RecordStore.open({ ...parts, path: "/state/history", parse: parseSessionRecord }),
  };
  return (await w.wait(w.server.admin.handle(request, around))) as T;
}

const agentsOf = (w: ServerWorld): Promise<AgentView[]> => ask(w, { command: "agents" });

async function refusal(promise: Promise<unknown>): Promise<Failure> {
  return await promise.then(
    () => {
      throw new Error("a Failure was expected");
    },
    (error: unknown) => toFailure(error),
  );
}

describe("a connected agent", () => {
  test("is listed with what it told at once, and both sides know the round trip", async () => {
    const w = await start();
    const agent = channel(w);
    await w.clock.advance(1_000);
    const [view] = await agentsOf(w);
    expect(view).toMatchObject({ agent: "web-1", connected: true, address: "192.0.2.9:1", backupCount: 1 });
    expect(view?.backups[0]).toMatchObject({ backup: "home", activity: "idle" });
    expect(agent.link.view().rttMs).toBeCloseTo(2 * LATENCY_MS, 0);
    expect(agent.link.view()).toMatchObject({ serverSessions: { running: 0, max: 32, waiting: 0 }, lastFailure: null });
    expect(agent.link.view().storages[0]?.name).toBe("main");
    await w.clock.advance(61_000);
    expect((await agentsOf(w))[0]?.rttMs).toBeCloseTo(2 * LATENCY_MS, 0);
    expect((await agentsOf(w))[0]?.uptimeMs).toBeGreaterThan(30_000);
  });

  test("that is quiet between keep-alives of ten minutes is not taken for dead", async () => {
    const w = await start();
    const agent = channel(w, { ...SETTINGS, keepaliveIntervalMs: 600_000 });
    await w.clock.advance(3 * 3_600_000);
    expect(agent.dialled).toHaveLength(1);
    expect(agent.isUp).toBe(true);
  });

  test("whose line goes silent is dead for the server after three keep-alives, and is away in the list", async () => {
    const w = await start();
    const agent = channel(w);
    await w.clock.advance(1_000);
    agent.server = undefined;
    agent.pipe.freeze();
    await w.clock.advance(80_000);
    expect((await agentsOf(w))[0]?.connected).toBe(true);
    await w.clock.advance(40_000);
    expect(agent.isUp).toBe(false);
    expect((await agentsOf(w))[0]).toMatchObject({ connected: false, backupCount: 1 });
    expect(w.eventsOf("agent.disconnected")).toHaveLength(1);
  });
});

describe("an agent that lost its connection", () => {
  test("comes back with growing pauses, the first of them reconnect_delay less a random part", async () => {
    const w = await start();
    const agent = channel(w);
    await w.clock.advance(1_000);
    agent.server = undefined;
    agent.pipe.cut();
    await w.clock.advance(600_000);
    const pauses = agent.dialled.slice(1).map((at, index) => at - must(agent.dialled[index], "attempt"));
    const limits = [5_000, 10_000, 20_000, 40_000, 60_000, 60_000];
    for (const [index, limitMs] of limits.entries()) {
      const pause = must(pauses[index], "pause") - (index === 0 ? 1_000 : 0);
      expect(pause).toBeGreaterThanOrEqual(limitMs / 2 - 1);
      expect(pause).toBeLessThanOrEqual(limitMs + 1);
    }
    agent.server = w;
    await w.clock.advance(61_000);
    expect(agent.isUp).toBe(true);
    expect(agent.link.view().lastFailure?.code).toBe("E_CONNECT");
  });

  test("begins with the shortest pause again once the connection stood for a minute", async () => {
    const w = await start();
    const agent = channel(w);
    agent.server = undefined;
    await w.clock.advance(1_000);
    agent.pipe.cut();
    await w.clock.advance(120_000);
    agent.server = w;
    await w.clock.advance(62_000);
    expect(agent.isUp).toBe(true);
    await w.clock.advance(61_000);
    const cutAtMs = w.clock.now();
    agent.pipe.cut();
    await w.clock.advance(6_000);
    expect(must(agent.dialled.at(-1), "attempt") - cutAtMs).toBeLessThanOrEqual(5_001);
    expect(agent.isUp).toBe(true);
  });

  test("by a server that stops hears E_SHUTDOWN, and is with the next start of it", async () => {
    const clock = new SimClock();
    const w = await start(clock);
    const agent = channel(w);
    await clock.advance(1_000);
    agent.server = undefined;
    await w.wait(w.server.shutdown());
    expect(agent.link.view().lastFailure?.code).toBe("E_SHUTDOWN");
    world = await ServerWorld.start({ clock, seed: 8 });
    agent.server = world;
    await clock.advance(61_000);
    expect(agent.isUp).toBe(true);
  });

  test("takes another address, another pace and an end of the channel from a reload", async () => {
    const w = await start();
    const agent = channel(w);
    await w.clock.advance(1_000);
    agent.link.use(SETTINGS, true);
    await w.clock.advance(1_000);
    expect(agent.dialled).toHaveLength(2);
    agent.link.use({ ...SETTINGS, enabled: false }, false);
    await w.clock.advance(60_000);
    expect(agent.dialled).toHaveLength(2);
    expect(w.eventsOf("agent.disconnected").at(-1)?.fields["reason"]).toBe("goodbye");
    agent.link.use(SETTINGS, false);
    await w.clock.advance(1_000);
    expect(agent.isUp).toBe(true);
  });
});

describe("a second control connection of an agent", () => {
  test("is refused while the first answers", async () => {
    const w = await start();
    const first = channel(w);
    await w.clock.advance(1_000);
    const second = channel(w, SETTINGS, "web-1", 2);
    await w.clock.advance(5_000);
    expect(first.isUp).toBe(true);
    expect(second.link.view().lastFailure?.code).toBe("E_BUSY");
  });

  test("takes the place of one that does not answer for ten seconds", async () => {
    const w = await start();
    const first = channel(w);
    await w.clock.advance(1_000);
    first.server = undefined;
    first.pipe.freeze();
    const second = channel(w, SETTINGS, "web-1", 2);
    await w.clock.advance(9_000);
    expect(second.isUp).toBe(false);
    await w.clock.advance(2_000);
    expect(second.isUp).toBe(true);
    expect((await agentsOf(w)).filter(({ agent }) => agent === "web-1")).toHaveLength(1);
  });
});

describe("a run that the server asks for", () => {
  test("is begun by the agent, which says so", async () => {
    const w = await start();
    const agent = channel(w);
    await w.clock.advance(1_000);
    const started = await ask<StartedView>(w, { command: "run", agent: "web-1", backup: "home" });
    expect(started).toEqual({ agent: "web-1", backup: "home", message: "a run of home begins" });
    expect(agent.asked).toEqual(["home"]);
  });

  test("that the agent refuses fails with the agent's own reason", async () => {
    const w = await start();
    const agent = channel(w);
    agent.verdict = { accepted: false, failure: new Failure("E_BUSY", "backup entry home runs already") };
    await w.clock.advance(1_000);
    const failure = await refusal(ask(w, { command: "run", agent: "web-1", backup: "home" }));
    expect(failure).toMatchObject({ code: "E_BUSY", message: "backup entry home runs already" });
  });

  test("of an agent that is not connected fails at once", async () => {
    const failure = await refusal(ask(await start(), { command: "run", agent: "web-1", backup: "home" }));
    expect(failure.code).toBe("E_NOT_CONNECTED");
  });

  test("of an agent that says nothing fails after thirty seconds, and of one that goes with its connection", async () => {
    const w = await start();
    const agent = channel(w);
    await w.clock.advance(1_000);
    agent.pipe.freeze();
    const before = w.clock.now();
    expect((await refusal(ask(w, { command: "run", agent: "web-1", backup: "home" }))).code).toBe("E_TIMEOUT");
    expect(w.clock.now() - before).toBeGreaterThanOrEqual(30_000);
    const asked = refusal(ask(w, { command: "run", agent: "web-1", backup: "home" }));
    agent.pipe.cut();
    expect((await asked).code).toBe("E_DISCONNECTED");
  });
});

describe("control_lost_grace_period", () => {
  test("over for an agent with a session is an event, its return another, and the session goes on", async () => {
    const w = await start();
    const agent = channel(w);
    const session = await w.session();
    await w.clock.advance(1_000);
    agent.server = undefined;
    agent.pipe.cut();
    const beating = every(w.clock, 5_000, () => session.link.send("ping", { id: 1 }));
    await w.clock.advance(290_000);
    expect(w.eventsOf("agent.control-lost")).toHaveLength(0);
    await w.clock.advance(20_000);
    expect(w.eventsOf("agent.control-lost")).toHaveLength(1);
    expect((await agentsOf(w))[0]).toMatchObject({ connected: false, lost: true });
    expect(w.server.view().sessionCount).toBe(1);
    agent.server = w;
    await w.clock.advance(61_000);
    expect(w.eventsOf("agent.control-back")).toHaveLength(1);
    expect((await agentsOf(w))[0]).toMatchObject({ connected: true, lost: false });
    beating.cancel();
  });

  test("is nothing for an agent without a session", async () => {
    const w = await start();
    const agent = channel(w);
    await w.clock.advance(1_000);
    agent.server = undefined;
    agent.pipe.cut();
    await w.clock.advance(900_000);
    expect(w.eventsOf("agent.control-lost")).toHaveLength(0);
  });
});

describe("the server", () => {
  test("takes facts of the most entries that a Ping may have", async () => {
    const w = await start();
    const { link } = w.connect("web-2");
    link.send("hello", helloOf({ role: "control", agent: "web-2", keepaliveMs: 30_000 }));
    await w.wait(link.expect("welcome"));
    const long = "n".repeat(64);
    const session = RUN;
    const most = Number.MAX_SAFE_INTEGER;
    const backup = {
      ...{ backup: long, storage: long, activity: "running" as const, session, phase: "p".repeat(32), entries: most },
      ...{ rawBytes: most, storedBytes: most, durableBytes: most, rttUs: most, streamsUp: 255, slots: 255 },
      autoscaler: {
        mode: "m".repeat(32),
        active: 255,
        max: 255,
        state: "s".repeat(32),
        rate: most,
        producedRate: most,
      },
      ...{ nextWallMs: most, lastResult: "E".repeat(64), lastWallMs: most, lastSuccessWallMs: most },
    };
    const backups = Array.from({ length: CONTROL_ENTRIES_MAX }, () => backup);
    link.send("ping", { id: 1, agent: { uptimeMs: most, backups, backupCount: 1000 } });
    await w.wait(link.expect("pong"));
    expect((await agentsOf(w))[0]?.backups).toHaveLength(CONTROL_ENTRIES_MAX);
  });

  test("closes an agent that sends many facts at once, and not one that does so each second", async () => {
    const w = await start();
    const backups = Array.from({ length: CONTROL_ENTRIES_MAX }, () => ({
      ...{ backup: "n".repeat(64), storage: "n".repeat(64), activity: "running" as const, session: RUN },
      ...{ phase: "p".repeat(32), lastResult: "E".repeat(64) },
    }));
    const facts = { uptimeMs: 1, backups, backupCount: CONTROL_ENTRIES_MAX };
    const { link } = w.connect("web-2");
    link.send("hello", helloOf({ role: "control", agent: "web-2", keepaliveMs: 1_000 }));
    await w.wait(link.expect("welcome"));
    for (let id = 1; id <= 60; id += 1) {
      link.send("ping", { id, agent: facts });
      await w.clock.advance(1_000);
    }
    expect(link.isClosed).toBe(false);
    for (let id = 100; id < 160; id += 1) link.send("ping", { id, agent: facts });
    await w.clock.advance(100);
    expect(link.received.at(-1)).toMatchObject({ type: "refused", body: { code: "E_LIMIT" } });
  });

  test("keeps a thousand agents at once", async () => {
    const w = await start();
    for (let index = 0; index < 1_000; index += 1) channel(w, SETTINGS, `web-${index}`, index);
    await w.clock.advance(2_000);
    expect((await agentsOf(w)).filter(({ connected }) => connected)).toHaveLength(1_000);
  });
});

test("the average takes a quarter of each sample, the deviation a quarter of its distance", () => {
  const rtt = new MovingAverage();
  expect(rtt.value).toBeUndefined();
  rtt.add(100);
  expect([rtt.value, rtt.deviation]).toEqual([100, 50]);
  rtt.add(200);
  expect([rtt.value, rtt.deviation]).toEqual([125, 62.5]);
});
