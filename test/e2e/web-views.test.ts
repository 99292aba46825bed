/** Every view of the compiled server's page in Chromium, during a real backup and after failed ones: languages, themes, widths, reload. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { axe } from "#test/support/axe.ts";
import { NARROW, type OpenedPage, WIDE } from "#test/support/chromium.ts";
import { PageClient } from "#test/support/page-client.ts";
import { HOSTILE_DIRECTORY, HOSTILE_FILE, PageSite, PASSWORD, settled } from "#test/support/page-site.ts";
import { STORAGE } from "#test/support/site.ts";
import type { ArchivesAnswer } from "#web/api-archives.ts";
import type { HistoryAnswer, SessionsAnswer } from "#web/api-types.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);

const PLACE = `/archives/${STORAGE}/web-1/all`;

let site: PageSite;
let english: OpenedPage;
let portuguese: OpenedPage;
/** Of what came to be before the first test. */
const ids = { running: "", failed: "", committed: "", archive: "" };

/** web-1 has two archives, a refused entry, one whose source is doubted, and one that runs; db-1 has a daemon, and waits in line. */
beforeAll(async () => {
  site = await PageSite.make(["web-1", "db-1"]);
  await site.start({
    server: { max_sessions: 1 },
    storages: { [STORAGE]: {}, closed: { allow_agents: ["nobody"] } },
    webUi: { ...(await site.password()), allow_download: true },
  });
  for (let run = 0; run < 2; run += 1) await site.backUp(site.entry("all"));
  await site.backUp(site.entry("refused", { storage: "closed" }));
  await site.doubtedBackUp();
  const aborted = await site.begin(site.slowEntry("aborted"));
  const api = new PageClient(site.pagePort);
  await api.login(PASSWORD);
  const runningNow = async (): Promise<string> =>
    (await api.json<SessionsAnswer>("/api/v1/sessions")).running[0]?.session ?? "";
  ids.failed = await runningNow();
  await site.command("abort", ids.failed);
  await aborted.end();
  await site.begin(site.slowEntry("slow", { parallels: 3 }));
  ids.running = await runningNow();
  const daemon = await site.site.agentConfig({
    ...{ port: site.server.port, name: "db-1", stateDir: site.site.at("db-state") },
    backups: [site.entry("nightly", { schedule: "0 2 * * *" })],
  });
  await site.site.startAgent(daemon, []).printed(/the control channel is up/);
  await site.command("run", "db-1", "nightly");
  const history = await api.json<HistoryAnswer>("/api/v1/sessions/history?backup=all");
  ids.committed = history.rows[0]?.session ?? "";
  ids.archive = (await api.json<ArchivesAnswer>("/api/v1/archives?backup=all")).rows[0]?.name ?? "";
  const door = await site.browser.open(WIDE);
  await door.page.goto(site.url);
  await door.page.getByLabel("Password").fill(PASSWORD);
  await door.page.getByLabel("Password").press("Enter");
  await settled(door);
  const storageState = await door.page.context().storageState();
  await door.close();
  english = await site.browser.open({ ...WIDE, storageState });
  portuguese = await site.browser.open({ ...NARROW, storageState });
}, TIMEOUT_MS);

afterAll(async () => {
  await site.remove();
});

afterEach(() => {
  for (const { complaints, errors } of [english, portuguese]) expect([...complaints, ...errors]).toEqual([]);
});

