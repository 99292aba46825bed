/** The control channel with real processes: seen, asked to run, and found again after the server died. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import type { AgentView } from "#observe/agent-views.ts";
import type { AgentStatus } from "#observe/views.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type CommandEnd, serverCommand } from "#test/support/server-command.ts";
import { AGENT, archivesIn, Site, STORAGE } from "#test/support/site.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

const TEST_MS = 150_000;
const CHANNEL = { keepalive_interval: "1s", reconnect_delay: "200ms", max_reconnect_delay: "1s" };

let site: Site;
let server: ServerProcess;
let serverConfig: string;
let agentConfig: string;
let agent: WatchedProcess;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source", "file"), "content");
  server = await site.startServer();
  const { port } = server;
  serverConfig = (await site.serverConfig({ port })).file;
  agentConfig = await site.agentConfig({
    port,
    stateDir: site.at("agent-state"),
    backups: [{ name: "home", storage: STORAGE, sources: [{ path: site.at("source") }] }],
    daemon: { control_channel: CHANNEL },
  });
  agent = site.startAgent(agentConfig, []);
  await agent.printed(/the control channel is up/);
}, TEST_MS);

afterAll(() => site.remove());

const ask = (...args: readonly string[]): Promise<CommandEnd> => serverCommand(site, serverConfig, args);

function agentStatus(...args: readonly string[]): Promise<ProcessEnd> {
  const command = [site.executables.agent, "status", ...args, "--config", agentConfig];
  return new WatchedProcess(command, { cwd: site.at("cwd") }).end();
}

async function agentView(): Promise<AgentView> {
  const { stdout } = await ask("agents", "--json");
  // One line per agent, and there is one.
  return JSON.parse(stdout) as AgentView;
}

describe("an agent's daemon", () => {
  test("is listed by the server as connected, with version and processor use", async () => {
    expect(await agentView()).toMatchObject({ agent: AGENT, connected: true, backupCount: 1 });
    const { stdout, exitCode } = await ask("agents");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(new RegExp(`^${AGENT} +connected .* nbackup-agent `, "m"));
  });

  test("shows the channel in its own status", async () => {
    const status = JSON.parse((await agentStatus("--json")).stdout) as AgentStatus;
    expect(status.control.connectedSinceWallMs).not.toBeNull();
    expect(status.control.rttMs).toBeGreaterThan(0);
    expect((await agentStatus()).stdout).toMatch(/^control channel up since .*, RTT .* ms, server load /m);
  });

  test("begins a run when the server is told to, and the run is committed", async () => {
    const asked = await ask("run", AGENT, "home");
    expect(asked).toMatchObject({ exitCode: 0, stdout: `${AGENT}: a run of home begins\n` });
    await agent.printed(/"event":"run.committed"/);
    expect(agent.output).toContain('"trigger":"remote"');
    expect(archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"))).toHaveLength(1);
  });

  test("refuses an entry that it does not have, and the command says why", async () => {
    const asked = await ask("run", AGENT, "nothing");
    expect(asked.exitCode).toBe(1);
    expect(asked.stderr).toContain("E_BACKUP_UNKNOWN: there is no backup entry nothing");
    const away = await ask("run", "web-9", "home");
    expect(away.exitCode).toBe(1);
    expect(away.stderr).toContain("E_NOT_CONNECTED: agent web-9 is not connected");
  });

  test(
    "is back after the server was killed and started again",
    async () => {
      const { port } = server;
      server.kill("SIGKILL");
      await server.end();
      await agent.printed(/the control channel is down/);
      server = await site.startServer({ port });
      await agent.printed(/the control channel is up[\s\S]*the control channel is up/);
      expect(await agentView()).toMatchObject({ agent: AGENT, connected: true });
      const asked = await ask("run", AGENT, "home");
      expect(asked.exitCode).toBe(0);
      await agent.printed(/"event":"run.committed"[\s\S]*"event":"run.committed"/);
    },
    TEST_MS,
  );
});
