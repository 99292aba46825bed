/** What one page that follows the live stream costs the server: backups with and without one, in turns. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { PageSite } from "#test/support/page-site.ts";
import { STORAGE } from "#test/support/site.ts";
import { cpuOfRunning } from "./measure.ts";
import { pairedRatio, summarize } from "./statistics.ts";

const SOURCE_MIB = 600;
const BANDWIDTH = "60mb";
const STREAMS = 4;

/** Follows the session that runs, all of it, until it is stopped; returns how much came. */
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

/** Processor seconds of the server for one backup. */
async function backUp(site: PageSite, followed: boolean): Promise<number> {
  const before = cpuOfRunning(site.server.pid);
  const agent = await site.begin(site.slowEntry("large", { parallels: STREAMS, bandwidth_limit: BANDWIDTH }));
  const stop = new AbortController();
  let following: Promise<number> | undefined;
  if (followed) {
    const response = await fetch(`${site.url}/api/v1/sessions`);
    const { running } = (await response.json()) as { readonly running: readonly { readonly session: string }[] };
    following = follow(`${site.url}/api/v1/stream?session=${running[0]?.session ?? ""}`, stop.signal);
  }
  const { exitCode } = await agent.end();
  const spent = cpuOfRunning(site.server.pid) - before;
  stop.abort();
  const bytes = await following;
  if (exitCode !== 0 || bytes === 0) throw new Error(`a backup ended with ${exitCode}, ${bytes} bytes of stream`);
  return spent;
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
      const order = run % 2 === 0 ? [true, false] : [false, true];
      for (const withStream of order) (withStream ? followed : alone).push(await backUp(site, withStream));
    }
    const ratio = pairedRatio(followed, alone);
    const percent = (value: number): string => `${((value - 1) * 100).toFixed(1)} %`;
    const seconds = (values: readonly number[]): string => summarize(values).median.toFixed(2);
    return [
      "| pairs | CPU s alone | CPU s followed | more, median of pairs | min-max |",
      "| --- | --- | --- | --- | --- |",
      `| ${runs} | ${seconds(alone)} | ${seconds(followed)} | ${percent(ratio.median)} | ${percent(ratio.min)} to ${percent(ratio.max)} |`,
    ];
  } finally {
    await site.remove();
  }
}
