/** Revoking an agent with the compiled programs: what runs ends, every role is refused, and a new certificate comes in. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { type CommandEnd, serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { AGENT, type AgentSettings, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

const TEST_MS = 150_000;
setDefaultTimeout(TEST_MS);
const OTHER = "web-2";
const CHANNEL = { keepalive_interval: "1s", reconnect_delay: "200ms", max_reconnect_delay: "1s" };

let site: Site;
let server: ServerProcess;
let serverConfig: string;
let daemonConfig: string;
let daemon: WatchedProcess;

function settings(name: string, backup: Record<string, unknown> = {}): AgentSettings {
  const entry = { name: "home", storage: STORAGE, sources: [{ path: site.at("source") }], ...backup };
  return { port: server.port, name, backups: [entry], daemon: { control_channel: CHANNEL } };
}

beforeAll(async () => {
  site = await Site.make([AGENT, OTHER]);
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source", "file"), crypto.getRandomValues(new Uint8Array(60_000)));
  mkdirSync(site.at("large"));
  const mib = Buffer.concat(
    Array.from({ length: 64 }, () => Buffer.from(crypto.getRandomValues(new Uint8Array(65_536)))),
  );
  writeFileSync(site.at("large", "file"), mib);
  server = await site.startServer();
  serverConfig = (await site.serverConfig({ port: server.port })).file;
  daemonConfig = await site.agentConfig({ ...settings(AGENT), stateDir: site.at("agent-state") });
  daemon = site.startAgent(daemonConfig, []);
  await daemon.printed(/the control channel is up/);
}, TEST_MS);

afterAll(() => site.remove());

const revoke = (agent: string, ...args: readonly string[]): Promise<CommandEnd> =>
  serverCommand(site, serverConfig, ["pki", "revoke", agent, ...args]);

function command(executable: string, ...args: readonly string[]): Promise<ProcessEnd> {
  return new WatchedProcess([executable, ...args], { cwd: site.at("cwd") }).end();
}

describe("an agent that is revoked while it backs up", () => {
  let running: WatchedProcess;
  let revoked: CommandEnd;

  beforeAll(async () => {
    const large = { bandwidth_limit: "64kb", parallels: 2, sources: [{ path: site.at("large") }] };
    const config = await site.agentConfig({ ...settings(AGENT, large), resume: { chunk_size: "64kb" } });
    running = site.startAgent(config, ["--once", "--json"]);
    await server.event("session.admitted");
    revoked = await revoke(AGENT);
  }, TEST_MS);

  test("is told of by the command, the list and an event", () => {
    expect([revoked.exitCode, revoked.stderr]).toEqual([0, ""]);
    expect(revoked.stdout).toMatch(/^server {3}1 session ended, \d connections? closed$/m);
    expect(revoked.stdout).toContain(site.at("pki", "revoked.jsonl"));
    expect(server.events("certificate.revoked")).toMatchObject([{ agent: AGENT, sessions: 1 }]);
  });

  test("ends its run at once as E_REVOKED, without another attempt, and leaves nothing on the server", async () => {
    const end = await running.end();
    expect(end.exitCode).toBe(1);
    const report = JSON.parse(end.stdout) as { result: string };
    expect(report.result).toBe("failed");
    expect(`${end.stdout}${end.stderr}`).toContain("E_REVOKED");
    await server.event("session.ended");
    expect(server.events("session.admitted")).toHaveLength(1);
    expect(server.events("session.ended")).toMatchObject([{ code: "E_REVOKED" }]);
    expect([archivesIn(site.storage()), leftoversIn(site.storage())]).toEqual([[], []]);
  });

  test("is refused in every role", async () => {
    await daemon.printed(/"code":"E_REVOKED".*the control channel is down/);
    const roles = [
      ["--once", "--config", daemonConfig],
      ["health", `127.0.0.1:${server.port}`, "--config", daemonConfig],
      ["list", "--config", daemonConfig],
    ];
    for (const args of roles) {
      const end = await command(site.executables.agent, ...args);
      expect(end.exitCode).toBe(1);
      expect(end.stderr + end.stdout).toContain("E_REVOKED");
      expect(end.stderr + end.stdout).toContain("pki enroll-token web-1");
    }
  });

  test("does not touch another agent", async () => {
    const end = await site.once(settings(OTHER));
    expect(end.reports).toMatchObject([{ result: "committed" }]);
  });

  test("is let in with a certificate that was made afterwards, the daemon after a reload", async () => {
    const made = await command(site.executables.server, "pki", "agent", AGENT, "--force", "--dir", site.at("pki"));
    expect(made.exitCode).toBe(0);
    daemon.kill("SIGHUP");
    await daemon.printed(/"the control channel is up"[\s\S]*"the control channel is up"/);
    expect((await site.once(settings(AGENT))).reports).toMatchObject([{ result: "committed" }]);
    const shown = await command(site.executables.server, "pki", "show", "--dir", site.at("pki"));
    expect(shown.stdout).toContain(`${AGENT} certificates made until`);
    expect(shown.stdout).not.toContain("REVOKED");
  });
});

describe("a server", () => {
  test("hears of a revocation that was only written to the list when it reloads", async () => {
    appendFileSync(site.at("pki", "revoked.jsonl"), `{"agent":"${OTHER}","revoked":"${new Date().toISOString()}"}\n`);
    expect((await site.once(settings(OTHER))).reports).toMatchObject([{ result: "committed" }]);
    server.kill("SIGHUP");
    await server.event("server.reloaded");
    expect((await site.once(settings(OTHER))).stderr).toContain("E_REVOKED");
  });

  test("that did not run knows of it after its start, and does not start with a list that means nothing", async () => {
    const { port } = server;
    await server.stop();
    const down = await revoke(AGENT);
    expect([down.exitCode, down.stdout.includes("does not run: its next start reads the list")]).toEqual([0, true]);
    appendFileSync(site.at("pki", "revoked.jsonl"), "{nonsense}\n");
    const refused = await command(site.executables.server, "--config", serverConfig);
    expect([refused.exitCode, refused.stderr.includes("is not a revocation")]).toEqual([2, true]);
    const list = site.at("pki", "revoked.jsonl");
    writeFileSync(list, (await Bun.file(list).text()).replace("{nonsense}\n", ""));
    server = await site.startServer({ port });
    expect((await site.once(settings(AGENT))).stderr).toContain("E_REVOKED");
  });
});
