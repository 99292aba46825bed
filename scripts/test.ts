/**
 * All tests, behind `npm test`: installs the Debian packages they call, builds the executables, runs the gate and every
 * test, and leaves the true totals in test-results/summary.txt for .ci/run.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { ensurePackages, TEST_PACKAGES } from "./lib/debian.ts";
import { ARCHITECTURES, build, PROGRAMS } from "./lib/executables.ts";
import { runGate } from "./lib/gate.ts";
import { addTotals, failuresText, onlyFailures, totalsLine } from "./lib/junit.ts";
import { runMain } from "./lib/run.ts";
import { runSimulator } from "./lib/sim-run.ts";
import { findTests, RESULTS_DIRECTORY, runFast, runSlow } from "./lib/test-run.ts";

async function buildAll(): Promise<void> {
  for (const program of PROGRAMS) {
    for (const architecture of ARCHITECTURES) await build(program, architecture);
  }
  console.log("ok     executables for both architectures");
}

async function main(): Promise<number> {
  const started = performance.now();
  await rm(RESULTS_DIRECTORY, { recursive: true, force: true });
  await mkdir(RESULTS_DIRECTORY, { recursive: true });
  await ensurePackages(TEST_PACKAGES);
  await buildAll();
  const failedChecks = await runGate();
  const files = await findTests();
  const simulated = await runSimulator();
  const tests = addTotals(simulated, addTotals(await runFast(files.fast), await runSlow(files.slow)));
  // A failed check is a failure like any other, so it is in the number that people look at.
  const totals = addTotals(tests, onlyFailures(failedChecks));
  await Bun.write(path.join(RESULTS_DIRECTORY, "summary.txt"), `${totalsLine(totals)}\n`);
  console.log(failuresText(totals.failures));
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  console.log(
    `All tests and checks: ${totalsLine(totals)}, ${files.fast.length + files.slow.length} files, ${minutes} min.`,
  );
  return totals.failures.length === 0 && totals.passed > 0 ? 0 : 1;
}

await runMain(main);
