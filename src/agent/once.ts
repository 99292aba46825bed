/** `--once`: backup entries one after another. What the process says and exits with is the caller's part. */
import type { BackupPlan, BackupStage } from "./backup-run.ts";
import { type EntryRunDeps, runEntry } from "./entry-run.ts";
import type { BackupResult } from "./result.ts";
import type { RunningFacts } from "./running-view.ts";
import { StatsLines } from "./stats-line.ts";

export interface OnceEvents {
  /** `logging.stream_stats`. */
  readonly streamStats: boolean;
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
  const { clock, log } = deps.backup;
  let running = new Map<string, RunningFacts>();
  const stats = new StatsLines({ clock, log, streamStats: () => events.streamStats, running: () => running });
  for (const plan of plans) {
    if (signal.aborted) break;
    const startedWallMs = clock.wall();
    const onStage = (stage: BackupStage): void => {
      running = new Map([[plan.entry.name, { trigger: "once", startedWallMs, stage, retries: 0 }]]);
      stats.changed();
      events.stage(plan, stage);
    };
    const result = await runEntry(deps, { plan, trigger: { kind: "once" }, signal, onStage });
    running = new Map();
    stats.changed();
    results.push(result);
    events.finished(plan, result);
  }
  await deps.notifier.settled();
  return results;
}
