/**
 * Counts tests from the JUnit report of `bun test`. The closing lines and the exit code of a run are not enough: a test
 * that calls process.exit(0) ends the run with code 0 and without a report, and a file that does not load is absent
 * from the report.
 */

export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface Report extends Totals {
  /** Files that have at least one test in the report, as named there. */
  readonly files: ReadonlySet<string>;
}

export const NO_TESTS: Totals = { passed: 0, failed: 0, skipped: 0 };

export function addTotals(a: Totals, b: Totals): Totals {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** `12 passed, 0 failed`, and `, 3 skipped` when any were. */
export function totalsLine(totals: Totals): string {
  const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : "";
  return `${totals.passed} passed, ${totals.failed} failed${skipped}`;
}

const TEST_CASE = /<testcase((?:\s+[\w:-]+="[^"]*")*)\s*(?:\/>|>([\s\S]*?)<\/testcase>)/g;
const FILE_ATTRIBUTE = /\sfile="([^"]*)"/;

/** Reads a report. One without its closing tag is cut off and counts as one more failure. */
export function parseJunit(xml: string): Report {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  const files = new Set<string>();
  for (const [, attributes = "", body = ""] of xml.matchAll(TEST_CASE)) {
    const file = FILE_ATTRIBUTE.exec(attributes)?.[1];
    if (file !== undefined) files.add(file);
    if (/<(failure|error)\b/.test(body)) failed += 1;
    else if (/<skipped\b/.test(body)) skipped += 1;
    else passed += 1;
  }
  if (!xml.trimEnd().endsWith("</testsuites>")) failed += 1;
  return { passed, failed, skipped, files };
}
