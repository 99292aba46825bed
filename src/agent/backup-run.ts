/**
 * One run of one backup entry: sources checked, session asked for, session run, and begun anew as often as `retry` allows
 * when the server lost it. Always ends in a BackupResult, never throws for a fault of the environment.
 */
import { bufferBytesMin, CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import type { Compression, Problem } from "#base/chunk.ts";
import { sleep } from "#base/clock.ts";
import { backoffDelayMs } from "#base/backoff.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { BackupEntryConfig, ResumeConfig, RetryConfig } from "#config/types.ts";
import type { Message } from "#wire/messages.ts";
import { type AdmissionDeps, requestSession } from "./admission.ts";
import type { FrameLink } from "./frame-link.ts";
import type { Producer } from "./producer.ts";
import { type BackupResult, PROBLEM_NAMES_MAX } from "./result.ts";
import { AgentSession, type SessionEnd, type SessionProgress } from "./session.ts";
import { streamCount } from "./stream-count.ts";
import { Throttle } from "./throttle.ts";

export interface ProducerOptions {
  readonly entry: BackupEntryConfig;
  readonly compression: Compression;
  readonly chunkBytes: number;
  readonly workers: number;
}

export interface BackupDeps extends AdmissionDeps {
  readonly makeProducer: (options: ProducerOptions) => Producer;
  /** Throws Failure E_SOURCE_MISSING or E_SOURCE_NESTED: an unmounted disk must not become a good empty backup. */
  readonly checkSources: (entry: BackupEntryConfig) => void;
  /** Cores that the process may use, at most 8. */
  readonly cores: number;
}

export interface BackupPlan {
  readonly entry: BackupEntryConfig;
  readonly retry: RetryConfig;
  readonly resume: ResumeConfig;
  /** 0: as many as there are cores and the window can feed. */
  readonly workers: number;
}

/** What a progress display is told of a run. */
export type BackupStage =
  | { readonly stage: "connecting" }
  | { readonly stage: "retrying"; readonly failure: Failure; readonly delayMs: number }
  | { readonly stage: "queued"; readonly position: number }
  | {
      readonly stage: "running";
      /** Totals of the entry's last committed session, 0 when there was none. */
      readonly lastEntries: number;
      readonly lastRawBytes: number;
      readonly progress: () => SessionProgress;
    };

/** Totals over the sessions of one run, for the result of a run that failed. */
interface Tally {
  session: string | undefined;
  last: SessionProgress | undefined;
  problems: Problem[];
  problemCount: number;
}

export async function runBackup(
  deps: BackupDeps,
  plan: BackupPlan,
  signal: AbortSignal,
  onStage: (stage: BackupStage) => void,
): Promise<BackupResult> {
  const startedAtMs = deps.clock.now();
  const tally: Tally = { session: undefined, last: undefined, problems: [], problemCount: 0 };
  let end: SessionEnd | undefined;
  let failure: Failure | undefined;
  try {
    deps.checkSources(plan.entry);
    end = await runSessions(deps, plan, tally, signal, onStage);
  } catch (error) {
    failure = toFailure(error);
    if (failure.code === "E_INTERNAL") deps.log.error("internal error", { error: failure.cause ?? failure });
  }
  return {
    backup: plan.entry.name,
    storage: plan.entry.storage,
    session: tally.session,
    result: end === undefined ? "failed" : "committed",
    archive: end?.committed.archive,
    sha256: end === undefined ? undefined : Buffer.from(end.committed.sha256).toString("hex"),
    entries: end?.summary.entries ?? tally.last?.entries ?? 0,
    rawBytes: end?.summary.rawBytes ?? tally.last?.rawBytes ?? 0,
    archiveBytes: end?.committed.bytes ?? tally.last?.storedBytes ?? 0,
    resentBytes: tally.last?.resentBytes ?? 0,
    reconnects: tally.last?.reconnects ?? 0,
    problems: tally.problems,
    problemCount: end?.summary.problemCount ?? tally.problemCount,
    removed: end?.committed.removed ?? [],
    durationMs: deps.clock.now() - startedAtMs,
    failure,
  };
}

/** Sessions one after another until one is committed; a session that is lost on the server is begun anew. */
async function runSessions(
  deps: BackupDeps,
  plan: BackupPlan,
  tally: Tally,
  signal: AbortSignal,
  onStage: (stage: BackupStage) => void,
): Promise<SessionEnd> {
  for (let attempt = 0; ; attempt += 1) {
    tally.problems = [];
    tally.problemCount = 0;
    const session = await admittedSession(deps, plan, tally, signal, onStage);
    tally.session = session.session.id;
    try {
      return await session.run;
    } catch (error) {
      const failure = toFailure(error);
      if (signal.aborted || !failure.retryable || attempt + 1 >= plan.retry.maxAttempts) throw failure;
      const delayMs = failure.retryAfterMs ?? backoffDelayMs(plan.retry, attempt, deps.random.unit());
      deps.log.warn("session lost, the backup begins again", { code: failure.code, reason: failure.message, delayMs });
      onStage({ stage: "retrying", failure, delayMs });
      await sleep(deps.clock, delayMs, signal);
      if (signal.aborted) throw new Failure("E_INTERRUPTED", "interrupted");
    } finally {
      tally.last = session.session.progress();
      await session.producer.stop();
    }
  }
}

interface RunningSession {
  readonly session: AgentSession;
  readonly run: Promise<SessionEnd>;
  readonly producer: Producer;
}

async function admittedSession(
  deps: BackupDeps,
  plan: BackupPlan,
  tally: Tally,
  signal: AbortSignal,
  onStage: (stage: BackupStage) => void,
): Promise<RunningSession> {
  const { entry, resume, retry } = plan;
  let running: RunningSession | undefined;
  let refused: unknown;
  onStage({ stage: "connecting" });
  await requestSession(
    deps,
    {
      begin: {
        backup: entry.name,
        storage: entry.storage,
        estimateBytes: 0,
        chunkBytes: resume.chunkBytes ?? 0,
        windowBytes: resume.bufferBytes,
        parallels: entry.parallels,
      },
      retry: { ...retry, attemptsMax: retry.maxAttempts },
    },
    {
      queued: (position) => {
        deps.log.info("waiting in the server's queue", { backup: entry.name, position });
        onStage({ stage: "queued", position });
      },
      retrying: (failure, delayMs) => {
        deps.log.warn("no session yet, trying again", {
          backup: entry.name,
          code: failure.code,
          reason: failure.message,
          delayMs: Math.round(delayMs),
        });
        onStage({ stage: "retrying", failure, delayMs });
      },
      admitted: (link, admitted) => {
        try {
          running = startSession(deps, plan, tally, link, admitted, signal);
        } catch (error) {
          refused = error;
          const failure = toFailure(error);
          link.send("disown", { code: failure.code, message: failure.message });
          link.end();
        }
      },
    },
    { signal },
  );
  if (running === undefined) throw refused;
  const { session } = running;
  onStage({ stage: "running", ...lastTotals(session), progress: () => session.progress() });
  return running;
}

function lastTotals(session: AgentSession): { lastEntries: number; lastRawBytes: number } {
  return { lastEntries: session.admitted.lastEntries, lastRawBytes: session.admitted.lastRawBytes };
}

function startSession(
  deps: BackupDeps,
  plan: BackupPlan,
  tally: Tally,
  link: FrameLink,
  admitted: Message<"admitted">,
  signal: AbortSignal,
): RunningSession {
  const { entry, resume } = plan;
  const chunkBytesMax = admitted.chunkBytes + CHUNK_RECORDS_BYTES_MAX;
  const workers = workerCount(plan.workers, deps.cores, resume.bufferBytes, admitted.chunkBytes);
  const producer = deps.makeProducer({
    entry,
    compression: admitted.compression,
    chunkBytes: admitted.chunkBytes,
    workers,
  });
  const session = new AgentSession({
    deps,
    admitted,
    link,
    producer,
    throttle: new Throttle(deps.clock, entry.bandwidthLimitBytesPerSecond),
    windowBytes: resume.bufferBytes,
    streams: streamCount(entry.parallels, resume.bufferBytes, chunkBytesMax),
    backoff: plan.retry,
    giveUpAfterMs: resume.giveUpAfterMs,
    onProblems: (problems) => {
      tally.problemCount += problems.length;
      const room = PROBLEM_NAMES_MAX - tally.problems.length;
      if (room > 0) tally.problems.push(...problems.slice(0, room));
    },
  });
  deps.log.info("session admitted", {
    backup: entry.name,
    session: session.id,
    archive: admitted.archive,
    compression: admitted.compression,
    workers,
  });
  const run = session.run(signal);
  // It is awaited a few turns later; until then a rejection must not count as unhandled.
  run.catch(() => undefined);
  return { session, run, producer };
}

/** Compress threads: what was asked for, which must fit the window; else the cores, as many as the window can feed. */
export function workerCount(asked: number, cores: number, bufferBytes: number, chunkBytes: number): number {
  const workers = asked === 0 ? cores : asked;
  for (let fitting = workers; fitting >= 1; fitting -= 1) {
    if (bufferBytesMin(fitting, chunkBytes) > bufferBytes) continue;
    if (asked !== 0 && fitting !== asked) break;
    return fitting;
  }
  const least = bufferBytesMin(asked === 0 ? 1 : asked, chunkBytes);
  throw new Failure(
    "E_WINDOW_SIZE",
    `resume.buffer_size is ${bufferBytes} bytes, ${least} are needed with ${asked === 0 ? 1 : asked} workers and chunks of ${chunkBytes} bytes`,
  );
}
