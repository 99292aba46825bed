/**
 * One run of one backup entry: sources checked, session asked for, session run, and begun anew as often as `retry` allows
 * when the server lost it. Always ends in a BackupResult, never throws for a fault of the environment.
 */
import {
  bufferBytesMin,
  CHUNK_BYTES_MAX,
  CHUNK_BYTES_MIN,
  CHUNK_BYTES_STEP,
  CHUNK_RECORDS_BYTES_MAX,
} from "#base/chunk-size.ts";
import { must } from "#base/assert.ts";
import type { Compression, Problem } from "#base/chunk.ts";
import { sleep } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { BackupEntryConfig, ResumeConfig, RetryConfig } from "#config/types.ts";
import { HOLD_REASON_CHARS_MAX } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import { type AdmissionDeps, requestSession } from "./admission.ts";
import type { FrameLink } from "./frame-link.ts";
import type { Producer } from "./producer.ts";
import { type BackupResult, PROBLEM_NAMES_MAX } from "./result.ts";
import { AgentSession } from "./session.ts";
import { SessionRetries } from "./session-retries.ts";
import type { SessionEnd, SessionProgress } from "./session-progress.ts";
import { retryDelayMs } from "./retry-delay.ts";
import { streamCount } from "./stream-count.ts";
import { Throttle } from "./throttle.ts";

export interface ProducerOptions {
  readonly entry: BackupEntryConfig;
  readonly compression: Compression;
  readonly chunkBytes: number;
  readonly workers: number;
  /** For the index. */
  readonly run: {
    readonly agent: string;
    readonly session: string;
    /** As the server names it. */
    readonly archive: string;
    readonly startedMs: number;
  };
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
  /** Stay until the server has verified what it committed, where it does that. */
  readonly waitVerify: boolean;
  /** Why the server is to remove no older archive for this run; undefined: rotation as always. */
  readonly holdRotation?: string | undefined;
}

/** What a progress display is told of a run. */
export type BackupStage =
  | { readonly stage: "connecting" }
  | { readonly stage: "retrying"; readonly failure: Failure; readonly delayMs: number }
  | { readonly stage: "queued"; readonly position: number }
  | {
      readonly stage: "running";
      readonly session: string;
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
    verify: end?.verify.state ?? "none",
    durationMs: deps.clock.now() - startedAtMs,
    failure: failure ?? end?.verify.failure,
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
  const retries = new SessionRetries(plan.retry.maxAttempts);
  for (;;) {
    tally.problems = [];
    tally.problemCount = 0;
    const running = await admittedSession(deps, plan, tally, signal, onStage);
    const failure = await sessionEnd(running, tally);
    if (!(failure instanceof Failure)) return failure;
    if (signal.aborted || !failure.retryable) throw failure;
    const attempt = retries.next(failure.code, tally.last?.durableBytes ?? 0);
    if (attempt === undefined) throw failure;
    const delayMs = retryDelayMs(plan.retry, failure, attempt, deps.random.unit());
    const { code, message } = failure;
    deps.log.warn("session lost, the backup begins again", { code, reason: message, delayMs: Math.round(delayMs) });
    onStage({ stage: "retrying", failure, delayMs });
    await sleep(deps.clock, delayMs, signal);
    if (signal.aborted) throw new Failure("E_INTERRUPTED", "interrupted");
  }
}

/** How the session ended; its threads are gone by then. */
async function sessionEnd({ session, run, producer }: RunningSession, tally: Tally): Promise<SessionEnd | Failure> {
  tally.session = session.id;
  try {
    return await run;
  } catch (error) {
    return toFailure(error);
  } finally {
    tally.last = session.progress();
    await producer.stop();
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
  let started: RunningSession | undefined;
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
        ...(plan.holdRotation === undefined ? {} : { holdRotation: holdReason(plan.holdRotation) }),
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
        started = startSession(deps, plan, tally, link, admitted, signal);
      },
    },
    { signal },
  );
  const running = must(started, "session that was admitted");
  const { session } = running;
  const { session: id, lastEntries, lastRawBytes } = session.admitted;
  onStage({ stage: "running", session: id, lastEntries, lastRawBytes, progress: () => session.progress() });
  return running;
}

/** Cut to what the wire takes. */
function holdReason(reason: string): string {
  return reason.length <= HOLD_REASON_CHARS_MAX ? reason : `${reason.slice(0, HOLD_REASON_CHARS_MAX - 1)}…`;
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
  checkChunkBytes(resume.chunkBytes, admitted.chunkBytes);
  const limitBytesPerSecond = entry.bandwidthLimitBytesPerSecond;
  const chunkBytesMax = admitted.chunkBytes + CHUNK_RECORDS_BYTES_MAX;
  const workers = workerCount(plan.workers, deps.cores, resume.bufferBytes, admitted.chunkBytes);
  const producer = deps.makeProducer({
    entry,
    compression: admitted.compression,
    chunkBytes: admitted.chunkBytes,
    workers,
    run: {
      agent: deps.identity.agent,
      session: admitted.session,
      archive: admitted.archive,
      startedMs: Math.floor(deps.clock.wall()),
    },
  });
  const session = new AgentSession({
    deps,
    admitted,
    link,
    producer,
    throttle: new Throttle(deps.clock, limitBytesPerSecond),
    windowBytes: resume.bufferBytes,
    streams: streamCount(entry.parallels, { windowBytes: resume.bufferBytes, chunkBytesMax, limitBytesPerSecond }),
    backoff: plan.retry,
    giveUpAfterMs: resume.giveUpAfterMs,
    waitVerify: plan.waitVerify,
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

/** What was asked for holds; where nothing was, the server's choice must be one that the configuration could have made. */
function checkChunkBytes(asked: number | undefined, answered: number): void {
  const possible = answered >= CHUNK_BYTES_MIN && answered <= CHUNK_BYTES_MAX && answered % CHUNK_BYTES_STEP === 0;
  if (possible && (asked === undefined || asked === answered)) return;
  const wanted = asked === undefined ? "a multiple of 64 KiB up to 16 MiB" : `the ${asked} asked for`;
  throw new Failure("E_PROTOCOL", `the server admits chunks of ${answered} bytes, expected ${wanted}`);
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
