/** The daemon as a whole on a simulated clock: runs against a server that comes and goes, reloads, restarts, status and stop. */
import { expect, test } from "bun:test";
import { Bandwidth } from "#agent/bandwidth.ts";
import { bandwidthRule } from "#agent/bandwidth-timetable.ts";
import { AgentDaemon, type DaemonSetup } from "#agent/daemon.ts";
import { NO_SOCKETS } from "#base/chunk.ts";
import type { AgentConfig } from "#config/types.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { agentParts, agentPlan, MadeUpProducer } from "#test/support/agent-world.ts";
import { agentOf, agentYaml } from "#test/support/config-fixtures.ts";
import { EntryWorld } from "#test/support/entry-world.ts";
import { naiveDueTimes } from "#test/support/naive-cron.ts";
import { type Script, ScriptServer } from "#test/support/script-server.ts";
import { CHANNEL_DOWN } from "#test/support/control-view.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ZONE = "Europe/Berlin";

function configOf(schedule: string, more = ""): AgentConfig {
  return agentOf(agentYaml("", `schedule: "${schedule}"\n    run_missed: true${more}`)).config;
}

function setupOf(config: AgentConfig): DaemonSetup {
  return { config, zone: ZONE, certificateNotAfterMs: 4e12 };
}

interface World {
  readonly clock: SimClock;
  readonly around: EntryWorld;
  readonly logged: readonly string[];
  readonly events: ObservedEvent[];
  start(config: AgentConfig): Promise<AgentDaemon>;
}

/** `everyMs`: between two chunks of a backup. */
function worldOf(at: string, script?: Script, everyMs = 1, sockets = NO_SOCKETS): World {
  const clock = new SimClock(Date.parse(at));
  const server = new ScriptServer(clock, script);
  const { deps, logged } = agentParts(clock, server, () => {
    const producer = new MadeUpProducer(clock, [100, 200, 300], everyMs);
    producer.sockets = sockets;
    return producer;
  });
  const around = new EntryWorld(deps);
  const { events } = around;
  const start = async (config: AgentConfig): Promise<AgentDaemon> => {
    const daemon = new AgentDaemon(
      {
        ...{
          clock,
          log: deps.log,
          events: around.deps.events,
          states: around.states,
          software: "nbackup-agent 0.0.0",
          pid: 7,
        },
        runDeps: () => around.deps,
        planOf: (_config, entry) => ({
          ...{ ...agentPlan(), entry },
          bandwidth: new Bandwidth({ clock, log: deps.log, backup: entry.name }, bandwidthRule(entry, ZONE)),
        }),
        changed: () => undefined,
        control: () => CHANNEL_DOWN,
      },
      setupOf(config),
    );
    await daemon.start();
    return daemon;
  };
  return { clock, around, logged, events, start };
}

/** Lets simulated time pass in one turn of the real event loop, which is many times faster. */
function pass(clock: SimClock, ms: number): void {
  const endMs = clock.now() + ms;
  clock.after(ms, () => undefined);
  clock.run(() => clock.now() >= endMs, endMs);
}

const NAME = "home";

test("a month with a server that is away for days, reloads and restarts has every run begun when its expression says", async () => {
  let away = false;
  const world = worldOf("2026-03-12T10:03:00Z", (link, arrived, server) => {
    if (!away || arrived.type !== "begin") return false;
    server.refuse(link, "E_SHUTDOWN", { retry: true });
    return true;
  });
  const { clock, events } = world;
  const startMs = clock.wall();
  const config = configOf("0 2,14 * * *");
  let daemon = await world.start(config);
  for (let day = 0; day < 30; day += 1) {
    away = day % 6 === 5;
    pass(clock, DAY_MS);
    if (day % 4 === 0) await daemon.reload(setupOf(config));
    if (day % 5 !== 0) continue;
    await clock.until(daemon.stop(), HOUR_MS);
    daemon = await world.start(config);
  }
  const begun = events
    .filter(({ kind }) => kind === "run.started")
    .map(({ fields }) => Date.parse(String(fields["due"])));
  expect(begun).toEqual(naiveDueTimes("0 2,14 * * *", ZONE, startMs, clock.wall()));
  const kinds = new Set(events.map(({ kind }) => kind));
  expect([...kinds].sort()).toEqual(["run.committed", "run.failed", "run.started"]);
  const failed = events.filter(({ kind }) => kind === "run.failed");
  expect(failed.map(({ fields }) => fields["code"])).toEqual(Array<string>(failed.length).fill("E_SHUTDOWN"));
  await clock.until(daemon.stop(), HOUR_MS);
  // Nothing is left that could happen: no timer, no run.
  await clock.advance(HOUR_MS);
  expect(clock.pendingCount).toBe(0);
});

