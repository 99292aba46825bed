/** The compiled server's page left open in Chromium: while a backup runs and ends, while one fails, and over restarts of the server. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { OpenedPage } from "#test/support/chromium.ts";
import { PageSite, settled } from "#test/support/page-site.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);
/** What an agent and a server have to do first may take long on a busy machine. */
const SLOW = { timeout: 60_000 };

let site: PageSite;
let opened: OpenedPage;

beforeEach(async () => {
  site = await PageSite.make();
  await site.start();
  opened = await site.browser.open();
  await opened.page.goto(site.url);
}, TIMEOUT_MS);

afterEach(async () => {
  await site.remove();
});

const text = (name: string) => opened.page.getByText(name, { exact: true }).first();
const heading = (name: string | RegExp) => opened.page.getByRole("heading", { name });
const goTo = async (view: string): Promise<void> => {
  await opened.page.getByRole("navigation").getByRole("link", { name: view, exact: true }).click();
  await opened.page.getByRole("heading", { name: view, exact: true }).waitFor();
};

describe("a page that is open", () => {
  test("fills when the first backup comes, follows it to its commit and says that all is fine, without a reload", async () => {
    const { page } = opened;
    await heading("No backups yet").waitFor();
    const agent = await site.begin(site.entry("all", { bandwidth_limit: "64kb", parallels: 2 }));
    await page.locator(".tr .badge", { hasText: "Running" }).waitFor(SLOW);
    await page.getByRole("navigation").getByRole("link", { name: "Sessions" }).click();
    await heading("1 running session").waitFor();
    const card = page.getByRole("article", { name: "web-1 all" });
    await card.getByText("Receiving").waitFor();
    await page.reload();
    await card.getByRole("link").click();
    await heading("web-1 / all").waitFor();
    await text("goes on").waitFor();
    await page.reload();
    await text("goes on").waitFor();
    await page.locator(".hero .badge", { hasText: "Committed" }).waitFor(SLOW);
    expect((await agent.end()).exitCode).toBe(0);
    await page.getByRole("link", { name: /\.tar\.gz$/ }).waitFor();
    await text("goes on").waitFor({ state: "detached" });
    await page.reload();
    await page.locator(".hero .badge", { hasText: "Committed" }).waitFor();
    await page.getByRole("navigation").getByRole("link", { name: "Overview" }).click();
    await heading("The one backup is fine").waitFor(SLOW);
    await page.getByRole("link", { name: "web-1 / all" }).click();
    await heading("1 archive").waitFor();
    expect((await site.backUp(site.entry("all"))).exitCode).toBe(0);
    await heading("2 archives").waitFor();
    expect([...opened.complaints, ...opened.errors]).toEqual([]);
  });

  test("says of one that fails what was wrong, with its log, and that the backup is failing", async () => {
    const { page } = opened;
    const agent = await site.begin(site.slowEntry("all"));
    await goTo("Sessions");
    await page.getByRole("article").getByRole("link").click();
    await heading("web-1 / all").waitFor();
    await settled(opened);
    await site.command("abort", new URL(page.url()).pathname.split("/").at(-1) ?? "");
    await page.locator(".hero .badge", { hasText: "Aborted" }).waitFor();
    expect((await agent.end()).exitCode).toBe(1);
    expect(await page.locator(".wrong").textContent()).toContain("E_ABORTED aborted by an administrator of the server");
    await heading("What happened before it failed").waitFor();
    await page.locator(".log").filter({ hasText: "session ended without an archive" }).waitFor();
    await goTo("Sessions");
    await page.locator(".tbody .tr").filter({ hasText: "Aborted" }).waitFor();
    await page.getByRole("navigation").getByRole("link", { name: "Overview" }).click();
    await heading("1 failing").waitFor();
    await page.reload();
    await heading("1 failing").waitFor();
    expect([...opened.complaints, ...opened.errors]).toEqual([]);
  });
});

describe("a server that goes away", () => {
  test("by kill -9 is said to be away; started again it is found by itself, and the session that runs goes on", async () => {
    const { page } = opened;
    await site.begin(site.slowEntry("all"));
    const other = await site.browser.open();
    await other.page.goto(`${site.url}/storages`);
    await settled(other);
    await page.getByRole("link", { name: "Running" }).first().click();
    await heading("web-1 / all").waitFor();
    await text("goes on").waitFor();
    site.server.kill("SIGKILL");
    await site.server.end();
    for (const { page: lost } of [opened, other]) {
      await lost.getByRole("alert").filter({ hasText: "Disconnected from the server" }).waitFor();
    }
    await text("goes on").waitFor();
    await site.startAgain();
    await settled(other);
    await settled(opened);
    expect(await page.locator(".banner").count()).toBe(0);
    await page.locator(".log").filter({ hasText: "goes on" }).waitFor(SLOW);
    await page.locator(".hero", { hasText: "Receiving" }).waitFor(SLOW);
    await page.reload();
    await page.locator(".hero", { hasText: "Receiving" }).waitFor();
    expect([...opened.complaints, ...other.complaints]).toEqual(
      [...opened.complaints, ...other.complaints].filter((line) => /EventSource|ERR_/.test(line)),
    );
    expect([...opened.errors, ...other.errors]).toEqual([]);
  });

  test("by a stop says that it waits for what runs, and a page that was never answered finds it too", async () => {
    const { page } = opened;
    await site.begin(site.slowEntry("all"));
    await settled(opened);
    site.server.kill("SIGTERM");
    await page.locator(".banner", { hasText: "The server is stopping" }).waitFor();
    await site.server.end();
    await page.getByRole("alert").filter({ hasText: "Disconnected from the server" }).waitFor();
    await goTo("Storages");
    await page.getByText("The server does not answer.").waitFor();
    await site.startAgain();
    await settled(opened);
    await heading("main").waitFor();
    expect(await page.locator(".failed, .banner").count()).toBe(0);
  });
});
