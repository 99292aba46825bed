/** axe-core on an open page. It is evaluated by the browser's debugger, so the page's own content security policy stays in force. */
import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string;
    readonly nodes: readonly { readonly html: string }[];
  }[];
}

let source: string | undefined;

/** What it finds of the serious kinds; the page is to have come to rest. */
export async function axe(page: Page): Promise<readonly string[]> {
  source ??= readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  await page.evaluate(`typeof axe === "undefined" ? void (() => { ${source} })() : undefined`);
  const found: AxeResult = await page.evaluate(
    "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'], resultTypes: ['violations'] })",
  );
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 200) ?? ""}`);
}
