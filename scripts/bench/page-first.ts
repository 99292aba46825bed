/** How soon the first view is there, and how many bytes it takes: a browser without anything in its cache, each time. */
import { PageSite } from "#test/support/page-site.ts";
import { AGENTS, largeSite } from "./page-world.ts";
import { summarize } from "./statistics.ts";

/** Told by the page itself: the frame after the one in which the answer stands in the document. */
const WATCH = `new MutationObserver((_, observer) => {
  if (document.querySelector(".answer h1") === null) return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.drawnMs = performance.now(); }));
}).observe(document, { childList: true, subtree: true })`;

const BYTES = `performance.getEntries().filter((entry) => entry.encodedBodySize > 0)
  .map((entry) => [entry.name.includes("/api/") ? "api" : "page", entry.encodedBodySize])`;

interface First {
  readonly drawnMs: number;
  /** Milliseconds that the page's main thread itself ran until then. */
  readonly ownMs: number;
  readonly pageBytes: number;
  readonly apiBytes: number;
}

async function once(site: PageSite): Promise<First> {
  const { page, close } = await site.browser.open();
  await page.addInitScript(WATCH);
  const profiler = await page.context().newCDPSession(page);
  await profiler.send("Performance.enable", { timeDomain: "threadTicks" });
  await page.goto(site.url);
  await page.locator("html[data-drawn-ms]").waitFor({ state: "attached" });
  const drawnMs = Number(await page.locator("html").getAttribute("data-drawn-ms"));
  const { metrics } = await profiler.send("Performance.getMetrics");
  const ownMs = 1000 * (metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN);
  const bytes: readonly (readonly [string, number])[] = await page.evaluate(BYTES);
  await close();
  const sum = (of: string): number => bytes.reduce((total, [kind, size]) => total + (kind === of ? size : 0), 0);
  return { drawnMs, ownMs, pageBytes: sum("page"), apiBytes: sum("api") };
}

async function measure(site: PageSite, runs: number): Promise<readonly First[]> {
  // The browser itself is started, and its own caches are warm.
  await once(site);
  const all: First[] = [];
  for (let run = 0; run < runs; run += 1) all.push(await once(site));
  return all;
}

function row(name: string, all: readonly First[]): string {
  const drawn = summarize(all.map(({ drawnMs }) => drawnMs));
  const own = summarize(all.map(({ ownMs }) => ownMs));
  const kb = (bytes: number): string => (bytes / 1000).toFixed(1);
  const { pageBytes, apiBytes } = all[0] ?? { pageBytes: 0, apiBytes: 0 };
  const range = `${drawn.min.toFixed(0)}-${drawn.max.toFixed(0)}`;
  return `| ${name} | ${drawn.median.toFixed(0)} | ${range} | ${own.median.toFixed(0)} | ${kb(pageBytes)} | ${kb(apiBytes)} |`;
}

/** One server at a time: what another one has to do would be in it. */
async function measured(name: string, make: () => Promise<PageSite>, runs: number): Promise<string> {
  const site = await make();
  try {
    return row(name, await measure(site, runs));
  } finally {
    await site.remove();
  }
}

async function smallSite(): Promise<PageSite> {
  const site = await PageSite.make();
  await site.start();
  await site.backUp(site.entry("all"));
  return site;
}

export async function measureFirstView({ runs }: { readonly runs: number }): Promise<readonly string[]> {
  return [
    "| server | drawn, ms | min-max | of it the page itself | page, kB | answers, kB |",
    "| --- | --- | --- | --- | --- | --- |",
    await measured("one backup", smallSite, runs),
    await measured(`${AGENTS} agents`, largeSite, runs),
  ];
}
