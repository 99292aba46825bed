import { describe, expect, test } from "bun:test";
import { archiveName, uuid } from "#test/support/page-fixtures.ts";
import { PageTests } from "#test/support/page-tests.ts";

const tests = PageTests.begin();

const PATHS = [
  ...["/", "/sessions", "/archives", "/agents", "/storages", "/events", "/config"],
  `/sessions/${uuid(1)}`,
  "/archives/main/web-01/etc",
  `/archives/main/web-01/etc/${archiveName(Date.UTC(2026, 1, 12, 2))}`,
];

/** What is wider than what it stands in, and so cannot be read: `body` hides it. Heads of columns and states are the page's own words, which fit. */
const WIDER = `[...document.querySelectorAll(".panel, .tr, main, .table:not(.narrow) .thead .td, .thead .by > span, .n-end > .badge > span, .tr:not(.lines) > .td > .badge > span")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.className + ": " + one.innerText.slice(0, 60))`;

describe("every width", () => {
  for (const width of [320, 600, 768, 1024, 1280]) {
    test(`of ${width} px shows all that a table has, in columns or in lines, in the longer of the languages`, async () => {
      const { page, complaints } = await tests.blank({ locale: "pt-BR", viewport: { width, height: 800 } });
      for (const path of PATHS) {
        await page.goto(`${tests.server.url}${path}`);
        await page.locator("main h1").first().waitFor({ state: "attached" });
        await page.locator("main:not(:has(.loading))").waitFor();
        expect({ path, wider: await page.evaluate<string[]>(WIDER) }).toEqual({ path, wider: [] });
      }
      expect(complaints).toEqual([]);
    });
  }
});
