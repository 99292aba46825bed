/** restore, verify and cat of an archive in a file of this machine: from a request to a report and an exit status. */
import { mkdirSync, readFileSync } from "node:fs";
import { automaticWorkers } from "#agent/pipeline-cores.ts";
import type { Clock } from "#base/clock.ts";
import { errnoName, Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { ProgressDisplay } from "#cli/progress-display.ts";
import type { RestoreRequest, VerifyRequest } from "#cli/restore-command.ts";
import {
  damagesText,
  type RestoreReport,
  restoreExit,
  restoreJson,
  restoreProblemsText,
  restoreText,
  verifyExit,
  verifyJson,
  verifyText,
} from "#cli/restore-report.ts";
import { openArchiveFile } from "#restore/file-access.ts";
import { type JobDeps, type JobProgress, runArchiveJob, verifyArchive } from "#restore/job-runner.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import type { RunResult } from "#restore/run.ts";
import type { RestoreJob } from "#restore/tar-job.ts";
import { parseSum } from "#restore/verify.ts";

export interface ArchiveTools {
  readonly spawn: SpawnRestoreThread;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly stdout: (text: string) => void;
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number };
}

const STDOUT_FD = 1;
/** A filesystem's clock may stand a little behind this one. */
const CLOCK_SLACK_S = 2;
const NO_PATH = new Uint8Array(0);

export async function restoreFile(request: RestoreRequest, tools: ArchiveTools): Promise<number> {
  const access = openArchiveFile(request.archive);
  const startedMs = tools.clock.now();
  const paths = request.paths.map((path) => Buffer.from(path));
  const { result, stop } = await withProgress(request.progress, "restoring", tools, async (deps) => {
    if (request.to === undefined) return await runArchiveJob(access, { kind: "copy", paths, fd: STDOUT_FD }, deps);
    if (!request.dryRun) makeTarget(request.to);
    return await runArchiveJob(access, restoreJob(request, paths, request.to, tools), deps);
  });
  stop();
  await access.close();
  const report = reportOf(request, result, tools.clock.now() - startedMs);
  tools.stderr.write(restoreProblemsText(report));
  if (request.to !== undefined) tools.stdout(request.json ? restoreJson(report) : restoreText(report));
  return restoreExit(report);
}

export async function catFile(archive: string, path: string, tools: ArchiveTools): Promise<number> {
  const access = openArchiveFile(archive);
  const deps = jobDeps(tools);
  const { report, aborted } = await runArchiveJob(
    access,
    { kind: "cat", path: Buffer.from(path), fd: STDOUT_FD },
    deps,
  );
  await access.close();
  tools.stderr.write(damagesText(report.damages, report.damageCount));
  if (aborted) return EXIT.interrupted;
  return report.problemCount > 0 ? EXIT.partial : EXIT.done;
}

export async function verifyFile(request: VerifyRequest, tools: ArchiveTools): Promise<number> {
  const access = openArchiveFile(request.archive);
  const startedMs = tools.clock.now();
  const { result, stop } = await withProgress(request.progress, "verifying", tools, (deps) =>
    verifyArchive(access, expectedSum(request.archive), deps),
  );
  stop();
  await access.close();
  const { verification, aborted } = result;
  const durationMs = tools.clock.now() - startedMs;
  const report = { ...verification, archive: request.archive, interrupted: aborted, durationMs };
  tools.stderr.write(damagesText(report.damaged, report.damagedCount));
  tools.stdout(request.json ? verifyJson(report) : verifyText(report));
  return verifyExit(report);
}

function restoreJob(
  request: RestoreRequest,
  paths: readonly Uint8Array[],
  target: string,
  { clock, random }: ArchiveTools,
): RestoreJob {
  const uid = process.geteuid?.() ?? 0;
  return {
    kind: "restore",
    target: Buffer.from(target),
    paths,
    ...{ overwrite: request.overwrite, stripComponents: request.stripComponents },
    ...{ dryRun: request.dryRun, owners: request.owners, deleteExcept: undefined },
    ...{ privileged: uid === 0, uid, gids: [process.getegid?.() ?? 0, ...(process.getgroups?.() ?? [])] },
    temporaryName: `.nbackup-${Buffer.from(random.bytes(8)).toString("hex")}.tmp`,
    startedSeconds: Math.floor(clock.wall() / 1000) - CLOCK_SLACK_S,
  };
}

function makeTarget(target: string): void {
  try {
    mkdirSync(target, { recursive: true });
  } catch (error) {
    throw unmade(target, error);
  }
}

function unmade(target: string, cause: unknown): Failure {
  const errno = errnoName(cause) ?? String(cause);
  return new Failure("E_TARGET", `${target}: the directory cannot be made (${errno})`, { cause });
}

function reportOf(request: RestoreRequest, { report, aborted }: RunResult, durationMs: number): RestoreReport {
  const { archive, to: target, dryRun } = request;
  const { counts, problems, problemCount, damages, damageCount } = report;
  return {
    ...{ archive, target, dryRun, interrupted: aborted, problems, problemCount, damages, damageCount, durationMs },
    ...counts,
  };
}

/** An archive without the file is none the worse. */
function expectedSum(archive: string): string | undefined {
  try {
    return parseSum(readFileSync(`${archive}.sha256`, "utf8"));
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
}

function jobDeps({ spawn, signal }: ArchiveTools): JobDeps {
  return { spawn, signal, cores: automaticWorkers(readTextFile) };
}

function readTextFile(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
}

/** Runs the work with a display beside it, if one is wanted; `stop` leaves a clean line behind. */
async function withProgress<T>(
  wanted: boolean,
  what: string,
  tools: ArchiveTools,
  work: (deps: JobDeps) => Promise<T>,
): Promise<{ readonly result: T; readonly stop: () => void }> {
  const { clock, stderr } = tools;
  const startedMs = clock.now();
  let display: ProgressDisplay | undefined;
  const onStart = (progress: () => JobProgress): void => {
    display = new ProgressDisplay({
      clock,
      write: (text) => stderr.write(text),
      columns: stderr.isTTY === true ? () => stderr.columns ?? 80 : undefined,
      figures: () => {
        const now = progress();
        return {
          phase: { kind: "reading", what },
          elapsedMs: clock.now() - startedMs,
          entries: now.entries,
          rawBytes: now.archiveBytes,
          rawBytesTotalEstimate: now.archiveBytesTotal,
          ...{ sentBytes: 0, ackedBytes: 0, retries: 0, streams: 0 },
          currentPath: now.path ?? NO_PATH,
        };
      },
    });
  };
  const stop = (): void => display?.stop();
  try {
    return { result: await work({ ...jobDeps(tools), ...(wanted ? { onStart } : {}) }), stop };
  } catch (error) {
    stop();
    throw error;
  }
}
