import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Chromium } from "#test/support/chromium.ts";
import { apiEnd } from "#test/support/page-fixtures.ts";
import { FULL, PageServer } from "#test/support/page-server.ts";

setDefaultTimeout(60_000);

const browser = new Chromium();
let server: PageServer;

beforeAll(async () => {
  server = await PageServer.start();
});

afterAll(async () => {
  await browser.close();
  await server.stop();
});

const LIVE = ".connection.live";

describe("what is shown", () => {
  test("of the overview is asked anew when a session ends and when anything changes", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/`);
    await page.locator(LIVE).waitFor();
    await page.locator(".tbody .tr").first().waitFor();
    for (const message of [
      { type: "ended", data: apiEnd(0, server.nowWallMs) } as const,
      { type: "changed", data: { routes: ["storages"] } } as const,
    ]) {
      server.requests.length = 0;
      server.push(message);
      await server.asked("/api/v1/overview");
      // Not only because the line fell silent and was given up.
      expect(server.requests).toEqual(["/api/v1/overview"]);
    }
    await close();
  });
  test("is said to be from before when the server cannot answer anew, and stays", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/storages`);
    await page.locator(LIVE).waitFor();
    await page.getByRole("heading", { name: "main" }).waitFor();
    server.world = { ...FULL, failing: ["/api/v1/storages"] };
    server.push({ type: "changed", data: { routes: ["storages"] } });
    await page.locator(".stale").filter({ hasText: "E_STORAGE_FAILED" }).waitFor();
    expect(await page.getByRole("heading", { name: "main" }).count()).toBe(1);
    server.world = FULL;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator(".stale").waitFor({ state: "detached" });
    await close();
  });
});

describe("a clock that is wrong", () => {
  test("of the viewer counts no age: the server's does, also before its stream speaks", async () => {
    server.world = { ...FULL, silent: ["/api/v1/stream"] };
    const { page, close } = await browser.open();
    await page.addInitScript("{ const now = Date.now; Date.now = () => now() + 5 * 86_400_000; }");
    await page.goto(`${server.url}/archives`);
    await page.locator(".title").filter({ hasText: "1 h ago" }).waitFor();
    await close();
  });
});

describe("a stream that does not begin", () => {
  test("while all else is answered is told apart from a server that is silent", async () => {
    server.world = { ...FULL, failing: ["/api/v1/stream"] };
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/storages`);
    await page.getByRole("heading", { name: "main" }).waitFor();
    await page.getByRole("alert").filter({ hasText: "gives no live stream" }).waitFor();
    server.world = FULL;
    await page.locator(LIVE).waitFor();
    await page.locator(".banner").waitFor({ state: "detached" });
    await close();
  });
});

describe("a way down an archive", () => {
  test("is shown with every directory above as a link", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    const key = Buffer.from("etc/nginx/conf.d").toString("base64url");
    await page.goto(`${server.url}/archives/main/web-01/etc/2026-02-12T02-00-00-123Z.tar.gz?key=${key}`);
    const way = page.getByRole("navigation", { name: "Directory" });
    await way.waitFor();
    expect(await way.textContent()).toMatch(/^\/\s*etc\/\s*nginx\/\s*conf\.d\s*Back$/);
    await way.getByRole("link", { name: "nginx" }).click();
    await page.waitForURL(`**?key=${Buffer.from("etc/nginx").toString("base64url")}`);
    await close();
  });
});
