/** verify: archives read to their end, one after another; each is reported when it is done. */
import type { VerifyRequest } from "#cli/verify-command.ts";
import { EXIT, worstExit } from "#cli/exit-codes.ts";
import { damagesText, verifyExit, verifyJson, type VerifyReport, verifyText } from "#cli/restore-report.ts";
import { verifyArchive } from "#restore/job-runner.ts";
import { withProgress } from "./archive-jobs.ts";
import { type ArchiveTarget, findArchives } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";
import { attempted } from "./failures.ts";

export async function runVerify(request: VerifyRequest, context: CommandContext): Promise<number> {
  const { stdout, stderr, signal } = context;
  const targets = await findArchives(request.archive, context);
  const exits: number[] = [];
  for (const target of targets) {
    if (signal.aborted) break;
    // One that cannot be opened does not keep the others from being looked at.
    const report = await attempted(targets.length > 1, stderr, () => verifyOne(target, request, context));
    if (report === undefined) {
      exits.push(EXIT.failed);
      continue;
    }
    stderr.write(damagesText(report.damaged, report.damagedCount));
    await stdout.write(request.json ? verifyJson(report) : verifyText(report));
    exits.push(verifyExit(report));
  }
  return signal.aborted ? EXIT.interrupted : worstExit(exits);
}

async function verifyOne(
  target: ArchiveTarget,
  request: VerifyRequest,
  context: CommandContext,
): Promise<VerifyReport> {
  const { clock } = context;
  const opened = await target.open();
  try {
    const startedMs = clock.now();
    const { verification, aborted } = await withProgress(request.progress, "verifying", context, (deps) =>
      verifyArchive(opened.archive, target.sha256, deps),
    );
    return {
      ...verification,
      archive: target.name,
      interrupted: aborted,
      durationMs: clock.now() - startedMs,
    };
  } finally {
    await opened.close();
  }
}
