/**
 * A server that dies in the middle: killed at any moment of a backup of 1 GB, or stopped as by an upgrade, and started again
 * on the same port and disk. The agent goes on where the disk is, and the archive is the one of an undisturbed run.
 *
 * Twelve kills, unless NBACKUP_KILLS says how many. Every run draws its moments anew from a seed that it prints; NBACKUP_SEED
 * draws them again.
 */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import path from "node:path";
import { must } from "#base/assert.ts";
import { MiB } from "#base/units.ts";
import { freePort } from "#scripts/lib/background.ts";
import { GIGABYTE, makeGigabyte } from "#test/support/gigabyte.ts";
import { checkSum, compareWithSource } from "#test/support/gnu-tar.ts";
import { ReadMeter } from "#test/support/read-meter.ts";
import { drawMoments, momentText, Restarts } from "#test/support/restarts.ts";
import { AGENT, type AgentEnd, agentEnd, leftoversIn, type OnceJson, Site } from "#test/support/site.ts";
import { seededRandom } from "#test/support/store-kit.ts";

/** Far more than it takes, also on a machine that does ten other things. */
const TIMEOUT_MS = 400_000;
setDefaultTimeout(TIMEOUT_MS);
const WINDOW_BYTES = 64 * MiB;
const KILLS_PER_BACKUP = 3;
/** By storage: compression and assembler. */
const STORAGES = {
  gzip: { compression_mode: "gzip" },
  zst: { compression_mode: "zst" },
  "gzip-lazy": { compression_mode: "gzip", assembler_mode: "lazy" },
  "zst-lazy": { compression_mode: "zst", assembler_mode: "lazy", chunk_shard_levels: 2, chunk_fsync: false },
} as const;
type StorageName = keyof typeof STORAGES;
interface Kind {
  readonly storage: StorageName;
  readonly parallels: number;
}

/** The first ones are tried every day; after eight all are. */
const KINDS: readonly Kind[] = [
  ...([
    ["gzip", 0],
    ["zst-lazy", 4],
    ["zst", 0],
    ["gzip-lazy", 4],
  ] as const),
  ...([
    ["zst", 4],
    ["gzip-lazy", 0],
    ["gzip", 4],
    ["zst-lazy", 0],
  ] as const),
].map(([storage, parallels]) => ({ storage, parallels }));
const KILLS = Number(process.env["NBACKUP_KILLS"] ?? 4 * KILLS_PER_BACKUP);
const SEED = Number(process.env["NBACKUP_SEED"] ?? Date.now() % 1_000_000);
const BACKUPS = Array.from({ length: Math.ceil(KILLS / KILLS_PER_BACKUP) }, (_, index) => ({
  seed: SEED + index,
  ...must(KINDS[index % KINDS.length], "a kind"),
}));

let site: Site;
let settings: { port: number; storages: typeof STORAGES; server: Record<string, unknown> };
/** By compression: how it is assembled does not show. */
const undisturbed = new Map<string, OnceJson>();
let current: Restarts | undefined;

const backupsOf = ({ storage, parallels }: Kind): Record<string, unknown>[] => [
  { name: "gigabyte", storage, sources: [{ path: site.at("source") }], parallels },
];

const undisturbedOf = ({ storage }: Kind): OnceJson =>
  must(undisturbed.get(STORAGES[storage].compression_mode), "an undisturbed run");

beforeAll(async () => {
  site = await Site.make();
  makeGigabyte(site.at("source"));
  settings = {
    port: freePort(),
    storages: STORAGES,
    // Shorter than any of the backups takes: a server that is asked to end must not wait until it is done.
    server: { shutdown_timeout: "100ms" },
  };
  const server = await site.startServer(settings);
  for (const storage of ["gzip", "zst"] as const) {
    const end = await site.once({ port: settings.port, backups: backupsOf({ storage, parallels: 4 }) }, [], TIMEOUT_MS);
    const [report] = end.reports;
    if (report?.result !== "committed") throw new Error(end.stderr);
    undisturbed.set(storage, report);
  }
  await server.stop();
}, TIMEOUT_MS);
afterEach(async () => {
  // After a failure it still runs, and would be in the way of the next one.
  if (current?.servers.at(-1)?.running === true) current.server.kill("SIGKILL");
  await current?.servers.at(-1)?.end();
});
afterAll(async () => {
  await site.remove();
});

