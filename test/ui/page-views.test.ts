import { describe, expect, test } from "bun:test";
import { axe } from "#test/support/axe.ts";
import { NARROW, type OpenedPage, WIDE } from "#test/support/chromium.ts";
import { archiveName, HOSTILE, uuid } from "#test/support/page-fixtures.ts";
import { FULL, NOTHING } from "#test/support/page-server.ts";
import { PageTests } from "#test/support/page-tests.ts";
import { settled } from "#test/support/page-site.ts";

const tests = PageTests.begin();
/** One page for all views of a kind: what differs is what is asked for. */
let wide: OpenedPage | undefined;
let narrow: OpenedPage | undefined;

const ARCHIVE = archiveName(Date.UTC(2026, 1, 12, 2));

const VIEWS: readonly (readonly [name: string, path: string])[] = [
  ["overview", "/"],
  ["sessions", "/sessions"],
  ["a running session", `/sessions/${uuid(1)}`],
  ["a failed session", `/sessions/${uuid(1003)}`],
  ["archives", "/archives"],
  ["a backup's archives", "/archives/main/web-01/etc"],
  ["an archive's contents", `/archives/main/web-01/etc/${ARCHIVE}`],
  ["files found", "/archives/main/web-01/etc/find?pattern=**/x"],
  ["agents", "/agents"],
  ["an agent of a hostile name", `/agents/${encodeURIComponent(HOSTILE)}`],
  ["storages", "/storages"],
  ["events", "/events"],
  ["configuration", "/config"],
  ["an unknown page", "/sessions/a/b"],
];

async function judge(opened: OpenedPage, path: string): Promise<void> {
  const { page } = opened;
  await page.goto(`${tests.server.url}${path}`);
  await settled(opened);
  tests.server.tick(1);
  expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
  expect(await page.locator("#app img").count()).toBe(0);
  expect(await page.title()).toMatch(/ · nbackup$/);
  expect(await axe(page)).toEqual([]);
  expect(opened.complaints.splice(0)).toEqual([]);
}

describe("every view", () => {
  for (const [name, path] of VIEWS) {
    test(`${name}: wide, light, in English; no script of a name runs, and axe finds nothing serious`, async () => {
      tests.server.world = FULL;
      wide ??= await tests.browser.open(WIDE);
      await judge(wide, path);
      expect(await wide.page.evaluate("document.documentElement.lang")).toBe("en");
    });
    test(`${name}: 360 px wide, dark, in Portuguese; nothing is wider than the screen`, async () => {
      tests.server.world = FULL;
      narrow ??= await tests.browser.open(NARROW);
      await judge(narrow, path);
      expect(
        await narrow.page.evaluate("document.documentElement.lang + getComputedStyle(document.body).backgroundColor"),
      ).toBe("pt-BRrgb(14, 18, 23)");
    });
  }
  test("runs under its content security policy, which knows no inline script and one style sheet", async () => {
    const opened = await tests.blank();
    for (const path of ["/", `/sessions/${uuid(1)}`, "/storages"]) {
      const response = await opened.page.goto(`${tests.server.url}${path}`);
      expect(response?.headers()["content-security-policy"]).toMatch(
        /script-src 'self'; style-src 'sha256-[\w+/]{43}=';/,
      );
      await settled(opened);
    }
    expect(opened.complaints).toEqual([]);
  });
});

describe("a server without anything", () => {
  for (const [name, path] of VIEWS.filter(([, at]) =>
    ["/", "/sessions", "/archives", "/agents", "/events"].includes(at),
  )) {
    test(`shows on ${name} what will be there`, async () => {
      const opened = await tests.open(path, { world: NOTHING });
      await opened.page.locator(".empty").first().waitFor();
      expect(await opened.page.locator(".failed").count()).toBe(0);
      if (path === "/") expect(await opened.page.locator("h1").textContent()).toBe("No backups yet");
    });
  }
});

describe("an answer that does not come", () => {
  test("is waited for with a sign of it", async () => {
    const opened = await tests.open("/agents", { world: { ...FULL, silent: ["/api/v1/agents"] } });
    await opened.page.getByRole("status").filter({ hasText: "Loading" }).waitFor({ state: "attached" });
  });
  test("or is an error is said with code and hint, and asked again when wanted", async () => {
    const opened = await tests.open("/storages", { world: { ...FULL, failing: ["/api/v1/storages"] } });
    const alert = opened.page.getByRole("alert");
    await alert.waitFor();
    expect(await alert.textContent()).toContain("E_STORAGE_FAILED the disk does not answer");
    expect(await alert.textContent()).toContain("Look at the disk.");
    tests.server.world = FULL;
    await opened.page.getByRole("button", { name: "Try again" }).click();
    await opened.page.getByRole("heading", { name: "main" }).waitFor();
  });
});
