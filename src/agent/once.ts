/** `--once`: backup entries one after another. What the process says and exits with is the caller's part. */
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
