/**
 * `bun run sim -- --seed N --runs M`: the simulator on seeds N to N+M-1. Prints the seed and its faults before each run
 * when there is one, else a line for each that fails, and totals at the end. `--trace` prints every event, `--twice` runs
 * each seed again and compares.
 */
import { parseArgs } from "node:util";
import { drawOptions } from "#test/sim/options.ts";
import { runSeed } from "#test/sim/run.ts";
import { runMain, Sentence } from "./lib/run.ts";

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      runs: { type: "string", default: "1" },
      trace: { type: "boolean", default: false },
      twice: { type: "boolean", default: false },
    },
  });
  const [first, runs] = [Number(values.seed), Number(values.runs)];
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(runs) || runs < 1)
    throw new Sentence("--seed and --runs take whole numbers.");
  const counts = new Map<string, number>();
  let [failed, sessions, worst] = [0, 0, 0];
  const started = performance.now();
  for (let seed = first; seed < first + runs; seed += 1) {
    const options = drawOptions(seed);
    if (runs === 1) console.log(`seed ${seed} ${JSON.stringify(options)}`);
    const report = await runSeed(seed, options, values.trace ? (line) => console.log(line) : undefined);
    for (const [kind, count] of report.counts) counts.set(kind, (counts.get(kind) ?? 0) + count);
    sessions += report.sessions;
    worst = Math.max(worst, report.recoveryMs);
    let { violation } = report;
    if (violation === undefined && values.twice) {
      const again = await runSeed(seed, options);
      if (again.hash !== report.hash) violation = `the second run gave another log: ${report.hash}, ${again.hash}`;
    }
    if (violation === undefined) continue;
    failed += 1;
    console.log(`FAILED seed ${seed}: ${violation}`);
    if (runs > 1) console.log(`  ${JSON.stringify(options)}`);
    if (runs === 1 && !values.trace) console.log(report.tail);
  }
  const seconds = (performance.now() - started) / 1000;
  for (const [kind, count] of [...counts].sort()) console.log(`${kind}: ${count}`);
  console.log(
    `${runs} runs, ${failed} failed, ${sessions} sessions, ${seconds.toFixed(1)} s, ${(sessions / seconds).toFixed(0)} sessions/s, slowest recovery ${(worst / 1000).toFixed(0)} s simulated`,
  );
  return failed === 0 ? 0 : 1;
}

await runMain(main);