test("sockets of the sources are one line of the log, and no problem of the run", async () => {
  const sockets = { count: 7, paths: [Buffer.from("/run/a"), Buffer.from("/run/b")] };
  const { start, clock, logged, events } = worldOf("2026-02-02T00:30:00Z", undefined, 1, sockets);
  const daemon = await start(configOf("0 2 * * *"));
  await clock.advance(HOUR_MS);
  const lines = logged.filter((line) => line.includes("socket"));
  expect(lines.map((line) => line.slice(line.indexOf(" ") + 1))).toEqual([
    'info sockets are not in the archive: no tar holds one {"backup":"home","count":7,"sockets":["/run/a","/run/b"]}',
  ]);
  expect(events.find(({ kind }) => kind === "run.committed")?.fields["problemCount"]).toBe(0);
  await clock.until(daemon.stop(), HOUR_MS);
});

test("status says what runs and how far it is, what is next and what was", async () => {
  const world = worldOf("2026-02-02T00:30:00Z", undefined, HOUR_MS);
  const { clock } = world;
  const daemon = await world.start(configOf("0 2 * * *"));
  const nextWallMs = Date.parse("2026-02-02T01:00:00Z");
  expect(daemon.summary()).toBe(`next: ${NAME} at 2026-02-02T01:00:00.000Z`);
  expect((await daemon.status()).entries).toEqual([
    {
      ...{ backup: NAME, storage: "main", schedule: "0 2 * * *", activity: "idle", nextWallMs },
      ...{ running: null, last: null, lastCommitted: null, limitBytesPerSecond: null, limitUntilWallMs: null },
    },
  ]);
  // What goes out at each keep-alive costs no look at a timetable.
  expect(Object.keys((await daemon.entriesNow(1))[0] ?? {})).not.toContain("limitBytesPerSecond");
  await clock.advance(2.6 * HOUR_MS);
  const status = await daemon.status();
  expect(status).toMatchObject({
    software: "nbackup-agent 0.0.0",
    pid: 7,
    zone: ZONE,
    maxConcurrent: 1,
    stopping: false,
  });
  expect(status.entries[0]).toMatchObject({
    activity: "running",
    running: { trigger: "schedule", stage: "reading", storedBytes: 300, retries: 0, position: null },
    nextWallMs: nextWallMs + DAY_MS,
  });
  expect(daemon.summary()).toBe(`running ${NAME}`);
  expect(daemon.idle).toBe(false);
  await clock.advance(3 * HOUR_MS);
  const [entry] = (await daemon.status()).entries;
  expect(entry).toMatchObject({ activity: "idle", last: { result: "committed", trigger: "schedule" } });
  expect(entry?.lastCommitted).toEqual(entry?.last ?? null);
  await clock.until(daemon.stop(), HOUR_MS);
});

test("a stop gives up what runs, and the next start makes up for it", async () => {
  const world = worldOf("2026-02-02T00:59:00Z", undefined, HOUR_MS);
  const { clock, events } = world;
  const daemon = await world.start(configOf("0 2 * * *"));
  await clock.advance(2 * HOUR_MS);
  await clock.until(daemon.stop(), 60_000);
  expect(events.at(-1)).toMatchObject({ kind: "run.failed", level: "warn", fields: { code: "E_INTERRUPTED" } });
  const next = await world.start(configOf("0 2 * * *"));
  await clock.advance(6 * HOUR_MS);
  expect(events.slice(-2)).toMatchObject([
    { kind: "run.started", fields: { trigger: "cut-off", due: "2026-02-02T01:00:00.000Z" } },
    { kind: "run.committed" },
  ]);
  await clock.until(next.stop(), HOUR_MS);
});

test("a reload changes schedules while a backup runs, which goes on as it was begun", async () => {
  const world = worldOf("2026-02-02T00:59:00Z", undefined, HOUR_MS);
  const { clock, events } = world;
  const daemon = await world.start(configOf("0 2 * * *"));
  await clock.advance(HOUR_MS);
  await daemon.reload(setupOf(configOf("30 12 * * *")));
  expect((await daemon.status()).entries[0]).toMatchObject({
    activity: "running",
    nextWallMs: Date.parse("2026-02-02T11:30:00Z"),
  });
  await clock.advance(5 * HOUR_MS);
  expect(events.map(({ kind }) => kind)).toEqual(["run.started", "run.committed"]);
  daemon.reloadFailed("E_CONFIG", "it is wrong");
  expect((await daemon.status()).reloadFailure).toMatchObject({ code: "E_CONFIG", message: "it is wrong" });
  await daemon.reload(setupOf(configOf("30 12 * * *")));
  expect((await daemon.status()).reloadFailure).toBeNull();
  await clock.until(daemon.stop(), HOUR_MS);
});

