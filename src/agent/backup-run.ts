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
import { type Compression, NO_SOCKETS, type Problem } from "#base/chunk.ts";
import { sleep } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { BackupEntryConfig, ResumeConfig, RetryConfig } from "#config/types.ts";
import type { SessionLogs } from "#observe/session-log.ts";
import { HOLD_REASON_CHARS_MAX } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import { type AdmissionDeps, requestSession } from "./admission.ts";
import type { FrameLink } from "./frame-link.ts";
import { isDeferral } from "./deferral.ts";
import { FreshProducer } from "./fresh-producer.ts";
import type { Producer } from "./producer.ts";
import { type BackupResult, PROBLEM_NAMES_MAX } from "./result.ts";
import type { Bandwidth } from "./bandwidth.ts";
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
  readonly checkSources: (entry: BackupEntryConfig, signal: AbortSignal) => void | Promise<void>;
  /** Keeps a log of each session; undefined: nobody does. */
  readonly sessionLogs?: Pick<SessionLogs, "begin" | "end"> | undefined;
  /** Cores that the process may use, at most 8. */
  readonly cores: number;
}

export interface BackupPlan {
  readonly entry: BackupEntryConfig;
  readonly retry: RetryConfig;
  /** A session is asked for until then however often that is, if trying again can help; undefined: as often as `retry` says. */
  readonly patienceMs?: number | undefined;
  readonly resume: ResumeConfig;
  /** 0: as many as there are cores and the window can feed. */
  readonly workers: number;
  /** Stay until the server has verified what it committed, where it does that. */
  readonly waitVerify: boolean;
  /** Holds the streams to what is configured at each moment; undefined: to `bandwidthLimitBytesPerSecond` of the entry. */
  readonly bandwidth?: Bandwidth | undefined;
  /** Looks at the sources: why the server is to remove no older archive for this run; undefined: rotation as always. */
  readonly holdRotation?: (() => Promise<string | undefined>) | undefined;
}

/** What a progress display is told of a run. */
export type BackupStage =
  | { readonly stage: "connecting" }
  | { readonly stage: "retrying"; readonly failure: Failure; readonly delayMs: number }
  | { readonly stage: "queued"; readonly position: number }
  /** The server has no time now, and said when to come again. */
  | { readonly stage: "deferred"; readonly failure: Failure; readonly delayMs: number }
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
    await deps.checkSources(plan.entry, signal);
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
    sockets: end?.summary.sockets ?? NO_SOCKETS,
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
    // An administrator's order is no failure, and each one is given by a person: it uses up nothing.
    const deferred = isDeferral(failure);
    const attempt = deferred ? 0 : retries.next(failure.code, tally.last?.durableBytes ?? 0);
    if (attempt === undefined) throw failure;
    const delayMs = retryDelayMs(plan.retry, failure, attempt, deps.random.unit());
    const { code, message } = failure;
    deps.log.warn("session lost, the backup begins again", { code, reason: message, delayMs: Math.round(delayMs) });
    onStage({ stage: deferred ? "deferred" : "retrying", failure, delayMs });
    await sleep(deps.clock, delayMs, signal);
    if (signal.aborted) throw new Failure("E_INTERRUPTED", "interrupted");
  }
}

/** How the session ended; its threads are gone by then. */
async function sessionEnd(running: RunningSession, tally: Tally): Promise<SessionEnd | Failure> {
  const { session, run, producer, release } = running;
  tally.session = session.id;
  let failure: Failure | undefined;
  try {
    const end = await run;
    // There is an archive, and who waited for its verification hears that it is none to rely on.
    failure = end.verify.failure;
    return end;
  } catch (error) {
    failure = toFailure(error);
    return failure;
  } finally {
    release(failure);
    tally.last = session.progress();
    await producer.stop();
  }
}

interface RunningSession {
  readonly session: AgentSession;
  readonly run: Promise<SessionEnd>;
  readonly producer: Producer;
  /** Lets go of what watched over it while it ran; `failure`: why there is no archive, or no good one. */
  readonly release: (failure: Failure | undefined) => void;
}

