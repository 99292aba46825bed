/** An administrator and a running server: status, sessions, history, events, abort and prune with the compiled program. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { expectRefusal } from "#test/support/refusal.ts";
import { type CommandEnd, serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, agentEnd, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { lacksRoot, patternBytes } from "#test/support/tree.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let configFile: string;

beforeEach(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(3_000_000));
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

async function startServer(settings: Parameters<Site["serverConfig"]>[0] = {}): Promise<ServerProcess> {
  const server = await site.startServer(settings);
  configFile = (await site.serverConfig({ ...settings, port: server.port })).file;
  return server;
}

const command = (...args: string[]): Promise<CommandEnd> => serverCommand(site, configFile, args);
const BACKUP = { name: "all", storage: STORAGE };

async function backUp(port: number): Promise<AgentEnd> {
  const end = await site.once({ port, backups: [{ ...BACKUP, sources: [{ path: site.at("source") }] }] });
  expect(end.exitCode).toBe(0);
  return end;
}

/** A run that takes some seconds: stored, the source has 2.25 MB. */
async function startSlowly(port: number): Promise<WatchedProcess> {
  const backups = [{ ...BACKUP, sources: [{ path: site.at("source") }], bandwidth_limit: "256kb", parallels: 2 }];
  return site.startAgent(await site.agentConfig({ port, backups }), ["--once", "--json"]);
}

const archives = (): string[] => archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"));

describe("a server with a session", () => {
  test("shows it in status and sessions, and abort ends it for good", async () => {
    const server = await startServer();
    const agent = await startSlowly(server.port);
    await server.event("session.admitted");
    const status = await command("status", "--json");
    expect(status.objects[0]).toMatchObject({
      ...{ pid: server.pid, stopping: false, sessionCount: 1, sessionsMax: 32, waitingCount: 0 },
      storages: [{ name: STORAGE, state: "ok", baseDir: site.storage(), maxBackups: 50, sessionCount: 1 }],
    });
    expect((await command("status")).stdout).toMatch(/1 of 32 sessions run[\s\S]*STORAGE\s+STATE[\s\S]*main\s+ok/);
    const sessions = await command("sessions", "--json");
    const session = String(sessions.objects[0]?.["session"]);
    expect(sessions.objects).toMatchObject([{ agent: "web-1", backup: "all", storage: STORAGE, state: "receiving" }]);
    expect((await command("sessions")).stdout).toContain(session);
    const aborted = await command("abort", session);
    expect({ exit: aborted.exitCode, out: aborted.stdout }).toEqual({ exit: 0, out: "aborted\n" });
    expectRefusal(await agent.end(), { exit: 1, code: "E_ABORTED", says: /administrator/ });
    expect(leftoversIn(site.storage())).toEqual([]);
    expectRefusal(await command("abort", session), { exit: 1, code: "E_SESSION_GONE" });
    const history = await command("history", "--json");
    expect(history.objects).toMatchObject([{ session, outcome: "aborted", code: "E_ABORTED", archive: null }]);
  });

  test("that is told to stop says so until it has stopped", async () => {
    const server = await startServer({ server: { shutdown_timeout: "5m" } });
    const agent = await startSlowly(server.port);
    await server.event("session.admitted");
    server.kill("SIGTERM");
    await server.event("server.stopping");
    expect((await command("status", "--json")).objects).toMatchObject([{ stopping: true, sessionCount: 1 }]);
    expect(agentEnd(await agent.end()).reports[0]?.result).toBe("committed");
    expect((await server.end()).exitCode).toBe(0);
    expect(existsSync(site.at("state/control.sock"))).toBe(false);
    expectRefusal(await command("status"), {
      exit: 1,
      code: "E_NOT_RUNNING",
      hint: /Start it, or name the configuration file/,
    });
  });
});

