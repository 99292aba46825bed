/**
 * `maintenance on --abort` of a busy server, with the compiled programs: what becomes of an agent that runs, of one that waits in
 * line, and of a daemon that is asked to run meanwhile. One maintenance for all of them, because each takes half a minute.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import type { AgentStatus } from "#observe/views.ts";
import { type CommandEnd, serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 150_000;
setDefaultTimeout(TIMEOUT_MS);
/** Neither waiting nor beginning again uses up the only attempt. */
const ONE_ATTEMPT = { max_attempts: 1, initial_delay: "50ms", max_delay: "500ms" };

let site: Site;
let server: ServerProcess;
let configFile: string;

beforeAll(async () => {
  site = await Site.make(["web-1", "web-2", "web-3"]);
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(3_000_000));
  const settings = { server: { max_sessions: 1 } };
  server = await site.startServer(settings);
  configFile = (await site.serverConfig({ ...settings, port: server.port })).file;
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const command = (...args: string[]): Promise<CommandEnd> => serverCommand(site, configFile, args);

function config(name: string, entry: Record<string, unknown> = {}, daemon?: Record<string, unknown>): Promise<string> {
  const backups = [{ name: "home", storage: STORAGE, sources: [{ path: site.at("source") }], ...entry }];
  return site.agentConfig({
    ...{ name, port: server.port, backups, retry: ONE_ATTEMPT },
    ...(daemon === undefined ? {} : { stateDir: site.at(`state-${name}`), daemon }),
  });
}

/** What the daemon says of its run, once it is deferred. */
async function deferredStage(file: string): Promise<AgentStatus["entries"][number]["running"]> {
  for (;;) {
    const args = [site.executables.agent, "status", "--json", "--config", file];
    const { stdout } = await new WatchedProcess(args, { cwd: site.at("cwd") }).end();
    const running = (JSON.parse(stdout) as AgentStatus).entries[0]?.running ?? null;
    if (running?.stage === "deferred") return running;
  }
}

test("the session that runs ends, the one in line and the one asked for wait, and all are committed when it is over", async () => {
  const slowly = await config("web-1", { bandwidth_limit: "128kb", parallels: 2 });
  const runs = site.startAgent(slowly, ["--once", "--json"]);
  await server.event("session.admitted");
  const waits = site.startAgent(await config("web-2"), ["--once", "--json"]);
  await waits.printed(/waiting in the server's queue, position 1\n/);
  const daemonFile = await config("web-3", {}, { control_channel: { keepalive_interval: "1s" } });
  const daemon = site.startAgent(daemonFile, []);
  await daemon.printed(/the control channel is up/);

  const on = await command("maintenance", "on", "--abort", "--reason", "new disks");
  expect(on.stdout).toMatch(/^in maintenance for .*: new disks; 0 sessions go on, 1 ended\n$/);
  expect(leftoversIn(site.storage())).toEqual([]);
  for (const agent of [runs, waits]) await agent.printed(/in maintenance: new disks: waiting until it has time\n/);
  expect((await command("run", "web-3", "home")).stdout).toBe("web-3: a run of home begins\n");
  expect(await deferredStage(daemonFile)).toMatchObject({ session: null, trigger: "remote" });
  const health = site.startAgent(daemonFile, ["health", `127.0.0.1:${server.port}`]);
  expect((await health.end()).exitCode).toBe(12);
  for (const agent of [runs, waits, daemon]) expect(agent.running).toBe(true);

  expect((await command("maintenance", "off")).stdout).toBe("maintenance is off\n");
  await daemon.printed(/"event":"run.committed"/);
  for (const agent of [runs, waits])
    expect(agentEnd(await agent.end(TIMEOUT_MS)).reports).toMatchObject([{ result: "committed" }]);
  expect(archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"))).toHaveLength(3);
  const history = (await command("history", "--json")).objects;
  expect(history).toContainEqual(expect.objectContaining({ agent: "web-1", code: "E_MAINTENANCE" }));
  expect(history.filter(({ outcome }) => outcome === "committed")).toHaveLength(3);
});
