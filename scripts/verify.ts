/** `bun run verify`, the one gate before a commit: types, format, lint, dead code, fast tests. Needs nothing but Bun. */
import { runGate } from "./lib/gate.ts";
import { failuresText, totalsLine } from "./lib/junit.ts";
import { runMain } from "./lib/run.ts";
import { findTests, runFast } from "./lib/test-run.ts";

async function main(): Promise<number> {
  const started = performance.now();
  const failedChecks = await runGate();
  const totals = await runFast((await findTests()).fast);
  console.log(failuresText(totals.failures));
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`Checks: ${failedChecks.length} failed. Fast tests: ${totalsLine(totals)}. ${seconds} s.`);
  return failedChecks.length === 0 && totals.failures.length === 0 && totals.passed > 0 ? 0 : 1;
}

await runMain(main);
