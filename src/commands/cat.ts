/** cat: one file of an archive to standard output, written by the thread that takes entries. */
import { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { CatRequest } from "#cli/cat-command.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { damagesText, sumText } from "#cli/restore-report.ts";
import { planForFile } from "#restore/index-plan.ts";
import { runArchiveJob } from "#restore/job-runner.ts";
import { indexFaultText, openWithIndex } from "./archive-jobs.ts";
import { findArchive } from "./archive-target.ts";
import { type CommandContext, STDOUT_FD } from "./command-context.ts";

export async function runCat(request: CatRequest, context: CommandContext): Promise<number> {
  const { stderr, spawn, cores, signal } = context;
  const target = await findArchive(request.archive, context);
  const indexed = await openWithIndex(target);
  try {
    const path = context.argumentBytes(request.path);
    const job = { kind: "cat", path, fd: STDOUT_FD } as const;
    const plan = await planForFile(indexed, path);
    const deps = { spawn, cores, signal };
    const result = await runArchiveJob(indexed.archive, job, deps, plan, target.sha256);
    const { report, aborted, indexFault, sumDiffers } = result;
    const { problemCount, damageCount } = report;
    stderr.write(indexFaultText(target, indexFault));
    stderr.write(damagesText(report.damages, damageCount));
    stderr.write(sumText({ archive: target.name, damageCount, sumDiffers }));
    if (aborted) return EXIT.interrupted;
    const reasons = new Set(report.problems.map(({ reason }) => reason));
    if (reasons.has("not-in-archive")) return notThere(request.path, damageCount, stderr);
    if (reasons.has("superseded")) stderr.write(supersededText(request.path));
    // Damage that was found is why the sum differs, and whether it is the file's is known.
    const isDoubtful = sumDiffers && damageCount === 0;
    return problemCount > 0 || isDoubtful ? EXIT.partial : EXIT.done;
  } finally {
    await indexed.close();
  }
}

/** Throws Failure E_PATH_UNKNOWN, unless what is damaged may have been the file. */
function notThere(path: string, damageCount: number, stderr: CommandContext["stderr"]): number {
  const file = safeText(path);
  if (damageCount === 0) throw new Failure("E_PATH_UNKNOWN", `${file}: the archive has no file of that name`);
  stderr.write(`warning: ${file}: what can be read of the archive has no file of that name\n`);
  return EXIT.failed;
}

function supersededText(path: string): string {
  return `warning: ${safeText(path)} is in the archive more than once; this is the first, and a restore takes the last\n`;
}
