/** What `--progress` shows of the stage a backup run is in, as figures of the moment. */
import type { BackupStage } from "#agent/backup-run.ts";
import type { ProgressFigures } from "#cli/progress-display.ts";
import type { ProgressPhase } from "#cli/progress-line.ts";

const NOTHING = new Uint8Array(0);

export function progressFigures(stage: BackupStage, elapsedMs: number, retries: number): ProgressFigures {
  const idle = {
    elapsedMs,
    entries: 0,
    rawBytes: 0,
    sentBytes: 0,
    ackedBytes: 0,
    retries,
    streams: 0,
    currentPath: NOTHING,
  };
  switch (stage.stage) {
    case "connecting":
      return { ...idle, phase: { kind: "connecting" } };
    case "queued":
      return { ...idle, phase: { kind: "queued", position: stage.position } };
    case "deferred":
      return { ...idle, phase: { kind: "deferred", why: stage.failure.message, inMs: stage.delayMs } };
    case "retrying":
      return { ...idle, phase: { kind: "retrying", inMs: stage.delayMs } };
    case "running":
      return { ...idle, ...runningFigures(stage, retries) };
  }
}

type Running = Extract<BackupStage, { stage: "running" }>;

function runningFigures(stage: Running, retries: number): Omit<ProgressFigures, "elapsedMs"> {
  const now = stage.progress();
  return {
    phase: runningPhase(now.phase, now.serverPhase),
    entries: now.entries,
    entriesTotalEstimate: stage.lastEntries,
    rawBytes: now.rawBytes,
    rawBytesTotalEstimate: stage.lastRawBytes,
    sentBytes: now.storedBytes,
    ackedBytes: now.durableBytes,
    retries: retries + now.reconnects,
    streams: now.streamsUp,
    streamsMax: now.autoscaler?.max,
    currentPath: now.currentPath,
  };
}

type Snapshot = ReturnType<Running["progress"]>;

function runningPhase(phase: Snapshot["phase"], server: Snapshot["serverPhase"]): ProgressPhase {
  if (phase === "reading") return { kind: "sending" };
  if (phase === "sending") return { kind: "draining" };
  if (phase === "verifying" && server?.phase !== "verifying") {
    return { kind: "finishing", what: "waiting for the verification", done: 0, total: 0 };
  }
  return { kind: "finishing", what: server?.phase ?? "finishing", done: server?.done ?? 0, total: server?.total ?? 0 };
}
