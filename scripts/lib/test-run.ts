/**
 * Runs test files and tells the truth about them: every file must appear in the report, and a run that ended without
 * one is repeated file by file so that the rest is still counted.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { addTotals, NO_TESTS, onlyFailures, parseJunit, type Totals } from "./junit.ts";
import { inProject, ROOT } from "./project.ts";
import { BUN, runVisibly } from "./run.ts";

/** A fast run gets this long in all, a slow file this long by itself; then it is killed and counts as failed. */
const FAST_TIMEOUT_MS = 10 * 60_000;
const SLOW_FILE_TIMEOUT_MS = 20 * 60_000;

/** The gate must be done in three minutes, and one process takes more. Tests say how long they may take on a busy machine. */
const FAST_PROCESSES = 2;

/** Tests in these folders call compiled executables and other programs; all others are in-process and fast. */
const SLOW_FOLDERS = ["test/e2e/", "test/ui/"];

export const RESULTS_DIRECTORY = inProject("test-results");

export interface TestFiles {
  readonly fast: readonly string[];
  readonly slow: readonly string[];
}

/** All test files, relative to the checkout, in order. */
export async function findTests(): Promise<TestFiles> {
  const files = await Array.fromAsync(new Bun.Glob("test/**/*.test.ts").scan({ cwd: ROOT }));
  files.sort();
  const isSlow = (file: string): boolean => SLOW_FOLDERS.some((folder) => file.startsWith(folder));
  return { fast: files.filter((file) => !isSlow(file)), slow: files.filter(isSlow) };
}

/** A test that says nothing else may take so long: none needs it, but a busy machine may. A test that hangs still fails. */
const ONE_TEST_MS = 30_000;

/** One `bun test` process over the files, its report called `name`; undefined when it left none. */
async function runOnce(files: readonly string[], name: string, timeoutMs: number): Promise<Totals | undefined> {
  await mkdir(RESULTS_DIRECTORY, { recursive: true });
  const outfile = path.join(RESULTS_DIRECTORY, `${name}.xml`);
  await rm(outfile, { force: true });
  const reporting = ["--only-failures", "--reporter=junit", `--reporter-outfile=${outfile}`];
  const flags = ["--isolate", "--no-orphans", `--timeout=${ONE_TEST_MS}`, ...reporting];
  const exitCode = await runVisibly([BUN, "test", ...flags, ...files.map((file) => `./${file}`)], { timeoutMs });
  if (!(await Bun.file(outfile).exists())) return undefined;
  const report = parseJunit(await Bun.file(outfile).text());
  const missing = files.filter((file) => !report.files.has(file));
  const failures = [
    ...report.failures,
    ...missing.map((file) => `${file}: not one test of it is in the report: it did not load, or has none.`),
  ];
  if (exitCode !== 0 && failures.length === 0)
    failures.push(`${name}: bun test ended with ${exitCode} although no test failed.`);
  return { passed: report.passed, skipped: report.skipped, failures };
}

async function runOneByOne(files: readonly string[], timeoutMs: number): Promise<Totals> {
  let totals = NO_TESTS;
  for (const file of files) {
    const started = performance.now();
    const found = await runOnce([file], file.replaceAll("/", "-"), timeoutMs);
    const counted =
      found ?? onlyFailures([`${file}: it left no report: it does not load, or a test exits, hangs or crashes.`]);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${file}: ${counted.passed} passed, ${counted.failures.length} failed in ${seconds} s`);
    totals = addTotals(totals, counted);
  }
  return totals;
}

/** Fast tests, dealt out to a process for each of two processors, each file with a fresh global object. */
export async function runFast(files: readonly string[]): Promise<Totals> {
  const hands = Array.from({ length: FAST_PROCESSES }, (_, hand) =>
    files.filter((__, i) => i % FAST_PROCESSES === hand),
  );
  const all = await Promise.all(hands.map((hand, i) => runHand(hand, `fast-${i + 1}`)));
  return all.reduce(addTotals, NO_TESTS);
}

async function runHand(files: readonly string[], name: string): Promise<Totals> {
  if (files.length === 0) return NO_TESTS;
  const totals = await runOnce(files, name, FAST_TIMEOUT_MS);
  if (totals !== undefined) return totals;
  console.log("A run ended without a report; once more, file by file.");
  return await runOneByOne(files, FAST_TIMEOUT_MS);
}

/** Slow tests, a process for each file: a test that times out takes its child processes with it, and no others. */
export async function runSlow(files: readonly string[]): Promise<Totals> {
  return await runOneByOne(files, SLOW_FILE_TIMEOUT_MS);
}