test("a reload sets, changes and removes the bandwidth limit of a backup that runs, and status says what is in force", async () => {
  const world = worldOf("2026-02-02T00:59:00Z", undefined, HOUR_MS);
  const { clock, logged } = world;
  const daemon = await world.start(configOf("0 2 * * *"));
  await clock.advance(HOUR_MS);
  const limits = ["1mb", "[{from: 02:00, to: 18:00, limit: 2mb}]", undefined];
  const seen: unknown[] = [];
  for (const limit of limits) {
    const more = limit === undefined ? "" : `\n    bandwidth_limit: ${limit}`;
    await daemon.reload(setupOf(configOf("0 2 * * *", more)));
    const [entry] = (await daemon.status()).entries;
    seen.push([entry?.activity, entry?.limitBytesPerSecond, entry?.limitUntilWallMs]);
  }
  expect(seen).toEqual([
    ["running", 1024 ** 2, null],
    ["running", 2 * 1024 ** 2, Date.parse("2026-02-02T17:00:00Z")],
    ["running", null, null],
  ]);
  expect(logged.filter((line) => line.includes("the bandwidth limit changed"))).toHaveLength(3);
  await clock.until(daemon.stop(), HOUR_MS);
});

test("a server that is away for five minutes when a run is due does not cost the backup, and one that stays away is given up", async () => {
  let awayUntilMs = Date.parse("2026-02-02T01:05:00Z");
  const world = worldOf("2026-02-02T00:59:00Z", (link, arrived, server) => {
    if (arrived.type !== "begin" || world.clock.wall() >= awayUntilMs) return false;
    server.refuse(link, "E_SHUTDOWN", { retry: true });
    return true;
  });
  const { clock, events } = world;
  const daemon = await world.start(configOf("0 2,3 * * *"));
  await clock.advance(16 * 60_000);
  expect(events.map(({ kind }) => kind)).toEqual(["run.started", "run.committed"]);
  awayUntilMs = Number.POSITIVE_INFINITY;
  await clock.advance(DAY_MS / 2);
  const begun = events.filter(({ kind }) => kind === "run.started").slice(1);
  expect(begun.map(({ fields }) => fields["due"])).toEqual(["2026-02-02T02:00:00.000Z"]);
  expect(events.at(-1)).toMatchObject({ kind: "run.failed", fields: { code: "E_SHUTDOWN" } });
  const tookMs = Number(events.at(-1)?.fields["durationMs"]);
  expect(tookMs).toBeWithin(HOUR_MS - 300_000, HOUR_MS);
  await clock.until(daemon.stop(), HOUR_MS);
});

test("while a backup runs the log has a line of figures a minute, and with stream_stats one of its streams every 15 s", async () => {
  const world = worldOf("2026-02-02T00:59:00Z", undefined, HOUR_MS);
  const { clock, logged } = world;
  const lines = (event: string): string[] => logged.filter((line) => line.includes(`"event":"${event}"`));
  const quiet = configOf("0 2 * * *");
  const daemon = await world.start(quiet);
  await clock.advance(55_000);
  expect(lines("agent.stats")).toEqual([]);
  await clock.advance(5 * 60_000 + 10_000);
  expect(lines("agent.stats")).toHaveLength(5);
  expect(lines("agent.stats")[0]).toContain('"backup":"home"');
  expect(lines("stream.stats")).toEqual([]);
  await daemon.reload(setupOf({ ...quiet, logging: { ...quiet.logging, streamStats: true } }));
  await clock.advance(60_000);
  expect(lines("stream.stats")).toHaveLength(4);
  expect(lines("stream.stats")[0]).toMatch(/"streams":\[\{"slot":0,"up":true,"bytes":\d+,"bytesPerSecond":\d+\}\]/);
  await clock.advance(5 * HOUR_MS);
  const { length } = lines("agent.stats");
  await clock.advance(HOUR_MS);
  expect(lines("agent.stats")).toHaveLength(length);
  await clock.until(daemon.stop(), HOUR_MS);
  expect(clock.pendingCount).toBe(0);
});
