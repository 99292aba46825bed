/** What the compiled daemon costs while it does nothing. NBACKUP_IDLE_SECONDS: 300 in CI, 3600 once. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { lookedLongAgo } from "#test/support/agent-state.ts";
import { lookUntil } from "#test/support/look-until.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { Site, STORAGE } from "#test/support/site.ts";

const IDLE_SECONDS = Number(process.env["NBACKUP_IDLE_SECONDS"] ?? "15");
const CLOCK_TICK_SECONDS = 0.01;
const TEST_MS = 150_000;
const SCHEDULE = "0 2 * * *";

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  for (let part = 0; part < 32; part += 1) {
    const bytes = Buffer.concat(Array.from({ length: 16 }, () => crypto.getRandomValues(new Uint8Array(65_536))));
    writeFileSync(site.at("source", `part-${part}`), bytes);
  }
  server = await site.startServer();
}, TEST_MS);

afterAll(() => site.remove());

test(
  `a daemon that does nothing for ${IDLE_SECONDS} s after a backup has less than 70 MB and takes less than 0.1 % of a processor`,
  async () => {
    const stateDir = site.at("agent-state");
    lookedLongAgo(stateDir, "idle", SCHEDULE);
    const entry = {
      name: "idle",
      storage: STORAGE,
      schedule: SCHEDULE,
      run_missed: true,
      sources: [{ path: site.at("source") }],
    };
    const agent = site.startAgent(await site.agentConfig({ port: server.port, stateDir, backups: [entry] }), []);
    await agent.printed(/"event":"run.committed"/);
    // It gives back what the backup took within seconds.
    const memory = (): number => agent.memoryBytes("VmRSS");
    await lookUntil(
      () => memory() < 70 * MiB,
      () => `less than 70 MiB: ${memory()} bytes`,
      30_000,
    );
    const before = processorSeconds(agent.pid);
    await passed(IDLE_SECONDS);
    const usedSeconds = processorSeconds(agent.pid) - before;
    expect(agent.memoryBytes("VmRSS")).toBeLessThan(70 * MiB);
    // A short time is measured in few ticks.
    expect(usedSeconds).toBeLessThanOrEqual(Math.max(6 * CLOCK_TICK_SECONDS, IDLE_SECONDS * 0.001));
    await agent.stop();
  },
  TEST_MS + IDLE_SECONDS * 1000,
);

function passed(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

/** User and system time of the process and all its threads. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_SECONDS;
}