/** A view, and what a person must find on it in English. */
const VIEWS: readonly (readonly [name: string, path: () => string, shows: RegExp])[] = [
  ["overview", () => "/", /2 failing, 2 have not run yet.*web-1 \/ refused.*Refused.*web-1 \/ all/s],
  ["sessions", () => "/sessions", /1 running session.*1 waiting.*db-1.*nightly.*Aborted/s],
  ["a running session", () => `/sessions/${ids.running}`, /Receiving.*time left.*Streams/s],
  ["a failed session", () => `/sessions/${ids.failed}`, /Aborted.*E_ABORTED.*What happened before it failed/s],
  ["a committed session", () => `/sessions/${ids.committed}`, /Committed.*SHA-256/s],
  ["archives", () => "/archives", /web-1 \/ all/],
  ["a backup's archives", () => PLACE, /Size over time/],
  ["an archive's contents", () => `${PLACE}/${ids.archive}`, /SHA-256.*Contents/s],
  ["files found", () => `${PLACE}/find?pattern=**/nginx.conf`, /1 file.*in 2 archives/s],
  ["agents", () => "/agents", /db-1.*web-1/s],
  ["a connected agent", () => "/agents/db-1", /connected.*nightly/s],
  ["storages", () => "/storages", /main.*storage\/closed/s],
  ["events", () => "/events", /session\.committed/],
  ["events, filtered", () => "/events?level=warn&kind=session.", /Aborted|aborted/],
  ["configuration", () => "/config", /web_ui.*allow_download\s*true/s],
  ["a page that is not there", () => "/archives/a/b", /No such page/],
];

async function fits({ page }: OpenedPage): Promise<boolean> {
  return await page.evaluate("document.documentElement.scrollWidth <= innerWidth");
}

/** As it was opened, judged by axe as well; then with the other width and theme. Returns what there was to read. */
async function judge(opened: OpenedPage, path: string): Promise<string | null> {
  const { page } = opened;
  const isWide = opened === english;
  await page.setViewportSize((isWide ? WIDE : NARROW).viewport);
  await page.emulateMedia({ colorScheme: isWide ? "light" : "dark" });
  await page.goto(`${site.url}${path}`);
  await settled(opened);
  expect({ fits: await fits(opened), axe: await axe(page) }).toEqual({ fits: true, axe: [] });
  expect(await page.locator("#app img, #app svg[onload]").count()).toBe(0);
  const text = await page.locator("main").textContent();
  await page.setViewportSize((isWide ? NARROW : WIDE).viewport);
  await page.emulateMedia({ colorScheme: isWide ? "dark" : "light" });
  await page.locator(`html[data-theme=${isWide ? "dark" : "light"}]`).waitFor({ state: "attached" });
  expect(await fits(opened)).toBe(true);
  return text;
}

describe("every view, with what a real server has", () => {
  for (const [name, path, shows] of VIEWS) {
    test(`${name}: both languages and themes, wide and 360 px; axe finds nothing serious; a reload leads to the same`, async () => {
      expect(await judge(english, path())).toMatch(shows);
      const { page } = english;
      expect(await page.title()).toMatch(/ · nbackup$/);
      const heading = await page.locator("main h1").first().textContent();
      await page.reload();
      await settled(english);
      expect(await page.locator("main h1").first().textContent()).toBe(heading);
      expect(new URL(page.url()).pathname + new URL(page.url()).search).toBe(path());
      await judge(portuguese, path());
      expect(await portuguese.page.evaluate("document.documentElement.lang")).toBe("pt-BR");
    });
  }
});

describe("names that would run as HTML", () => {
  test("are text in an archive's tree, in the events and in the log of their session", async () => {
    const { page } = english;
    await page.setViewportSize(WIDE.viewport);
    await page.goto(`${site.url}/events?kind=rotation.held`);
    await settled(english);
    expect(await page.locator(".tbody .tr").textContent()).toContain(HOSTILE_DIRECTORY);
    await page.locator(".tbody .tr a[href^='/sessions/']").click();
    await page.locator(".log").filter({ hasText: HOSTILE_DIRECTORY }).waitFor();
    await page.goto(`${site.url}${PLACE}/${ids.archive}`);
    for (const name of site.site.at("source").split("/").slice(1)) {
      await page.getByRole("link", { name, exact: true }).click();
      await page
        .locator(".path")
        .filter({ hasText: new RegExp(`${name}\\s*Back$`) })
        .waitFor();
    }
    await page.locator(".tbody .tr").filter({ hasText: HOSTILE_FILE }).waitFor();
    expect(await page.title()).toBe("web-1 / all · nbackup");
    expect(await page.locator("#app img, #app svg[onload]").count()).toBe(0);
  });
});
