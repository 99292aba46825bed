/** cat: one file of an archive to standard output, written by the thread that takes entries. */
import type { CatRequest } from "#cli/cat-command.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { damagesText } from "#cli/restore-report.ts";
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
    const { report, aborted, indexFault } = await runArchiveJob(indexed.archive, job, deps, plan);
    stderr.write(indexFaultText(target, indexFault));
    stderr.write(damagesText(report.damages, report.damageCount));
    if (aborted) return EXIT.interrupted;
    return report.problemCount > 0 ? EXIT.partial : EXIT.done;
  } finally {
    await indexed.close();
  }
}
