/** The compiled server's page by keyboard alone, and what a person takes away from it: events as a file. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type OpenedPage, WIDE } from "#test/support/chromium.ts";
import { HOSTILE_DIRECTORY, PageSite, settled } from "#test/support/page-site.ts";
import type { ApiEvent } from "#web/api-types.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);

let site: PageSite;
let opened: OpenedPage;

beforeAll(async () => {
  site = await PageSite.make();
  await site.start();
  await site.backUp(site.entry("all"));
  await site.doubtedBackUp();
}, TIMEOUT_MS);

beforeEach(async () => {
  opened = await site.browser.open(WIDE);
});

afterEach(async () => {
  expect([...opened.complaints, ...opened.errors]).toEqual([]);
  await opened.close();
});

afterAll(async () => {
  await site.remove();
});

/** What has the focus: its name, as a screen reader would begin. */
async function focused(): Promise<string> {
  return await opened.page.evaluate(
    "(document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? '').trim()",
  );
}

/** Presses Tab until that has the focus, and says what had it on the way. */
async function tabTo(name: RegExp, mostTabs = 60): Promise<readonly string[]> {
  const seen: string[] = [];
  for (let tabs = 0; tabs < mostTabs; tabs += 1) {
    await opened.page.keyboard.press("Tab");
    seen.push(await focused());
    if (name.test(seen.at(-1) ?? "")) return seen;
  }
  throw new Error(`${String(name)} never gets the focus: ${seen.join(" | ")}`);
}

describe("by keyboard", () => {
  test("the first stop leads past the navigation, then come the views in their order and the switches", async () => {
    const { page } = opened;
    await page.goto(site.url);
    await settled(opened);
    const order = await tabTo(/^Theme/);
    expect(order).toEqual([
      "Skip to the contents",
      "nbackup",
      ...["Overview", "Sessions", "Archives", "Agents", "Storages", "Events", "Configuration"],
      "Mudar para português",
      expect.stringMatching(/^Theme: system/),
    ]);
    await page.reload();
    await settled(opened);
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.querySelector('.skip').getBoundingClientRect().top >= 0")).toBe(true);
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.querySelector('main').contains(document.activeElement)")).toBe(true);
  });

  test("Enter opens a row, where the heading has the focus, and going back leads to the list again", async () => {
    const { page } = opened;
    await page.goto(`${site.url}/sessions`);
    await settled(opened);
    await tabTo(/^web-1 \/ all$/);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "web-1 / all", level: 1 }).waitFor();
    await page.locator("h1:focus").waitFor();
    expect(await focused()).toBe("web-1 / all");
    await page.goBack();
    await page.getByRole("heading", { name: "Sessions", exact: true }).waitFor();
  });

  test("every stop is seen to have the focus, and nothing holds it", async () => {
    const { page } = opened;
    await page.goto(`${site.url}/events`);
    await settled(opened);
    const stops = new Set<string>();
    for (let tabs = 0; tabs < 200; tabs += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate("document.activeElement === document.body")) break;
      const ring: string = await page.evaluate(
        "(({ outlineStyle, boxShadow }) => `${outlineStyle} ${boxShadow}`)(getComputedStyle(document.activeElement))",
      );
      stops.add(await focused());
      expect({ at: await focused(), isSeen: ring !== "none none" }).toEqual({ at: await focused(), isSeen: true });
    }
    expect(stops.size).toBeGreaterThan(12);
    expect(await page.evaluate("document.activeElement === document.body")).toBe(true);
  });

  test("Escape empties a filter, and the list is whole again", async () => {
    const { page } = opened;
    await page.goto(`${site.url}/events`);
    await settled(opened);
    const all = await page.locator(".tbody .tr").count();
    await page.getByLabel("Text").focus();
    await page.keyboard.type("rotation is held");
    await page.waitForURL("**/events?text=*");
    await page.locator(".tbody .tr").nth(1).waitFor({ state: "detached" });
    expect(await page.locator(".tbody .tr").textContent()).toContain("rotation is held");
    await page.keyboard.press("Escape");
    await page.waitForURL("**/events");
    await page
      .locator(".tbody .tr")
      .nth(all - 1)
      .waitFor();
  });
});

describe("events", () => {
  test("are saved as JSON with the filter that is shown, hostile names as they are", async () => {
    const { page } = opened;
    await page.goto(`${site.url}/events?level=warn`);
    await settled(opened);
    const taken = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export JSON" }).click();
    const download = await taken;
    expect(download.suggestedFilename()).toBe("nbackup-events.json");
    const events = JSON.parse(readFileSync(await download.path(), "utf8")) as readonly ApiEvent[];
    expect(events.map(({ kind, level }) => [kind, level])).toEqual([["rotation.held", "warn"]]);
    expect(events[0]?.message).toContain(HOSTILE_DIRECTORY);
  });
});
