import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Chromium } from "#test/support/chromium.ts";
import { apiEnd, apiEvent, HOSTILE, uuid } from "#test/support/page-fixtures.ts";
import { FULL, PageServer } from "#test/support/page-server.ts";

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

/** The page asks when it has heard that the server is back: its request is the signal. */
async function expectAsked(path: string): Promise<void> {
  await server.asked(path);
  expect(server.requests).toContain(path);
}

describe("the live stream", () => {
  test("moves what runs, and puts events and ends on top of their lists as text", async () => {
    server.world = FULL;
    const { page, complaints, close } = await browser.open();
    await page.goto(`${server.url}/sessions`);
    await page.locator(LIVE).waitFor();
    const card = page.locator("article").first();
    const rate = card.locator(".rate b");
    const before = (await rate.textContent()) ?? "";
    server.tick();
    await card.locator(".rate b", { hasNotText: before }).waitFor();
    server.push({
      type: "ended",
      data: { ...apiEnd(0, server.nowWallMs + 5_000), agent: HOSTILE, backup: "just-ended" },
    });
    await page.locator(".tbody .tr").first().filter({ hasText: "just-ended" }).waitFor();
    await page.getByRole("link", { name: "Events" }).click();
    await page.locator(".tbody .tr").first().waitFor();
    server.push({ type: "event", data: { ...apiEvent(2, server.nowWallMs + 9_000_000), message: `now ${HOSTILE}` } });
    await page
      .locator(".tbody .tr")
      .first()
      .filter({ hasText: `now ${HOSTILE}` })
      .waitFor();
    expect(await page.title()).toBe("Events · nbackup");
    expect(complaints).toEqual([]);
    await close();
  });
  test("that is lost is said over what is shown; after a restart the page goes on by itself and asks its lists again", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/`);
    await page.locator(LIVE).waitFor();
    await server.stop();
    await page.getByRole("alert").filter({ hasText: "Disconnected from the server" }).waitFor();
    expect(await page.locator(".tbody .tr").count()).toBeGreaterThan(10);
    server.requests.length = 0;
    server.restart();
    await page.locator(LIVE).waitFor();
    await page.locator(".banner").waitFor({ state: "detached" });
    await expectAsked("/api/v1/overview");
    await close();
  });
});

describe("a filtered list", () => {
  test("takes of what comes live what the server would find: parts of names and globs, and one that is there alone", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    const ended = (agent: string, n: number) =>
      server.push({
        type: "ended",
        data: { ...apiEnd(n, server.nowWallMs), endWallMs: server.nowWallMs + n, agent, backup: `late-${agent}` },
      });
    for (const [filter, yes, no] of [
      ["NEW", "new-1", "other-1"],
      ["ne?-*", "new-1", "renew-1"],
      ["web-01", "web-01", "web-010"],
    ] as const) {
      await page.goto(`${server.url}/sessions?agent=${encodeURIComponent(filter)}`);
      await page.locator(LIVE).waitFor();
      await page.locator("main:not(:has(.loading))").waitFor();
      ended(no, 1);
      ended(yes, 2);
      await page
        .locator(".tbody .tr")
        .first()
        .filter({ hasText: `late-${yes}` })
        .waitFor();
      expect([filter, await page.getByText(`late-${no}`).count()]).toEqual([filter, 0]);
    }
    await close();
  });
  test("of a part of names is asked for again when one of just that name has come, which from then on is meant alone", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/sessions?agent=web-0`);
    await page.locator(LIVE).waitFor();
    await page.locator(".tbody .tr").first().waitFor();
    server.requests.length = 0;
    server.push({
      type: "ended",
      data: { ...apiEnd(0, server.nowWallMs), agent: "web-0", backup: "just-it" },
    });
    await expectAsked("/api/v1/sessions/history?limit=200&agent=web-0");
    await close();
  });
});

describe("a password", () => {
  test("is asked for before anything is shown, and a wrong one is said to be", async () => {
    server.world = { ...FULL, password: "right" };
    server.requests.length = 0;
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/sessions`);
    await page.getByLabel("Password").fill("wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("That is not the password.").waitFor();
    expect(server.requests.filter((path) => path.startsWith("/api/v1/sessions"))).toEqual([]);
    await page.getByLabel("Password").fill("right");
    await page.getByLabel("Password").press("Enter");
    await page.getByRole("heading", { name: "Sessions", exact: true }).waitFor();
    await page.locator(LIVE).waitFor();
    await close();
  });
});

describe("switches", () => {
  test("of language and theme hold over a reload", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/storages`);
    await page.getByRole("button", { name: "Mudar para português" }).click();
    await page.getByRole("heading", { name: "Armazenamentos" }).waitFor();
    await page.getByRole("button", { name: /^Tema/ }).click();
    await page.getByRole("button", { name: /^Tema/ }).click();
    await page.locator("html[data-theme=dark]").waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Armazenamentos" }).waitFor();
    await page.locator("html[data-theme=dark]").waitFor();
    await close();
  });
});

describe("what it costs", () => {
  test("the first view is less than 120 kB as sent", async () => {
    server.world = FULL;
    const { page, close } = await browser.open();
    await page.goto(`${server.url}/`);
    await page.locator(LIVE).waitFor();
    const bytes = await page.evaluate<number>(
      "performance.getEntries().filter((e) => e.encodedBodySize > 0 && !e.name.includes('/api/')).reduce((sum, e) => sum + e.encodedBodySize, 0)",
    );
    expect(bytes).toBeGreaterThan(20_000);
    expect(bytes).toBeLessThan(120_000);
    await close();
  });
  test("with 1,000 agents, 10,000 ended sessions and 255 streams only the rows on the screen are in the document", async () => {
    server.world = { ...FULL, backups: 1000, agents: 1000, history: 10_000, slots: 255 };
    const { page, complaints, close } = await browser.open();
    for (const path of ["/agents", "/sessions", `/sessions/${uuid(1)}`, "/?state=ok"]) {
      await page.goto(`${server.url}${path}`);
      await page.locator(".tbody .tr").first().waitFor();
      for (let turn = 0; turn < 3; turn += 1) {
        server.tick(1);
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
      }
      await page.evaluate("scrollTo(0, document.body.scrollHeight)");
      await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
      expect(await page.locator(".tbody .tr").count()).toBeLessThan(90);
    }
    expect(complaints).toEqual([]);
    await close();
  });
});
