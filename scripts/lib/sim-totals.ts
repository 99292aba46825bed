/** What many runs of the simulator come to, as values that processes hand to each other. */
import type { SimReport } from "#test/sim/run.ts";

export interface SimTotals {
  runs: number;
  /** A text for each run that failed: its seed, what was wrong, and its options. */
  readonly failures: string[];
  sessions: number;
  cpuSeconds: number;
  /** Simulated. */
  slowestRecoveryMs: number;
  /** How often each kind of fault and each end was seen. */
  readonly counts: Record<string, number>;
}

export function emptyTotals(): SimTotals {
  return { runs: 0, failures: [], sessions: 0, cpuSeconds: 0, slowestRecoveryMs: 0, counts: {} };
}

export function addReport(totals: SimTotals, report: SimReport): void {
  totals.runs += 1;
  totals.sessions += report.sessions;
  totals.slowestRecoveryMs = Math.max(totals.slowestRecoveryMs, report.recoveryMs);
  for (const [kind, count] of report.counts) totals.counts[kind] = (totals.counts[kind] ?? 0) + count;
}

export function addSimTotals(totals: SimTotals, other: SimTotals): void {
  totals.runs += other.runs;
  totals.failures.push(...other.failures);
  totals.sessions += other.sessions;
  totals.cpuSeconds += other.cpuSeconds;
  totals.slowestRecoveryMs = Math.max(totals.slowestRecoveryMs, other.slowestRecoveryMs);
  for (const [kind, count] of Object.entries(other.counts)) totals.counts[kind] = (totals.counts[kind] ?? 0) + count;
}
