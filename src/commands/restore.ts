/** restore: from a request to a tree on the disk, or a tar on standard output, a report and an exit status. */
import { mkdirSync } from "node:fs";
import type { IndexReader } from "#archive/index-reader.ts";
import { must } from "#base/assert.ts";
import { errnoName, Failure } from "#base/errors.ts";
import type { RestoreRequest } from "#cli/restore-command.ts";
import {
  damagesText,
  type RestoreReport,
  restoreExit,
  restoreJson,
  restoreProblemsText,
  restoreText,
  sumText,
} from "#cli/restore-report.ts";
import { deletionRules } from "#restore/deletion.ts";
import { planFor } from "#restore/index-plan.ts";
import { runArchiveJob } from "#restore/job-runner.ts";
import type { JobResult } from "#restore/run.ts";
import type { RestoreJob, TarJob } from "#restore/tar-job.ts";
import { indexFaultText, openWithIndex, withProgress } from "./archive-jobs.ts";
import { findArchive } from "./archive-target.ts";
import { type CommandContext, STDOUT_FD } from "./command-context.ts";
import { type AskedPath, isOneThere, pathsUnknown } from "./unknown-paths.ts";

/** A filesystem's clock may stand a little behind this one. */
const CLOCK_SLACK_S = 2;
/** Of an archive that was named by its file. */
const NO_RECORD = { problems: undefined };

export async function runRestore(request: RestoreRequest, context: CommandContext): Promise<number> {
  const { clock, stdout, stderr } = context;
  const target = await findArchive(request.archive, context, { facts: request.deletes });
  const indexed = await openWithIndex(target);
  try {
    const startedMs = clock.now();
    const paths = request.paths.map((path) => context.argumentBytes(path));
    const asked = request.paths.map((text, i) => ({ text, bytes: must(paths[i], "its bytes") }));
    const plan = await planFor(indexed, paths);
    if (await hasNone(plan.index, asked)) throw await pathsUnknown(asked, target.name, plan.index);
    const deleteExcept =
      request.deletes && request.to !== undefined
        ? await deletionRules(plan, paths, target.row ?? NO_RECORD, request.to)
        : undefined;
    if (request.to !== undefined && !request.dryRun) makeTarget(request.to);
    const job: TarJob =
      request.to === undefined
        ? { kind: "copy", paths, fd: STDOUT_FD }
        : { ...restoreJob(request, context), paths, target: context.argumentBytes(request.to), deleteExcept };
    const result = await withProgress(request.progress, "restoring", context, (deps) =>
      runArchiveJob(indexed.archive, job, deps, plan, target.sha256),
    );
    stderr.write(indexFaultText(target, result.indexFault));
    const report = reportOf(target.name, request, result, clock.now() - startedMs);
    if (foundNone(report, asked)) {
      stderr.write(`${damagesText(report.damages, report.damageCount)}${sumText(report)}`);
      const where = report.damageCount > 0 ? `what can be read of ${target.name}` : target.name;
      throw await pathsUnknown(asked, where, undefined);
    }
    stderr.write(restoreProblemsText(report));
    if (request.to !== undefined) await stdout.write(request.json ? restoreJson(report) : restoreText(report));
    return restoreExit(report);
  } finally {
    await indexed.close();
  }
}

/** By the index, before anything is done. One that turns out to be damaged does not tell: the archive will. */
async function hasNone(index: IndexReader | undefined, asked: readonly AskedPath[]): Promise<boolean> {
  if (index === undefined || asked.length === 0) return false;
  try {
    return !(await isOneThere(index, asked));
  } catch (error) {
    if (error instanceof Failure && error.code === "E_INDEX_DAMAGED") return false;
    throw error;
  }
}

/** By the archive, where no index told. What lay in a damaged part of it goes by another reason. */
function foundNone({ problems, interrupted }: RestoreReport, asked: readonly AskedPath[]): boolean {
  if (asked.length === 0 || interrupted) return false;
  return problems.filter(({ reason }) => reason === "not-in-archive").length === asked.length;
}

function restoreJob(
  { overwrite, stripComponents, dryRun, owners }: RestoreRequest,
  { clock, random, user }: CommandContext,
): Omit<RestoreJob, "paths" | "target" | "deleteExcept"> {
  return {
    ...{ kind: "restore", overwrite, stripComponents, dryRun, owners },
    ...{ privileged: user.uid === 0, uid: user.uid, gids: user.gids },
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

function reportOf(
  archive: string,
  request: RestoreRequest,
  { report, aborted, sumDiffers }: JobResult,
  durationMs: number,
): RestoreReport {
  const { to: target, dryRun } = request;
  const { counts, problems, problemCount, damages, damageCount, replacedLinks, replacedLinkCount } = report;
  return {
    ...{ replacedLinks, replacedLinkCount, sumDiffers },
    ...{ archive, target, dryRun, interrupted: aborted, problems, problemCount, damages, damageCount, durationMs },
    ...counts,
  };
}
