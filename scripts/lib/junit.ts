/**
 * Counts tests from the JUnit report of `bun test`. The closing lines and the exit code of a run are not enough: a test
 * that calls process.exit(0) ends the run with code 0 and without a report, and a file that does not load is absent
 * from the report.
 */

export interface Totals {
  readonly passed: number;
  readonly skipped: number;
  /** A text for each failure, which test it was first: nothing is counted as failed that is not named. */
  readonly failures: readonly string[];
}

export interface Report extends Totals {
  /** Files that have at least one test in the report, as named there. */
  readonly files: ReadonlySet<string>;
}

export const NO_TESTS: Totals = { passed: 0, skipped: 0, failures: [] };

export function addTotals(a: Totals, b: Totals): Totals {
  return { passed: a.passed + b.passed, skipped: a.skipped + b.skipped, failures: [...a.failures, ...b.failures] };
}

/** The total of something that only failed, as `addTotals` takes it. */
export function onlyFailures(failures: readonly string[]): Totals {
  return { passed: 0, skipped: 0, failures };
}

/** `12 passed, 0 failed`, and `, 3 skipped` when any were. */
export function totalsLine(totals: Totals): string {
  const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : "";
  return `${totals.passed} passed, ${totals.failures.length} failed${skipped}`;
}

/** What stays of one failure: its cause comes first, and a thousand lines of difference help nobody. */
const FAILURE_CHARACTERS = 3_000;

/**
 * All failures together, for the end of a run: whoever keeps only the last lines of it still learns what failed. Empty
 * when nothing did.
 */
export function failuresText(failures: readonly string[]): string {
  if (failures.length === 0) return "";
  const told = failures.map((text) => {
    const short = text.length > FAILURE_CHARACTERS ? `${text.slice(0, FAILURE_CHARACTERS)} [cut]` : text;
    return `FAILED ${short.trimEnd().replaceAll("\n", "\n    ")}\n`;
  });
  return `\nWhat failed:\n${told.join("")}`;
}

const TEST_CASE = /<testcase((?:\s+[\w:-]+="[^"]*")*)\s*(?:\/>|>([\s\S]*?)<\/testcase>)/g;
const FAILURE = /<(?:failure|error)\b([^>]*?)(?:\/>|>([\s\S]*?)<\/(?:failure|error)>)/;

/** The value of an attribute, its entities resolved; empty when there is none. */
function attribute(attributes: string, name: string): string {
  return unescaped(new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
}

function unescaped(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replaceAll(/&(?:#(\d+)|(\w+));/g, (whole, code: string | undefined, name: string) =>
    code === undefined ? (named[name] ?? whole) : String.fromCodePoint(Math.min(Number(code), 0x10ffff)),
  );
}

/** `test/a.test.ts: group > name`, and below it what bun test says of it; undefined when the test did not fail. */
function failureOf(attributes: string, body: string): string | undefined {
  if (!/<(?:failure|error)\b/.test(body)) return undefined;
  const [, failureAttributes = "", text = ""] = FAILURE.exec(body) ?? [];
  const group = attribute(attributes, "classname");
  const name = attribute(attributes, "name");
  const said = unescaped(text) || attribute(failureAttributes, "message") || attribute(failureAttributes, "type");
  return `${attribute(attributes, "file")}: ${group === "" ? name : `${group} > ${name}`}\n${said}`;
}

/** Reads a report. One without its closing tag is cut off and counts as one more failure. */
export function parseJunit(xml: string): Report {
  let passed = 0;
  let skipped = 0;
  const failures: string[] = [];
  const files = new Set<string>();
  for (const [, attributes = "", body = ""] of xml.matchAll(TEST_CASE)) {
    const file = attribute(attributes, "file");
    if (file !== "") files.add(file);
    const failure = failureOf(attributes, body);
    if (failure !== undefined) failures.push(failure);
    else if (/<skipped\b/.test(body)) skipped += 1;
    else passed += 1;
  }
  if (!xml.trimEnd().endsWith("</testsuites>")) failures.push("the report of bun test is cut off");
  return { passed, skipped, failures, files };
}
