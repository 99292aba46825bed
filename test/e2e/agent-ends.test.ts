/**
 * Runs that end before their time: interrupted, killed, frozen. The server hears of it or finds out, its space is free again,
 * and the next run does not wait for longer than it takes to see that the old one is dead.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { lookUntil } from "#test/support/look-until.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import type { ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);
const SOURCE_BYTES = 48 * MiB;
/** PROTOCOL.md "Limits": how long the server waits for the answer to a probe. */
const PROBE_MS = 10_000;

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  const bytes = new Uint8Array(MiB);
  for (let n = 0; n < SOURCE_BYTES / MiB; n += 1) {
    for (let at = 0; at < MiB; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    writeFileSync(site.at("source", `file-${n}`), bytes);
  }
  server = await site.startServer({ server: { session_idle_timeout: "20s" } });
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

/** A run of so many seconds, unless there is no limit; its entry is its own. */
async function start(
  name: string,
  fields: {
    readonly port?: number;
    readonly limit?: string;
    readonly retry?: Record<string, unknown>;
    /** A command that runs the agent. */
    readonly prefix?: readonly string[];
  } = {},
): Promise<WatchedProcess> {
  const { port = server.port, limit } = fields;
  const entry = { name, storage: STORAGE, sources: [{ path: site.at("source") }], parallels: 2 };
  const config = await site.agentConfig({
    port,
    backups: [{ ...entry, ...(limit === undefined ? {} : { bandwidth_limit: limit }) }],
    logging: { level: "debug" },
    ...(fields.retry === undefined ? {} : { retry: fields.retry }),
  });
  return site.startAgent(config, ["--once", "--json"], fields.prefix);
}

const eventsOf = (kind: string, backup: string): readonly Record<string, unknown>[] =>
  server.events(kind).filter((event) => event["backup"] === backup);

/** Resolves with the entry's events of that kind when one has come of a session that is none of `known`. */
async function events(
  kind: string,
  backup: string,
  known: readonly string[] = [],
): Promise<readonly Record<string, unknown>[]> {
  const others = known.length === 0 ? "" : `(?!${known.join("|")})`;
  const place = `"session":"${others}[^"]*","agent":"[^"]*","backup":"${backup}"`;
  await server.printed(new RegExp(`"event":"${kind.replaceAll(".", "\\.")}",${place}[^\n]*\n`));
  return eventsOf(kind, backup);
}

/** The session of the entry that was admitted last; waits for one that is none of `known`. */
async function admitted(backup: string, known: readonly string[] = []): Promise<string> {
  return String((await events("session.admitted", backup, known)).at(-1)?.["session"]);
}

/** Resolves when so much of the session's archive was written. */
async function stored(session: string, bytes: number): Promise<void> {
  const part = path.join(site.storage(), ".nbackup", "sessions", session, "archive.part");
  await lookUntil(
    () => statSync(part).size >= bytes,
    () => `${bytes} bytes in ${part}, which has ${statSync(part).size}`,
  );
}

async function endOf(agent: WatchedProcess): Promise<ProcessEnd & { readonly tookMs: number }> {
  const startedAtMs = performance.now();
  const end = await agent.end();
  return { ...end, tookMs: performance.now() - startedAtMs };
}

describe("a run that is interrupted", () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    test(`by ${signal} gives its session up, and nothing of it is left`, async () => {
      const backup = `stop-${signal.toLowerCase()}`;
      const agent = await start(backup, { limit: "2mb" });
      await events("session.admitted", backup);
      agent.kill(signal);
      const end = await endOf(agent);
      expect(end.exitCode).toBe(130);
      expect(end.tookMs).toBeLessThan(5000);
      expect((await events("session.ended", backup))[0]).toMatchObject({ code: "E_DISOWNED" });
      expect(leftoversIn(site.storage())).toEqual([]);
      expect(agentEnd(end).reports[0]).toMatchObject({ result: "failed", backup });
    });
  }

  test("by nobody goes on, when its terminal goes away under nohup", async () => {
    const agent = await start("nohup", { limit: "16mb", prefix: ["nohup"] });
    await events("session.admitted", "nohup");
    agent.kill("SIGHUP");
    expect((await endOf(agent)).exitCode).toBe(0);
  });

  test("while no connection is up tells the server on one more connection", async () => {
    const backup = "stop-reconnecting";
    const proxy = new FaultProxy({ targetPort: server.port });
    const retry = { max_attempts: 5, initial_delay: "60s", max_delay: "60s" };
    const agent = await start(backup, { port: proxy.port, limit: "2mb", retry });
    await events("session.admitted", backup);
    await proxy.reached(MiB);
    proxy.refuse(true);
    proxy.cutAll();
    await events("session.parked", backup);
    // The first new attempt came at once and failed, the next one would come in a minute.
    await agent.printed(/"connection":"session connection"[^\n]*"delayMs":[345]\d{4}/);
    proxy.refuse(false);
    agent.kill("SIGTERM");
    const end = await endOf(agent);
    expect(end.exitCode).toBe(130);
    expect(end.tookMs).toBeLessThan(5000);
    expect((await events("session.ended", backup))[0]).toMatchObject({ code: "E_DISOWNED" });
    expect(leftoversIn(site.storage())).toEqual([]);
    proxy.stop();
  });

  test("and cannot tell anybody ends all the same, at once when it is asked twice", async () => {
    for (const twice of [false, true]) {
      const backup = `stop-unheard-${twice ? "twice" : "once"}`;
      let silent = false;
      const proxy = new FaultProxy({
        targetPort: server.port,
        onOpen: (connection) => {
          if (silent) connection.stall();
        },
      });
      const agent = await start(backup, { port: proxy.port, limit: "2mb" });
      await events("session.admitted", backup);
      await proxy.reached(MiB);
      silent = true;
      proxy.cutAll();
      await agent.printed(/connection lost, trying again/);
      agent.kill("SIGTERM");
      await agent.printed(/giving the session up/);
      if (twice) agent.kill("SIGINT");
      const end = await endOf(agent);
      expect(end.exitCode).toBe(130);
      expect(end.tookMs).toBeLessThan(twice ? 2000 : 10_000);
      proxy.stop();
    }
  });
});

