/**
 * The simulator in a full test run: all regressions, and thousands of seeds shared among the cores. A seed that fails is
 * a failure like any test's, and so is a kind of fault or end that no seed showed.
 */
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import path from "node:path";
import { REQUIRED } from "#test/sim/required.ts";
import type { Totals } from "./junit.ts";
import { inProject } from "./project.ts";
import { BUN, run, runVisibly } from "./run.ts";
import { addSimTotals, emptyTotals, type SimTotals } from "./sim-totals.ts";

const FRESH_SEEDS = 3_000;
const TIMEOUT_MS = 30 * 60_000;

const REPORTS_DIRECTORY = inProject("test-results", "sim");

/** One process; undefined when it left no report. */
async function simulate(name: string, args: readonly string[]): Promise<SimTotals | undefined> {
  const report = path.join(REPORTS_DIRECTORY, `${name}.json`);
  await runVisibly([BUN, "scripts/sim.ts", ...args, "--report", report], { timeoutMs: TIMEOUT_MS });
  const file = Bun.file(report);
  if (!(await file.exists())) return undefined;
  const totals: SimTotals = await file.json();
  return totals;
}

/**
 * Of each commit others, and of one commit the same wherever it is tested: what a run has found is found again, and what
 * was tested here is what is tested there. Without git they are taken from the clock.
 */
async function firstSeed(): Promise<number> {
  const commit = await run(["git", "rev-parse", "HEAD"]).catch(() => undefined);
  const hash = /^[0-9a-f]{8}/.exec(commit?.stdout ?? "")?.[0];
  const number = hash === undefined ? Math.floor(Date.now() / 1000) : Number.parseInt(hash, 16);
  return (number % 1_000_000) * FRESH_SEEDS;
}

/** The seeds of each process. */
function shares(baseSeed: number): readonly (readonly string[])[] {
  const processes = Math.min(availableParallelism(), 8);
  const each = Math.ceil(FRESH_SEEDS / processes);
  return Array.from({ length: processes }, (_, index) => [
    ...["--seed", String(baseSeed + index * each), "--runs", String(Math.min(each, FRESH_SEEDS - index * each))],
  ]);
}

/** Runs it all; every seed counts as a test, and so does every kind that must be seen. */
export async function runSimulator(): Promise<Totals> {
  await rm(REPORTS_DIRECTORY, { recursive: true, force: true });
  await mkdir(REPORTS_DIRECTORY, { recursive: true });
  const baseSeed = await firstSeed();
  console.log(`Simulator: regressions, and the commit's ${FRESH_SEEDS} seeds from ${baseSeed} on.`);
  const regressions = await simulate("regressions", ["--regressions"]);
  const fresh = await Promise.all(shares(baseSeed).map((args, index) => simulate(`fresh-${index}`, args)));
  const totals = emptyTotals();
  const failures: string[] = [];
  for (const part of [regressions, ...fresh]) {
    if (part !== undefined) addSimTotals(totals, part);
    else failures.push("a process of the simulator left no report: it hung, crashed or does not load.");
  }
  console.log(
    Object.entries(totals.counts)
      .sort()
      .map(([kind, count]) => `${kind}: ${count}`)
      .join(", "),
  );
  const unseen = REQUIRED.filter((kind) => (totals.counts[kind] ?? 0) === 0);
  failures.push(...totals.failures.map((text) => `the simulator, ${text}`));
  failures.push(...unseen.map((kind) => `the simulator never showed ${kind}, although it must`));
  const rate = (totals.sessions / totals.cpuSeconds).toFixed(0);
  console.log(
    `Simulator: ${totals.runs} runs, ${totals.failures.length} failed, ${totals.sessions} sessions, ${rate} in a second of processor time.`,
  );
  const passed = totals.runs - totals.failures.length + REQUIRED.length - unseen.length;
  return { passed, skipped: 0, failures };
}
