import { describe, expect, test } from "bun:test";
import { apiEnd, apiEvent, HOSTILE, uuid } from "#test/support/page-fixtures.ts";
import { FULL } from "#test/support/page-server.ts";
import { LIVE, PageTests } from "#test/support/page-tests.ts";

const tests = PageTests.begin();

/** The page asks when it has heard that the server is back: its request is the signal. */
async function expectAsked(path: string): Promise<void> {
  await tests.server.asked(path);
  expect(tests.server.requests).toContain(path);
}

describe("the live stream", () => {
  test("moves what runs, and puts events and ends on top of their lists as text", async () => {
    const { page, complaints } = await tests.openLive("/sessions");
    const card = page.locator("article").first();
    const rate = card.locator(".rate b");
    const before = (await rate.textContent()) ?? "";
    tests.server.tick();
    await card.locator(".rate b", { hasNotText: before }).waitFor();
    tests.server.push({
      type: "ended",
      data: { ...apiEnd(0, tests.server.nowWallMs + 5_000), agent: HOSTILE, backup: "just-ended" },
    });
    await page.locator(".tbody .tr").first().filter({ hasText: "just-ended" }).waitFor();
    await page.getByRole("link", { name: "Events" }).click();
    await page.locator(".tbody .tr").first().waitFor();
    tests.server.push({
      type: "event",
      data: { ...apiEvent(2, tests.server.nowWallMs + 9_000_000), message: `now ${HOSTILE}` },
    });
    await page
      .locator(".tbody .tr")
      .first()
      .filter({ hasText: `now ${HOSTILE}` })
      .waitFor();
    expect(await page.title()).toBe("Events · nbackup");
    expect(complaints).toEqual([]);
  });
  test("that is lost is said over what is shown; after a restart the page goes on by itself and asks its lists again", async () => {
    const { page } = await tests.openLive("/");
    await tests.server.stop();
    await page.getByRole("alert").filter({ hasText: "Disconnected from the server" }).waitFor();
    expect(await page.locator(".tbody .tr").count()).toBeGreaterThan(10);
    tests.server.requests.length = 0;
    tests.server.restart();
    await page.locator(LIVE).waitFor();
    await page.locator(".banner").waitFor({ state: "detached" });
    await expectAsked("/api/v1/overview");
  });
  test("goes on while what draws charts cannot be loaded, which is said, and tried again", async () => {
    const { page, complaints } = await tests.blank();
    // All scripts but the page's first.
    const own = /src="([^"]+\.js)"/.exec(await (await fetch(tests.server.url)).text())?.[1];
    const isOther = (url: URL): boolean => url.pathname.endsWith(".js") && url.pathname !== own;
    await page.route(isOther, (route) => route.abort());
    await page.goto(tests.server.url);
    const said = page.getByRole("status").filter({ hasText: "could not be loaded" });
    await said.waitFor();
    await page.unroute(isOther);
    await page.locator(".chart canvas").waitFor();
    expect(await said.count()).toBe(0);
    expect(complaints).toEqual([]);
  });
});

describe("a filtered list", () => {
  test("takes of what comes live what the server would find: parts of names and globs, and one that is there alone", async () => {
    const { page } = await tests.blank();
    const ended = (agent: string, n: number) =>
      tests.server.push({
        type: "ended",
        data: {
          ...apiEnd(n, tests.server.nowWallMs),
          endWallMs: tests.server.nowWallMs + n,
          agent,
          backup: `late-${agent}`,
        },
      });
    for (const [filter, yes, no] of [
      ["NEW", "new-1", "other-1"],
      ["ne?-*", "new-1", "renew-1"],
      ["web-01", "web-01", "web-010"],
    ] as const) {
      await page.goto(`${tests.server.url}/sessions?agent=${encodeURIComponent(filter)}`);
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
  });
  test("of a part of names is asked for again when one of just that name has come, which from then on is meant alone", async () => {
    const { page } = await tests.openLive("/sessions?agent=web-0");
    await page.locator(".tbody .tr").first().waitFor();
    tests.server.requests.length = 0;
    tests.server.push({
      type: "ended",
      data: { ...apiEnd(0, tests.server.nowWallMs), agent: "web-0", backup: "just-it" },
    });
    await expectAsked("/api/v1/sessions/history?limit=200&agent=web-0");
  });
});

describe("a password", () => {
  test("is asked for before anything is shown, and a wrong one is said to be", async () => {
    tests.server.requests.length = 0;
    const { page } = await tests.open("/sessions", { world: { ...FULL, password: "right" } });
    await page.getByLabel("Password").fill("wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("That is not the password.").waitFor();
    expect(tests.server.requests.filter((path) => path.startsWith("/api/v1/sessions"))).toEqual([]);
    await page.getByLabel("Password").fill("right");
    await page.getByLabel("Password").press("Enter");
    await page.getByRole("heading", { name: "Sessions", exact: true }).waitFor();
    await page.locator(LIVE).waitFor();
  });
});

describe("switches", () => {
  test("of language and theme hold over a reload", async () => {
    const { page } = await tests.open("/storages");
    await page.getByRole("button", { name: "Mudar para português" }).click();
    await page.getByRole("heading", { name: "Armazenamentos" }).waitFor();
    await page.getByRole("button", { name: /^Tema/ }).click();
    await page.getByRole("button", { name: /^Tema/ }).click();
    await page.locator("html[data-theme=dark]").waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Armazenamentos" }).waitFor();
    await page.locator("html[data-theme=dark]").waitFor();
  });
});

describe("what it costs", () => {
  test("the first view is less than 120 kB as sent", async () => {
    const { page } = await tests.openLive("/");
    const bytes = await page.evaluate<number>(
      "performance.getEntries().filter((e) => e.encodedBodySize > 0 && !e.name.includes('/api/')).reduce((sum, e) => sum + e.encodedBodySize, 0)",
    );
    expect(bytes).toBeGreaterThan(20_000);
    expect(bytes).toBeLessThan(120_000);
  });
  test("with 1,000 agents, 10,000 ended sessions and 255 streams only the rows on the screen are in the document", async () => {
    const { page, complaints } = await tests.blank({
      world: { ...FULL, backups: 1000, agents: 1000, history: 10_000, slots: 255 },
    });
    for (const path of ["/agents", "/sessions", `/sessions/${uuid(1)}`, "/?state=ok"]) {
      await page.goto(`${tests.server.url}${path}`);
      await page.locator(".tbody .tr").first().waitFor();
      for (let turn = 0; turn < 3; turn += 1) {
        tests.server.tick(1);
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
      }
      await page.evaluate("scrollTo(0, document.body.scrollHeight)");
      await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
      expect(await page.locator(".tbody .tr").count()).toBeLessThan(90);
    }
    expect(complaints).toEqual([]);
  });
});
