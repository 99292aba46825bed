/**
 * An agent that is killed at any moment of a backup: its session is parked, its next run begins anew and is committed without
 * waiting for anybody, and when there is no next run the session expires and leaves nothing. A session whose Finish came is
 * committed without its agent. NBACKUP_SEED draws the printed moments again.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { freePort } from "#scripts/lib/background.ts";
import { randomBytes } from "#test/support/gigabyte.ts";
import { checkSum, compareWithSource } from "#test/support/gnu-tar.ts";
import { type Moment, Restarts } from "#test/support/restarts.ts";
import {
  AGENT,
  agentEnd,
  archivesIn,
  leftoversIn,
  type OnceJson,
  QUICK_RETRY,
  Site,
  STORAGE,
} from "#test/support/site.ts";
import { seededRandom } from "#test/support/store-kit.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);
const SOURCE_BYTES = 64 * MiB;
const IDLE_MS = 3000;
const SEED = Number(process.env["NBACKUP_SEED"] ?? Date.now() % 1_000_000);

let site: Site;
/** For its moments; this server is not restarted. */
let server: Restarts;
let undisturbed: OnceJson;
let port: number;

const archives = (): string[] => archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"));

async function start(parallels: number): Promise<WatchedProcess> {
  const backups = [{ name: "all", storage: STORAGE, sources: [{ path: site.at("source") }], parallels }];
  // Some seconds, whatever the machine: the moments lie between them.
  const limited = backups.map((backup) => ({ ...backup, bandwidth_limit: "24mb" }));
  return site.startAgent(await site.agentConfig({ port, backups: limited, retry: QUICK_RETRY }), ["--once", "--json"]);
}

async function runToTheEnd(parallels: number): Promise<OnceJson> {
  const end = agentEnd(await (await start(parallels)).end(TIMEOUT_MS));
  const [report] = end.reports;
  if (end.exitCode !== 0 || report === undefined) throw new Error(`ended with ${end.exitCode}: ${end.stderr}`);
  return report;
}

async function expectTheSame(report: OnceJson): Promise<void> {
  expect(report).toMatchObject({ result: "committed", sha256: undisturbed.sha256, resentBytes: 0 });
  const archive = path.join(site.storage(), report.archive ?? "");
  await checkSum(archive);
  await compareWithSource(archive);
}

/** A run that is killed when the moment has come. */
async function killed(parallels: number, moment: Moment): Promise<void> {
  const agent = await start(parallels);
  expect(await server.reached(moment, undisturbed.archiveBytes, agent)).toBeTrue();
  agent.kill("SIGKILL");
  await agent.end();
}

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  for (let file = 0; file < 4; file += 1) writeFileSync(site.at(`source/${file}`), randomBytes(SOURCE_BYTES / 4));
}, TIMEOUT_MS);
beforeEach(async () => {
  port = freePort();
  const settings = { port, server: { session_idle_timeout: `${IDLE_MS}ms` } };
  server = new Restarts({ site, settings, storage: site.storage(), entry: path.join(AGENT, "all") });
  await server.start();
  undisturbed ??= await runToTheEnd(4);
});
afterEach(async () => {
  await server.server.stop();
});
afterAll(async () => {
  await site.remove();
});

const DRAWN = [0, 4].flatMap((parallels, index) => {
  const random = seededRandom(SEED + index);
  return Array.from({ length: 2 }, () => ({ parallels, share: 0.02 + 0.9 * random.unit(), seed: SEED }));
});

describe("an agent killed in the middle", () => {
  test.each(DRAWN)(
    "gives way to its next run, which is committed: parallels $parallels, at share $share, seed $seed",
    async ({ parallels, share }) => {
      await killed(parallels, { at: "progress", share });
      const before = archives().length;
      await expectTheSame(await runToTheEnd(parallels));
      expect(archives()).toHaveLength(before + 1);
      const ended = server.server.events("session.ended");
      expect(ended.map((line) => line["code"])).toEqual(["E_SUPERSEDED"]);
      expect(server.server.output).not.toMatch(/E_BUSY/);
      expect(leftoversIn(site.storage())).toEqual([]);
    },
  );

  test.each([0, 4])("leaves a session that expires, and then nothing, parallels %i", async (parallels) => {
    const before = archives();
    await killed(parallels, { at: "progress", share: 0.5 });
    await server.server.event("session.parked");
    const parkedAtMs = performance.now();
    expect(leftoversIn(site.storage())).not.toEqual([]);
    await server.server.printed(/"code":"E_SESSION_EXPIRED"/);
    expect(performance.now() - parkedAtMs).toBeGreaterThan(0.8 * IDLE_MS);
    expect(leftoversIn(site.storage())).toEqual([]);
    expect(archives()).toEqual(before);
    await expectTheSame(await runToTheEnd(parallels));
  });
});

describe("an agent killed while its session is being committed", () => {
  test.each([
    { parallels: 0, moment: { at: "commit" } },
    { parallels: 4, moment: { at: "name" } },
  ] as const)("has an archive all the same, parallels $parallels, moment $moment.at", async ({ parallels, moment }) => {
    const before = archives().length;
    await killed(parallels, moment);
    await server.server.event("session.committed");
    expect(archives()).toHaveLength(before + 1);
    await checkSum(path.join(site.storage(), archives().at(-1) ?? ""));
    await expectTheSame(await runToTheEnd(parallels));
    expect(archives()).toHaveLength(before + 2);
    expect(leftoversIn(site.storage())).toEqual([]);
  });
});
