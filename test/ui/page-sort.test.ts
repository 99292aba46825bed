import { describe, expect, test } from "bun:test";
import { axe } from "#test/support/axe.ts";
import { NARROW, type OpenedPage } from "#test/support/chromium.ts";
import { PageTests } from "#test/support/page-tests.ts";
import { FULL } from "#test/support/page-server.ts";
import { settled } from "#test/support/page-site.ts";

const tests = PageTests.begin();

const SORTED: readonly (readonly [path: string, head: string])[] = [
  ["/", "Size"],
  ["/archives", "All archives"],
  ["/agents", "Agent"],
  ["/archives/main/web-01/etc", "Size"],
];

async function firstRows({ page }: OpenedPage): Promise<readonly string[]> {
  return await page.evaluate<string[]>(
    "[...document.querySelectorAll('.tbody .tr')].slice(0, 8).map((row) => row.firstElementChild.textContent)",
  );
}

describe("a table whose rows are all there", () => {
  for (const [path, name] of SORTED) {
    test(`of ${path} is sorted by pressing a head, by keyboard too; the URL keeps it, and the third press takes it back`, async () => {
      const opened = await tests.blank();
      const { page } = opened;
      await page.goto(`${tests.server.url}${path}`);
      await settled(opened);
      const asTheyCame = await firstRows(opened);
      const head = page.locator(".thead").getByRole("columnheader", { name, exact: true });
      expect(await head.getAttribute("aria-sort")).toBe("none");
      const button = head.getByRole("button");
      await button.click();
      const first = await head.getAttribute("aria-sort");
      const rows = await firstRows(opened);
      expect(new URL(page.url()).search).toMatch(/^\?sort=-?\w+$/);
      await page.reload();
      await settled(opened);
      expect([await head.getAttribute("aria-sort"), await firstRows(opened)]).toEqual([first, rows]);
      await button.focus();
      await page.keyboard.press("Enter");
      const turned = first === "ascending" ? "descending" : "ascending";
      expect(await head.getAttribute("aria-sort")).toBe(turned);
      expect(await firstRows(opened)).not.toEqual(rows);
      expect(await axe(page)).toEqual([]);
      await page.keyboard.press("Space");
      expect(await head.getAttribute("aria-sort")).toBe("none");
      expect(await firstRows(opened)).toEqual(asTheyCame);
      expect(new URL(page.url()).search).toBe("");
      expect(opened.complaints).toEqual([]);
    });
  }

  test("in lines has a choice instead of heads, and so has one whose sorted column has no room", async () => {
    const narrow = await tests.open("/agents", { ...NARROW, locale: "en-GB" });
    await settled(narrow);
    await narrow.page.getByLabel("Sort by").selectOption({ label: "Agent, descending" });
    expect(new URL(narrow.page.url()).search).toBe("?sort=-agent");
    const names = await narrow.page.locator(".tbody .tr .n-main").allTextContents();
    expect(names.length).toBeGreaterThan(5);
    expect(names).toEqual(names.toSorted(new Intl.Collator("en", { numeric: true }).compare).reverse());
    expect(await narrow.page.locator(".thead button").count()).toBe(0);
    expect(await axe(narrow.page)).toEqual([]);
    const wide = await tests.open("/agents?sort=version", { viewport: { width: 900, height: 800 } });
    await settled(wide);
    expect(await wide.page.getByLabel("Sort by").count()).toBe(0);
    await wide.page.goto(`${tests.server.url}/agents?sort=software`);
    await settled(wide);
    await wide.page.getByLabel("Sort by").selectOption({ label: "default order" });
    await wide.page.getByLabel("Sort by").waitFor({ state: "detached" });
  });

  test("stays sorted when an answer comes anew", async () => {
    const opened = await tests.open("/agents?sort=-agent");
    await settled(opened);
    const rows = await firstRows(opened);
    tests.server.requests.length = 0;
    tests.server.push({ type: "changed", data: { routes: ["agents"] } });
    await tests.server.asked("/api/v1/agents");
    tests.server.tick();
    expect(await firstRows(opened)).toEqual(rows);
  });
});

test("storages that are too many to be seen at a glance have a choice of their order, and few have none", async () => {
  const storages = ["vault", "main", "zeta", "archive"];
  const { page } = await tests.openLive("/storages", { world: { ...FULL, storages } });
  const names = page.locator(".storage h2");
  await names.nth(3).waitFor();
  expect(await names.allTextContents()).toEqual(storages);
  await page.getByLabel("Sort by").selectOption({ label: "Storage, ascending" });
  expect(await names.allTextContents()).toEqual(storages.toSorted());
  expect(await axe(page)).toEqual([]);
  tests.server.world = FULL;
  await page.reload();
  await names.nth(1).waitFor();
  expect(await page.getByLabel("Sort by").count()).toBe(0);
});

test("a list that comes in pages, the newest first, has heads that are no buttons", async () => {
  const opened = await tests.blank();
  for (const path of ["/sessions", "/events"]) {
    await opened.page.goto(`${tests.server.url}${path}?sort=bytes`);
    await settled(opened);
    await opened.page.locator(".tbody .tr").first().waitFor();
    expect(await opened.page.locator(".thead button, [aria-sort]").count()).toBe(0);
  }
});