async function admittedSession(
  deps: BackupDeps,
  plan: BackupPlan,
  tally: Tally,
  signal: AbortSignal,
  onStage: (stage: BackupStage) => void,
): Promise<RunningSession> {
  const { entry, resume, retry } = plan;
  const hold = await plan.holdRotation?.();
  const lookedAtMs = deps.clock.now();
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
        ...(hold === undefined ? {} : { holdRotation: holdReason(hold) }),
      },
      retry: { ...retry, attemptsMax: retry.maxAttempts, patienceMs: plan.patienceMs },
      deferredMsMax: resume.giveUpAfterMs,
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
      deferred: (failure, delayMs) => {
        const { code, message: reason } = failure;
        deps.log.info("the server wants this later", {
          backup: entry.name,
          code,
          reason,
          delayMs: Math.round(delayMs),
        });
        onStage({ stage: "deferred", failure, delayMs });
      },
      admitted: (link, admitted) => {
        const late = deps.clock.now() - lookedAtMs > LOOK_FRESH_MS;
        const lookAgain = late ? () => stillAsSaid(deps, plan, hold, signal) : undefined;
        started = startSession(deps, plan, tally, { link, admitted, lookAgain }, signal);
      },
    },
    {
      signal,
      // Data goes over this connection when there are no streams.
      dscp: entry.parallels === 0 ? entry.dscp : undefined,
      pingFacts: () => {
        const { entries, rawBytes } = started?.producer.progress() ?? {};
        return { entries, rawBytes };
      },
    },
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

/** Sources that were looked at longer ago when a session is admitted are looked at again before anything is read. */
const LOOK_FRESH_MS = 60_000;

/** Rejects when the sources are not what Begin said of them; with E_DISOWNED the session is asked for again, and the server told. */
async function stillAsSaid(
  deps: BackupDeps,
  plan: BackupPlan,
  hold: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  await deps.checkSources(plan.entry, signal);
  const now = await plan.holdRotation?.();
  if (now === undefined || hold !== undefined) return;
  throw new Failure("E_DISOWNED", `the sources changed while the run waited to be admitted: ${now}`);
}

interface Admission {
  readonly link: FrameLink;
  readonly admitted: Message<"admitted">;
  /** Before anything is read; undefined: the last look is fresh. */
  readonly lookAgain: (() => Promise<void>) | undefined;
}

function startSession(
  deps: BackupDeps,
  plan: BackupPlan,
  tally: Tally,
  { link, admitted, lookAgain }: Admission,
  signal: AbortSignal,
): RunningSession {
  const { entry, resume, bandwidth } = plan;
  checkChunkBytes(resume.chunkBytes, admitted.chunkBytes);
  const limit = bandwidth === undefined ? entry.bandwidthLimitBytesPerSecond : bandwidth.bytesPerSecond;
  const limitBytesPerSecond = bandwidth === undefined ? limit : bandwidth.lowestBytesPerSecond;
  const throttle = new Throttle(deps.clock, limit);
  const { session: id } = admitted;
  const log = deps.log.child({ session: id });
  const chunkBytesMax = admitted.chunkBytes + CHUNK_RECORDS_BYTES_MAX;
  const workers = workerCount(plan.workers, deps.cores, resume.bufferBytes, admitted.chunkBytes);
  const made = deps.makeProducer({
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
  const producer = lookAgain === undefined ? made : new FreshProducer(made, lookAgain);
  const session = new AgentSession({
    deps: { ...deps, log },
    admitted,
    link,
    producer,
    throttle,
    windowBytes: resume.bufferBytes,
    streams: streamCount(entry.parallels, { windowBytes: resume.bufferBytes, chunkBytesMax, limitBytesPerSecond }),
    dscp: entry.dscp,
    autoScaler: entry.autoScaler,
    portRotation: entry.portRotation,
    backoff: plan.retry,
    giveUpAfterMs: resume.giveUpAfterMs,
    waitVerify: plan.waitVerify,
    onProblems: (problems) => {
      tally.problemCount += problems.length;
      const room = PROBLEM_NAMES_MAX - tally.problems.length;
      if (room > 0) tally.problems.push(...problems.slice(0, room));
    },
  });
  // From here on nothing throws: who begins a log ends it.
  deps.sessionLogs?.begin({ session: id, agent: deps.identity.agent, backup: entry.name });
  log.info("session admitted", {
    backup: entry.name,
    session: id,
    archive: admitted.archive,
    compression: admitted.compression,
    workers,
  });
  const run = session.run(signal);
  // It is awaited a few turns later; until then a rejection must not count as unhandled.
  run.catch(() => undefined);
  bandwidth?.hold(throttle);
  return {
    session,
    run,
    producer,
    release: (failure) => {
      bandwidth?.release();
      const { code, message: reason } = failure ?? {};
      log.debug(failure === undefined ? "the session ended well" : "the session did not end well", {
        code,
        reason,
      });
      deps.sessionLogs?.end(id, failure === undefined ? "good" : "failed");
    },
  };
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
