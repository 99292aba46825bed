/** What `status` says of an entry that runs, from what the run tells of itself. A value for each moment; nothing is kept. */
import { pathText } from "#base/path-text.ts";
import type { AutoscalerView, RunningView } from "#observe/views.ts";
import type { BackupStage } from "./backup-run.ts";
import type { AutoscalerProgress, SessionProgress } from "./session-progress.ts";

export interface RunningFacts {
  readonly trigger: RunningView["trigger"];
  readonly startedWallMs: number;
  /** undefined: the run has not asked for a session yet. */
  readonly stage: BackupStage | undefined;
  readonly retries: number;
}

export function runningView({ trigger, startedWallMs, stage, retries }: RunningFacts): RunningView {
  const running = stage?.stage === "running" ? stage : undefined;
  const progress = running?.progress();
  return {
    ...{ trigger, startedWallMs, retries },
    stage: stageName(stage, progress),
    session: running?.session ?? null,
    position: stage?.stage === "queued" ? stage.position : null,
    entries: progress?.entries ?? 0,
    rawBytes: progress?.rawBytes ?? 0,
    storedBytes: progress?.storedBytes ?? 0,
    durableBytes: progress?.durableBytes ?? 0,
    resentBytes: progress?.resentBytes ?? 0,
    reconnects: progress?.reconnects ?? 0,
    streamsUp: progress?.streamsUp ?? 0,
    streams: progress?.streams.map((stream) => ({ ...stream, rttMs: stream.rttMs ?? null })) ?? [],
    autoscaler: progress?.autoscaler === undefined ? null : autoscalerView(progress.autoscaler),
    rttMs: progress?.rttMs ?? null,
    currentPath: progress === undefined || progress.currentPath.length === 0 ? null : pathText(progress.currentPath),
    lastEntries: running?.lastEntries ?? 0,
    lastRawBytes: running?.lastRawBytes ?? 0,
  };
}

function autoscalerView(autoscaler: AutoscalerProgress): AutoscalerView {
  const { producedRate = null, drainRate = null } = autoscaler;
  return { ...autoscaler, producedRate, drainRate };
}

/** Before a session is asked for, and after it is over, hooks run. */
function stageName(stage: BackupStage | undefined, progress: SessionProgress | undefined): string {
  if (stage === undefined || progress?.phase === "ended") return "hooks";
  return progress?.phase ?? stage.stage;
}