interface Disturbed {
  readonly end: AgentEnd;
  readonly report: OnceJson;
  readonly readBytes: number;
  readonly restarts: Restarts;
}

/** One backup, which `disturb` disturbs; the server runs on when it resolves. */
async function backUp(
  kind: Kind,
  disturb: (restarts: Restarts, agent: ReturnType<Site["startAgent"]>, archiveBytes: number) => Promise<void>,
): Promise<Disturbed> {
  const { storage } = kind;
  const options = { site, settings, storage: site.storage(storage), entry: path.join(AGENT, "gigabyte") };
  const restarts = new Restarts(options);
  current = restarts;
  await restarts.start();
  const config = await site.agentConfig({
    port: settings.port,
    backups: backupsOf(kind),
    resume: { buffer_size: `${WINDOW_BYTES / MiB}mb` },
  });
  const agent = site.startAgent(config, ["--once", "--json"]);
  const meter = new ReadMeter(agent);
  await disturb(restarts, agent, undisturbedOf(kind).archiveBytes);
  const end = agentEnd(await agent.end(TIMEOUT_MS));
  meter.stop();
  const [report] = end.reports;
  if (end.exitCode !== 0 || report === undefined) throw new Error(`ended with ${end.exitCode}: ${end.stderr}`);
  return { end, report, readBytes: meter.bytes, restarts };
}

/** Checks what must be true of every backup, and makes room for the next. */
async function expectUnharmed(kind: Kind, { report, readBytes, restarts }: Disturbed, ends: number): Promise<void> {
  expect(report.result).toBe("committed");
  expect(report.sha256).toBe(undisturbedOf(kind).sha256);
  // The same session all the time: it was not begun anew, and no source file was read twice.
  expect(restarts.admissions).toBe(1);
  expect(readBytes).toBeGreaterThanOrEqual(GIGABYTE);
  expect(readBytes).toBeLessThan(1.02 * GIGABYTE);
  expect(report.resentBytes).toBeLessThanOrEqual(ends * WINDOW_BYTES);
  const archive = path.join(site.storage(kind.storage), report.archive ?? "");
  await checkSum(archive);
  await compareWithSource(archive);
  expect(leftoversIn(site.storage(kind.storage))).toEqual([]);
  for (const server of restarts.servers) expect(server.output).not.toMatch(/"level":"error"/);
  rmSync(archive);
  await restarts.server.stop();
}

describe("a backup of 1 GB whose server is killed at random moments is committed, the same byte for byte, with nothing read twice,", () => {
  test.each(BACKUPS)("$storage with parallels $parallels, seed $seed", async (kind) => {
    const random = seededRandom(kind.seed);
    const moments = drawMoments(random, KILLS_PER_BACKUP, kind.storage.endsWith("lazy"));
    const twice = random.unit() < 0.3 ? Math.floor(300 * random.unit()) : undefined;
    let kills = 0;
    const disturbed = await backUp(kind, async (restarts, agent, archiveBytes) => {
      for (const moment of moments) {
        if (!(await restarts.reached(moment, archiveBytes, agent))) break;
        kills += 1;
        if (kills === 2 && twice !== undefined) await restarts.restartTwice(twice);
        else await restarts.restart("SIGKILL");
      }
    });
    const resentMiB = (disturbed.report.resentBytes / MiB).toFixed(1);
    const told = `${moments.map(momentText).join(", ")}${twice === undefined ? "" : `, twice within ${twice} ms`}`;
    console.log(`seed ${kind.seed} (${kind.storage}, parallels ${kind.parallels}): ${told}; resent ${resentMiB} MiB`);
    expect(kills).toBe(moments.length);
    await expectUnharmed(kind, disturbed, kills + 1);
  });
});

describe("a backup of 1 GB whose server is stopped and started again, as by an upgrade,", () => {
  test.each([
    { storage: "gzip-lazy", parallels: 4 },
    { storage: "zst", parallels: 0 },
  ] as const)("goes on in the same session, $storage with parallels $parallels", async (kind) => {
    const disturbed = await backUp(kind, async (restarts, agent, archiveBytes) => {
      for (const share of [0.25, 0.6]) {
        expect(await restarts.reached({ at: "progress", share }, archiveBytes, agent)).toBeTrue();
        await restarts.restart("SIGTERM");
      }
    });
    await expectUnharmed(kind, disturbed, 2);
  });
});
