/** A bandwidth limit of the compiled daemon is changed by SIGHUP while a backup runs, and `status` shows the one in force. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { lookedLongAgo } from "#test/support/agent-state.ts";
import { Site, STORAGE } from "#test/support/site.ts";

setDefaultTimeout(120_000);

let site: Site;
afterAll(() => site.remove());

test("a backup that would take minutes at its limit is through in seconds when a reload removes it", async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  for (let part = 0; part < 160; part += 1) {
    writeFileSync(site.at("source", `part-${part}`), crypto.getRandomValues(new Uint8Array(65_536)));
  }
  const server = await site.startServer();
  const stateDir = site.at("agent-state");
  const schedule = "0 2 * * *";
  lookedLongAgo(stateDir, "slow", schedule);
  const configWith = (keys: Record<string, unknown>): Promise<string> =>
    site.agentConfig({
      ...{ port: server.port, stateDir },
      backups: [
        { name: "slow", storage: STORAGE, schedule, run_missed: true, sources: [{ path: site.at("source") }], ...keys },
      ],
    });
  const timetable = [{ from: "00:00", to: "24:00", limit: "64kb" }];
  const config = await configWith({ bandwidth_limit: timetable, parallels: 2 });
  const agent = site.startAgent(config, []);
  await agent.printed(/"msg":"session admitted"/);
  const status = await site.startAgent(config, ["status"]).end();
  expect(status.stdout).toContain("limited to 64.0 kB/s");
  expect(agent.output).not.toContain("run.committed");
  renameSync(await configWith({ parallels: 2 }), config);
  agent.kill("SIGHUP");
  await agent.printed(/the bandwidth limit changed: no bandwidth limit any more/);
  const [line] = await agent.printed(/"event":"run.committed"[^\n]*/, 30_000);
  // 10 MB at 64 kB/s are 160 s.
  expect(Number(/"durationMs":(\d+)/.exec(line)?.[1])).toBeLessThan(30_000);
  expect((await agent.stop()).exitCode).toBe(0);
});
