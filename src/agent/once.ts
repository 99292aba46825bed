/** `--once`: backup entries one after another. What the process says and exits with is the caller's part. */
import type { BackupPlan, BackupStage } from "./backup-run.ts";
import { type EntryRunDeps, runEntry } from "./entry-run.ts";
import type { BackupResult } from "./result.ts";

export interface OnceEvents {
  readonly stage: (plan: BackupPlan, stage: BackupStage) => void;
  readonly finished: (plan: BackupPlan, result: BackupResult) => void;
}

/** Runs all plans in order; one that fails does not keep the next from running, an interruption does. */
export async function runOnce(
  deps: EntryRunDeps,
  plans: readonly BackupPlan[],
  signal: AbortSignal,
  events: OnceEvents,
): Promise<readonly BackupResult[]> {
  const results: BackupResult[] = [];
  for (const plan of plans) {
    if (signal.aborted) break;
    const onStage = (stage: BackupStage): void => events.stage(plan, stage);
    const result = await runEntry(deps, { plan, trigger: { kind: "once" }, signal, onStage });
    results.push(result);
    events.finished(plan, result);
  }
  await deps.notifier.settled();
  return results;
}