describe("an agent that is killed", () => {
  test("at any moment leaves a session whose place the next run takes at once, again and again", async () => {
    const backup = "killed";
    const tookMs: number[] = [];
    const sessions: string[] = [];
    for (let time = 0; time < 6; time += 1) {
      const agent = await start(backup, { limit: "2mb" });
      const startedAtMs = performance.now();
      const session = await admitted(backup, sessions);
      sessions.push(session);
      tookMs.push(performance.now() - startedAtMs);
      // Somewhere in the next second, and once before anything was sent.
      if (time > 0) await stored(session, Math.random() * 2 * MiB);
      agent.kill("SIGKILL");
      await agent.end();
    }
    const last = agentEnd(await (await start(backup)).end());
    expect({ exit: last.exitCode, result: last.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    expect(eventsOf("session.ended", backup).map((event) => event["code"])).toEqual(
      Array<string>(6).fill("E_SUPERSEDED"),
    );
    expect(eventsOf("admission.refused", backup)).toEqual([]);
    // Far less than a probe takes: the kernel told the server that the connections are gone.
    expect(Math.max(...tookMs)).toBeLessThan(PROBE_MS - 2000);
    await checkSum(path.join(site.storage(), last.reports[0]?.archive ?? ""));
    expect(leftoversIn(site.storage()).filter((file) => file.includes(last.reports[0]?.session ?? ""))).toEqual([]);
  });

  test("and never comes again leaves a session that expires and frees its space", async () => {
    const backup = "gone-for-good";
    const agent = await start(backup, { limit: "4mb" });
    const session = await admitted(backup);
    agent.kill("SIGKILL");
    await events("session.parked", backup);
    expect(leftoversIn(site.storage()).some((file) => file.includes(session))).toBe(true);
    expect((await events("session.ended", backup))[0]).toMatchObject({ code: "E_SESSION_EXPIRED" });
    expect(leftoversIn(site.storage()).some((file) => file.includes(session))).toBe(false);
  });

  test("in a way that nobody is told of keeps its next run waiting for one probe, and no longer", async () => {
    const backup = "frozen";
    const proxy = new FaultProxy({ targetPort: server.port });
    const frozen = await start(backup, { port: proxy.port, limit: "4mb" });
    const old = await admitted(backup);
    await proxy.reached(2 * MiB);
    // Its connections stand, and nothing comes through them: as after a power loss.
    frozen.kill("SIGSTOP");
    for (const connection of proxy.connections) connection.stall();
    const startedAtMs = performance.now();
    const next = await start(backup);
    await admitted(backup, [old]);
    const waitedMs = performance.now() - startedAtMs;
    expect(waitedMs).toBeGreaterThan(PROBE_MS / 2);
    expect(waitedMs).toBeLessThan(PROBE_MS + 5000);
    const end = agentEnd(await next.end());
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    expect(eventsOf("admission.refused", backup)).toEqual([]);
    expect(eventsOf("session.ended", backup).map((event) => event["code"])).toEqual(["E_SUPERSEDED"]);
    frozen.kill("SIGKILL");
    proxy.stop();
    expect(archivesIn(site.storage()).some((file) => file.includes(`/${backup}/`))).toBe(true);
  });
});

describe("nbackup-agent health", () => {
  const ask = async (port: number, args: readonly string[] = []): Promise<ProcessEnd> => {
    const entry = { name: "all", storage: STORAGE, sources: [{ path: site.at("source") }] };
    const config = await site.agentConfig({ port: server.port, backups: [entry] });
    return await site.startAgent(config, ["health", `127.0.0.1:${port}`, ...args]).end();
  };

  test("says READY with a table, or one JSON object, and exits with 0", async () => {
    const end = await ask(server.port);
    expect(end.exitCode).toBe(0);
    expect(end.stdout).toMatch(
      /^127\.0\.0\.1:\d+: READY \(nbackup-server .*\)\nsessions: \d+ of 32 running, 0 waiting\n/,
    );
    expect(end.stdout).toMatch(/^main +ok +\S+ \S+ +\S+ \S+$/m);
    const report = JSON.parse((await ask(server.port, ["--json"])).stdout);
    expect(report).toMatchObject({ state: "READY", storageCount: 1, storages: [{ name: "main", state: "ok" }] });
  });

  test("says BUSY and exits with 10 when no session is free, LOW DISK and 11 when a storage has less than its reserve", async () => {
    const other = await site.startServer({
      server: { max_sessions: 1, state_dir: site.at("state-other") },
      storages: { other: {} },
    });
    const entry = { name: "slow", storage: "other", sources: [{ path: site.at("source") }], bandwidth_limit: "1mb" };
    const config = await site.agentConfig({ port: other.port, backups: [entry] });
    const agent = site.startAgent(config, ["--once"]);
    await other.event("session.admitted");
    const busy = await ask(other.port);
    expect([busy.exitCode, busy.stdout.includes(": BUSY (")]).toEqual([10, true]);
    await agent.stop();
    await other.stop();
    const low = await site.startServer({
      server: { state_dir: site.at("state-low") },
      storages: { greedy: { reserve: "1000tb" } },
    });
    const end = await ask(low.port, ["--json"]);
    expect([end.exitCode, JSON.parse(end.stdout).state]).toEqual([11, "LOW_DISK"]);
    await low.stop();
    const gone = await ask(low.port);
    expect([gone.exitCode, gone.stdout]).toEqual([1, ""]);
    expect(gone.stderr).toMatch(/^E_CONNECT: /);
  });
});
