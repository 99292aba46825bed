/** What one page that follows the live stream costs the server: stretches of the same backup with and without one, in turns. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { PageSite } from "#test/support/page-site.ts";
import { STORAGE } from "#test/support/site.ts";
import { cpuNanosecondsOfThreads } from "./measure.ts";
import { pairedRatio, summarize } from "./statistics.ts";

const SOURCE_MIB = 700;
/** Constant, so that each stretch has the same work: the source lasts for 12 s. */
const BANDWIDTH = "60mb";
const STREAMS = 4;
const STRETCH_MS = 2_000;
const SETTLE_MS = 250;
/** Before the first: what is new to the server is compiled. */
const LEAD_MS = 1_000;

/** Follows until it is stopped; returns how much came. */
async function follow(url: string, signal: AbortSignal): Promise<number> {
  let bytes = 0;
  try {
    const response = await fetch(url, { signal });
    for await (const part of response.body as AsyncIterable<Uint8Array>) bytes += part.length;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return bytes;
}

/** Milliseconds on a processor that the server spends in one stretch; with `url` one client follows it, which has come before. */
async function stretch(site: PageSite, url: string | undefined): Promise<number> {
  const stop = new AbortController();
  const following = url === undefined ? undefined : follow(url, stop.signal);
  await Bun.sleep(SETTLE_MS);
  const before = cpuNanosecondsOfThreads(site.server.pid);
  await Bun.sleep(STRETCH_MS);
  const spent = cpuNanosecondsOfThreads(site.server.pid) - before;
  stop.abort();
  if ((await following) === 0) throw new Error("nothing came of the stream");
  return spent / 1e6;
}

/** Two stretches of each kind in one backup, so that what the machine does meanwhile touches both alike. */
async function backUp(site: PageSite, followedFirst: boolean): Promise<{ alone: number; followed: number }> {
  const agent = await site.begin(site.slowEntry("large", { parallels: STREAMS, bandwidth_limit: BANDWIDTH }));
  const response = await fetch(`${site.url}/api/v1/sessions`);
  const { running } = (await response.json()) as { readonly running: readonly { readonly session: string }[] };
  const url = `${site.url}/api/v1/stream?session=${running[0]?.session ?? ""}`;
  await Bun.sleep(LEAD_MS);
  const sum = { alone: 0, followed: 0 };
  for (const isFollowed of [followedFirst, !followedFirst, !followedFirst, followedFirst]) {
    sum[isFollowed ? "followed" : "alone"] += await stretch(site, isFollowed ? url : undefined);
  }
  const { exitCode } = await agent.end();
  if (exitCode !== 0) throw new Error(`a backup ended with ${exitCode}`);
  return sum;
}

export async function measureStream({ runs }: { readonly runs: number }): Promise<readonly string[]> {
  const site = await PageSite.make();
  try {
    await site.start({ storages: { [STORAGE]: { max_backups: 1 } } });
    for (let part = 0; part < SOURCE_MIB / 50; part += 1) {
      writeFileSync(site.site.at(`slow/more-${part}`), randomBytes(50 * MiB));
    }
    await backUp(site, false);
    const [alone, followed]: [number[], number[]] = [[], []];
    for (let run = 0; run < runs; run += 1) {
      const spent = await backUp(site, run % 2 === 0);
      alone.push(spent.alone);
      followed.push(spent.followed);
    }
    const ratio = pairedRatio(followed, alone);
    const percent = (value: number): string => `${((value - 1) * 100).toFixed(1)} %`;
    const perSecond = (values: readonly number[]): string =>
      (summarize(values).median / ((2 * STRETCH_MS) / 1000)).toFixed(1);
    return [
      "| backups | CPU ms a second alone | followed | more, median of pairs | min-max |",
      "| --- | --- | --- | --- | --- |",
      `| ${runs} | ${perSecond(alone)} | ${perSecond(followed)} | ${percent(ratio.median)} | ${percent(ratio.min)} to ${percent(ratio.max)} |`,
    ];
  } finally {
    await site.remove();
  }
}