describe("what happened", () => {
  test("is in history and events, and still after kill -9 and a start over the socket that was left", async () => {
    const server = await startServer();
    const archive = String((await backUp(server.port)).reports[0]?.archive);
    const refused = await site.once({
      port: server.port,
      backups: [{ ...BACKUP, storage: "nowhere", sources: [{ path: site.at("source") }] }],
    });
    expect(refused.exitCode).toBe(1);
    const shown = await command("history");
    expect(shown.stdout).toMatch(/refused[^\n]*E_STORAGE_UNKNOWN[\s\S]*committed/);
    // A second is what a crash may cost.
    await Bun.sleep(1500);
    server.kill("SIGKILL");
    await server.end();
    expect(existsSync(site.at("state/control.sock"))).toBe(true);
    expectRefusal(await command("status"), { exit: 1, code: "E_NOT_RUNNING" });
    await startServer({ port: server.port });
    expect((await command("history", "--json")).objects).toMatchObject([
      { outcome: "refused", code: "E_STORAGE_UNKNOWN", session: null, backup: "all", storage: "nowhere" },
      {
        outcome: "committed",
        archive,
        entries: 2,
        chunks: expect.any(Number),
        sha256: expect.stringMatching(/^\w{64}$/),
      },
    ]);
    const events = (await command("events", "--json", "--limit", "4")).objects.map(({ kind }) => kind);
    expect(events).toEqual(["server.started", "admission.refused", "session.committed", "session.admitted"]);
    expect((await command("events")).stdout).toMatch(/web-1\/all: session begins/);
  });

  test("is nobody else's business", async () => {
    const server = await startServer();
    await backUp(server.port);
    await server.stop();
    await startServer();
    for (const file of ["events.jsonl", "session-history.jsonl", "control.sock"]) {
      expect([file, statSync(site.at("state", file)).mode & 0o777]).toEqual([file, 0o600]);
    }
  });

  test.skipIf(lacksRoot())("is not told to another user, who hears why", async () => {
    await startServer();
    for (const file of [configFile, site.executables.server]) chmodSync(file, 0o755);
    const end = await serverCommand(
      site,
      configFile,
      ["status"],
      [...["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]],
    );
    expectRefusal(end, { exit: 1, code: "E_STATE_DIR", says: /control\.sock.*EACCES/, hint: /as root/ });
  });

  test("does not fill history and log when an agent is refused over and over", async () => {
    const server = await startServer({ storages: { [STORAGE]: { allow_agents: ["db-*"] } } });
    const backups = [{ ...BACKUP, sources: [{ path: site.at("source") }] }];
    for (let i = 0; i < 4; i += 1) expect((await site.once({ port: server.port, backups })).exitCode).toBe(1);
    await server.stop();
    const lines = readFileSync(site.at("state/session-history.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { outcome: "refused", code: "E_STORAGE_DENIED", repeats: 0 },
      { outcome: "refused", code: "E_STORAGE_DENIED", repeats: 2 },
    ]);
    expect(server.events("admission.refused")).toHaveLength(2);
  });
});

describe("prune", () => {
  test("follows the file as it is now, through the server that runs or alone, and only looks when told so", async () => {
    const server = await startServer();
    for (let i = 0; i < 4; i += 1) await backUp(server.port);
    expect(archives()).toHaveLength(4);
    // As an administrator who lowers max_backups and does not restart the server.
    const lowered = (maxBackups: number): Promise<{ file: string }> =>
      site.serverConfig({ port: server.port, storages: { [STORAGE]: { max_backups: maxBackups } } });
    configFile = (await lowered(3)).file;
    const dry = await command("prune", "--dry-run");
    expect({ exit: dry.exitCode, out: dry.stdout }).toMatchObject({
      exit: 0,
      out: expect.stringMatching(/^would remove main: web-1\/all\/.*\n1 archive, .* would be freed\n$/),
    });
    expect(archives()).toHaveLength(4);
    const pruned = await command("prune", "web-1", "all", "--storage", STORAGE, "--json");
    expect(pruned.objects).toMatchObject([
      { dryRun: false, failures: [], entries: [{ agent: "web-1", backup: "all", keptCount: 3, removed: [{}] }] },
    ]);
    expect(archives()).toHaveLength(3);
    await server.event("archives.removed");
    await server.stop();
    configFile = (await lowered(1)).file;
    const alone = await command("prune");
    expect({ exit: alone.exitCode, err: alone.stderr }).toEqual({ exit: 0, err: "" });
    expect(alone.stdout).toMatch(/2 archives, .* freed\n$/);
    expect(archives()).toHaveLength(1);
    expect((await command("prune")).stdout).toBe("nothing to remove\n");
  });

  test("without a socket does not touch a storage that a server has", async () => {
    const server = await startServer();
    await backUp(server.port);
    const other = await site.serverConfig({ port: server.port, server: { state_dir: site.at("elsewhere") } });
    const end = await serverCommand(site, other.file, ["prune"]);
    expectRefusal(end, { exit: 1, code: "E_LOCKED", says: /another nbackup-server/ });
    expectRefusal(await command("prune", "--storage", "nowhere"), { exit: 1, code: "E_STORAGE_UNKNOWN", hint: /main/ });
    expectRefusal(await command("prune", "../.."), { exit: 2, code: "E_NAME" });
  });
});
