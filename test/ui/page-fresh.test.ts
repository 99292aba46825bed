import { describe, expect, test } from "bun:test";
import type { Page } from "playwright-core";
import { apiEnd } from "#test/support/page-fixtures.ts";
import { FULL, type PageWorld } from "#test/support/page-server.ts";
import { LIVE, PageTests } from "#test/support/page-tests.ts";

const tests = PageTests.begin();

describe("what is shown", () => {
  test("of the overview is asked anew when a session ends and when anything changes", async () => {
    const { page } = await tests.openLive("/");
    await page.locator(".tbody .tr").first().waitFor();
    for (const message of [
      { type: "ended", data: apiEnd(0, tests.server.nowWallMs) } as const,
      { type: "changed", data: { routes: ["storages"] } } as const,
    ]) {
      tests.server.requests.length = 0;
      tests.server.push(message);
      await tests.server.asked("/api/v1/overview");
      // Not only because the line fell silent and was given up.
      expect(tests.server.requests).toEqual(["/api/v1/overview"]);
    }
  });
  test("is said to be from before when the server cannot answer anew, and stays", async () => {
    const { page } = await tests.openLive("/storages");
    await page.getByRole("heading", { name: "main" }).waitFor();
    tests.server.world = { ...FULL, failing: ["/api/v1/storages"] };
    tests.server.push({ type: "changed", data: { routes: ["storages"] } });
    await page.locator(".stale").filter({ hasText: "E_STORAGE_FAILED" }).waitFor();
    expect(await page.getByRole("heading", { name: "main" }).count()).toBe(1);
    tests.server.world = FULL;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator(".stale").waitFor({ state: "detached" });
  });
});

/** What a page has asked for until it was live and had nothing more to ask. */
async function askedUntilLive(world: Partial<PageWorld>): Promise<{ readonly asked: string[]; readonly page: Page }> {
  tests.server.requests.length = 0;
  const { page } = await tests.openLive("/", { world: { ...FULL, ...world } });
  await page.locator(".answer h1").waitFor();
  await page.waitForLoadState("networkidle");
  return { asked: tests.server.requests.filter((path) => path.startsWith("/api/")), page };
}

describe("what came with the page", () => {
  test("is not asked for", async () => {
    expect((await askedUntilLive({})).asked).toEqual(["/api/v1/stream"]);
  });
  test("is asked for again when something has happened until the live stream began", async () => {
    const { asked } = await askedUntilLive({ first: "stale" });
    expect(asked.toSorted()).toEqual(["/api/v1/overview", "/api/v1/stream"]);
  });
  test("is asked for where nothing came", async () => {
    const { asked } = await askedUntilLive({ first: "none" });
    expect(asked.toSorted()).toEqual(["/api/v1/access", "/api/v1/overview", "/api/v1/stream"]);
  });
  test("does not ask for a password whom a link on another site has brought, without the login's cookie", async () => {
    const { page } = await tests.open("/", { world: { ...FULL, password: "right" } });
    await page.locator("input[type=password]").fill("right");
    await page.keyboard.press("Enter");
    await page.locator(".answer h1").waitFor();
    tests.server.comesFromElsewhere();
    await page.goto(`${tests.server.url}/`);
    await page.locator(".answer h1").waitFor();
    expect(await page.locator("input[type=password]").count()).toBe(0);
  });
});

describe("a clock that is wrong", () => {
  test("of the viewer counts no age: the server's does, also before its stream speaks", async () => {
    const { page } = await tests.blank({ world: { ...FULL, silent: ["/api/v1/stream"] } });
    await page.addInitScript("{ const now = Date.now; Date.now = () => now() + 5 * 86_400_000; }");
    await page.goto(`${tests.server.url}/archives`);
    await page.locator(".title").filter({ hasText: "1 h ago" }).waitFor();
  });
});

describe("a stream that does not begin", () => {
  test("while all else is answered is told apart from a server that is silent", async () => {
    const { page } = await tests.open("/storages", { world: { ...FULL, failing: ["/api/v1/stream"] } });
    await page.getByRole("heading", { name: "main" }).waitFor();
    await page.getByRole("alert").filter({ hasText: "gives no live stream" }).waitFor();
    tests.server.world = FULL;
    await page.locator(LIVE).waitFor();
    await page.locator(".banner").waitFor({ state: "detached" });
  });
});

describe("files found", () => {
  test("come page by page when more are wanted; a page that does not come leaves those that did", async () => {
    const { page } = await tests.openLive("/archives/main/web-01/etc/find?pattern=many");
    const files = page.locator(".found > li");
    await files.nth(2).waitFor();
    const before = await files.allTextContents();
    tests.server.world = { ...FULL, failing: ["/api/v1/archives/find"] };
    await page.getByRole("button", { name: "Show more files" }).click();
    await page.getByRole("alert").filter({ hasText: "E_STORAGE_FAILED" }).waitFor();
    expect(await files.allTextContents()).toEqual(before);
    tests.server.world = FULL;
    await page.getByRole("button", { name: "Try again" }).click();
    await files.nth(4).waitFor();
    expect((await files.allTextContents()).slice(0, 3)).toEqual(before);
    expect(await page.getByRole("button", { name: "Show more files" }).count()).toBe(0);
    await page.getByLabel("Name or pattern").fill("few");
    await page.getByLabel("Name or pattern").press("Enter");
    await page.getByRole("heading", { name: "3 files" }).waitFor();
    expect(await files.count()).toBe(3);
  });
});

describe("a way down an archive", () => {
  test("is shown with every directory above as a link", async () => {
    const { page } = await tests.blank();
    const key = Buffer.from("etc/nginx/conf.d").toString("base64url");
    await page.goto(`${tests.server.url}/archives/main/web-01/etc/2026-02-12T02-00-00-123Z.tar.gz?key=${key}`);
    const way = page.getByRole("navigation", { name: "Directory" });
    await way.waitFor();
    expect(await way.textContent()).toMatch(/^\/\s*etc\/\s*nginx\/\s*conf\.d\s*Back$/);
    await way.getByRole("link", { name: "nginx" }).click();
    await page.waitForURL(`**?key=${Buffer.from("etc/nginx").toString("base64url")}`);
  });
});
