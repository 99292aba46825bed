/** `--once`: backup entries one after another, and what the process says with its exit status. */
import { type BackupDeps, type BackupPlan, type BackupStage, runBackup } from "./backup-run.ts";
import type { BackupResult } from "./result.ts";

export interface OnceEvents {
  readonly stage: (plan: BackupPlan, stage: BackupStage) => void;
  readonly finished: (plan: BackupPlan, result: BackupResult) => void;
}

/** Runs all plans in order; one that fails does not keep the next from running, an interruption does. */
export async function runOnce(
  deps: BackupDeps,
  plans: readonly BackupPlan[],
  signal: AbortSignal,
  events: OnceEvents,
): Promise<readonly BackupResult[]> {
  const results: BackupResult[] = [];
  for (const plan of plans) {
    if (signal.aborted) break;
    const result = await runBackup(deps, plan, signal, (stage) => events.stage(plan, stage));
    results.push(result);
    events.finished(plan, result);
  }
  return results;
}

/** Exit status of one result: 0 done, 3 done but some source files could not be handled, else the failure's. */
export function resultExitCode(result: BackupResult): number {
  if (result.failure !== undefined) return result.failure.exitCode;
  return result.problemCount > 0 ? 3 : 0;
}

/** Worst first. */
const SEVERITY: readonly number[] = [130, 1, 2, 3, 0];

/** The exit status of them all: the worst. */
export function onceExitCode(results: readonly BackupResult[]): number {
  const codes = results.map(resultExitCode);
  return SEVERITY.find((code) => codes.includes(code)) ?? 1;
}
