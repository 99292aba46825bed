/** Agents on the page while one runs: its channel, what it is at, and the ratio that its autoscaler goes by. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { freePort } from "#scripts/lib/background.ts";
import { PageClient } from "#test/support/page-client.ts";
import { serverCommand } from "#test/support/server-command.ts";
import { AGENT, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import type { BackupSummary } from "#web/api-archives.ts";
import type { AgentChannelBackup, AgentsAnswer, OverviewAnswer, SessionDetail } from "#web/api-types.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;

beforeEach(async () => {
  site = await Site.make();
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

test("an agent's autoscaler tells what was produced to what its streams could take", async () => {
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(20_000_000));
  const pagePort = freePort();
  const webUi = { enabled: true, listen: `127.0.0.1:${pagePort}`, allow_origins: ["127.0.0.1"] };
  const server = await site.startServer({ webUi });
  const config = await site.agentConfig({
    port: server.port,
    stateDir: site.at("agent-state"),
    backups: [
      {
        ...{ name: "home", storage: STORAGE, sources: [{ path: site.at("source") }], parallels: 4 },
        ...{ auto_scaler: { enabled: true }, bandwidth_limit: "2mb" },
      },
    ],
    daemon: { control_channel: { keepalive_interval: "1s" } },
  });
  const agent = site.startAgent(config, []);
  await agent.printed(/the control channel is up/);
  const { file } = await site.serverConfig({ port: server.port });
  expect((await serverCommand(site, file, ["run", AGENT, "home"])).exitCode).toBe(0);
  const page = new PageClient(pagePort);
  let entry: AgentChannelBackup | undefined;
  while (typeof entry?.autoscaler?.rate !== "number") {
    const { rows } = await page.json<AgentsAnswer>("/api/v1/agents?agent=web-*");
    expect(rows.length).toBeLessThan(2);
    entry = rows[0]?.channel?.backups[0];
    expect(agent.output).not.toContain('"event":"run.committed"');
    await Bun.sleep(100);
  }
  expect(entry).toMatchObject({ backup: "home", activity: "running", autoscaler: { mode: "efficiency", max: 4 } });
  expect(entry.autoscaler?.rate).toBeGreaterThan(0);
  const detail = await page.json<SessionDetail>(`/api/v1/sessions/${entry.session}`);
  expect(detail.autoscaler?.rate).toBeGreaterThan(0);
  await agent.printed(/"event":"run.committed"/);
});

test("a run that a hook cancels, of which no session tells, makes its backup failing until one succeeds", async () => {
  mkdirSync(site.at("source"));
  const pagePort = freePort();
  const webUi = { enabled: true, listen: `127.0.0.1:${pagePort}`, allow_origins: ["127.0.0.1"] };
  const server = await site.startServer({ webUi });
  const hooks = { before: `test ! -e ${site.at("locked")}` };
  const config = await site.agentConfig({
    port: server.port,
    stateDir: site.at("agent-state"),
    backups: [{ name: "home", storage: STORAGE, sources: [{ path: site.at("source") }], hooks }],
    daemon: { control_channel: { keepalive_interval: "1s" } },
  });
  const agent = site.startAgent(config, []);
  await agent.printed(/the control channel is up/);
  const { file } = await site.serverConfig({ port: server.port });
  const page = new PageClient(pagePort);
  for (const [lock, reason] of [
    [false, ""],
    [true, "the agent's last run failed: E_HOOK"],
    [false, ""],
  ] as const) {
    if (lock) writeFileSync(site.at("locked"), "");
    else rmSync(site.at("locked"), { force: true });
    // The agent may not be done with the one before.
    while ((await serverCommand(site, file, ["run", AGENT, "home"])).exitCode !== 0) await Bun.sleep(100);
    let standing: BackupSummary | undefined;
    while (standing?.state !== (lock ? "failing" : "ok")) {
      await Bun.sleep(100);
      standing = (await page.json<OverviewAnswer>("/api/v1/overview")).backups[0];
    }
    expect(standing.reason).toBe(reason);
  }
});
