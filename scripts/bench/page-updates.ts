/** What a page that is open costs its browser: each view while a session of 255 streams runs, a screen further down every quarter of a second. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import type { OpenedPage } from "#test/support/chromium.ts";
import { settled } from "#test/support/page-site.ts";
import { pageCost, quantile } from "./page-trace.ts";
import { AGENTS, largeSite, ROWS } from "./page-world.ts";

const SLOTS = 255;
const SOURCE_MIB = 300;
/** The source lasts for a quarter of an hour: longer than this looks. */
const BANDWIDTH = "384kb";
const WHEEL_PX = 700;
const WHEEL_EVERY_MS = 250;

async function scroll({ page }: OpenedPage, ms: number): Promise<void> {
  await page.mouse.move(600, 500);
  for (let spent = 0; spent < ms; spent += WHEEL_EVERY_MS) {
    await page.mouse.wheel(0, WHEEL_PX);
    await page.waitForTimeout(WHEEL_EVERY_MS);
  }
}

const n = (value: number): string => value.toFixed(1);

/** While it is scrolled the script is mostly that of scrolling: none of an update's. */
function row(name: string, trace: string, isScrolled: boolean): string {
  const { tasks, taskCpu, script, scriptCpu } = pageCost(trace);
  const over = tasks.filter((ms) => ms > 50).length;
  const ofTasks = [n(quantile(tasks, 0.99)), n(tasks.at(-1) ?? 0), n(taskCpu.at(-1) ?? 0), String(over)];
  const ofScript = [quantile(script, 0.5), script.at(-1) ?? 0, quantile(scriptCpu, 0.5), scriptCpu.at(-1) ?? 0];
  const updates = isScrolled ? ["", "", "", "", ""] : [String(script.length), ...ofScript.map(n)];
  return `| ${[name, String(tasks.length), ...ofTasks, ...updates].join(" | ")} |`;
}

export async function measureUpdates({ seconds }: { readonly seconds: number }): Promise<readonly string[]> {
  const site = await largeSite();
  try {
    for (let part = 0; part < SOURCE_MIB / 50; part += 1) {
      writeFileSync(site.site.at(`slow/more-${part}`), randomBytes(50 * MiB));
    }
    await site.begin(site.slowEntry("large", { parallels: SLOTS, bandwidth_limit: BANDWIDTH }));
    const response = await fetch(`${site.url}/api/v1/sessions`);
    const { running } = (await response.json()) as { readonly running: readonly { readonly session: string }[] };
    const views: readonly (readonly [name: string, path: string])[] = [
      [`overview, ${AGENTS} agents`, "/?state=ok"],
      [`agents, ${AGENTS}`, "/agents"],
      [`history, ${ROWS} rows`, "/sessions"],
      [`a session, ${SLOTS} streams`, `/sessions/${running[0]?.session ?? ""}`],
      [`events, ${ROWS}`, "/events"],
    ];
    const rows: string[] = [];
    const opened = await site.browser.open();
    for (const [name, path] of views) {
      await opened.page.goto(`${site.url}${path}`);
      await settled(opened);
      await opened.page.waitForTimeout(1_000);
      const { page } = opened;
      const watched = await site.browser.traced(page, () => page.waitForTimeout(seconds * 1000));
      const scrolled = await site.browser.traced(page, () => scroll(opened, seconds * 500));
      rows.push(row(name, watched, false), row(`${name}, scrolled`, scrolled, true));
    }
    return [
      "| view | tasks | p99, ms | longest | longest, own | over 50 ms | updates | script, ms | most | own | own, most |",
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
      ...rows,
    ];
  } finally {
    await site.remove();
  }
}
