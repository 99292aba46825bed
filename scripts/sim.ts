/**
 * `bun run sim -- --seed N --runs M`: the simulator on seeds N to N+M-1. A single run prints its seed and faults first, and
 * the last of its log when it fails; of many only those that fail are printed, with seed and faults. `--trace` prints every
 * event, `--twice` runs each seed again and compares the logs, `--stop` ends at the first failure, `--regressions` runs those
 * that are kept instead, `--report FILE` leaves the totals as JSON.
 */
import { parseArgs } from "node:util";
import { drawOptions, type SimOptions } from "#test/sim/options.ts";
import { REGRESSIONS } from "#test/sim/regressions.ts";
import { runSeed } from "#test/sim/run.ts";
import { runMain, Sentence } from "./lib/run.ts";
import { addReport, emptyTotals, type SimTotals } from "./lib/sim-totals.ts";

interface Choice {
  readonly cases: Iterable<{ readonly seed: number; readonly options: SimOptions }>;
  readonly count: number;
  readonly trace: boolean;
  readonly twice: boolean;
  readonly stop: boolean;
  readonly report: string | undefined;
}

function* drawnCases(first: number, runs: number): Iterable<{ seed: number; options: SimOptions }> {
  for (let seed = first; seed < first + runs; seed += 1) yield { seed, options: drawOptions(seed) };
}

function choose(): Choice {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      runs: { type: "string", default: "1" },
      trace: { type: "boolean", default: false },
      twice: { type: "boolean", default: false },
      stop: { type: "boolean", default: false },
      regressions: { type: "boolean", default: false },
      report: { type: "string" },
    },
  });
  const { trace, twice, stop, regressions, report } = values;
  const [first, runs] = [Number(values.seed), Number(values.runs)];
  if (!Number.isSafeInteger(first) || first < 0 || !Number.isSafeInteger(runs) || runs < 1 || first + runs > 2 ** 32)
    throw new Sentence("--seed and --runs take whole numbers, the last seed below 2 to the power of 32.");
  const shared = { trace, twice, stop, report };
  if (regressions) return { cases: REGRESSIONS, count: REGRESSIONS.length, ...shared };
  return { cases: drawnCases(first, runs), count: runs, ...shared };
}

/** What is wrong with a run; undefined when nothing is. */
async function runOne(
  seed: number,
  options: SimOptions,
  choice: Choice,
  totals: SimTotals,
): Promise<string | undefined> {
  if (choice.count === 1) console.log(`seed ${seed} ${JSON.stringify(options)}`);
  const report = await runSeed(seed, options, choice.trace ? (line) => console.log(line) : undefined);
  addReport(totals, report);
  if (report.violation !== undefined) {
    if (choice.count === 1 && !choice.trace) console.log(report.tail);
    return report.violation;
  }
  if (!choice.twice) return undefined;
  const again = await runSeed(seed, options);
  return again.hash === report.hash ? undefined : `a second run gives another log: ${report.hash}, ${again.hash}`;
}

async function main(): Promise<number> {
  const choice = choose();
  const totals = emptyTotals();
  const startedMs = performance.now();
  for (const { seed, options } of choice.cases) {
    const violation = await runOne(seed, options, choice, totals);
    if (violation === undefined) continue;
    const failure = `seed ${seed}: ${violation}`;
    totals.failures.push(`${failure}\n${JSON.stringify(options)}`);
    console.log(`FAILED ${failure}`);
    if (choice.count > 1) console.log(`  ${JSON.stringify(options)}`);
    if (choice.stop) break;
  }
  const cpu = process.cpuUsage();
  totals.cpuSeconds = (cpu.user + cpu.system) / 1e6;
  if (choice.report !== undefined) await Bun.write(choice.report, JSON.stringify(totals));
  else for (const [kind, count] of Object.entries(totals.counts).sort()) console.log(`${kind}: ${count}`);
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(
    `${totals.runs} runs, ${totals.failures.length} failed, ${totals.sessions} sessions in ${seconds.toFixed(1)} s, ` +
      `${(totals.sessions / totals.cpuSeconds).toFixed(0)} sessions in a second of processor time, ` +
      `slowest recovery ${(totals.slowestRecoveryMs / 1000).toFixed(0)} s simulated`,
  );
  return totals.failures.length === 0 ? 0 : 1;
}

await runMain(main);
