/** verify: archives read to their end, one after another; each is reported when it is done. */
import { statSync } from "node:fs";
import { failureText } from "#cli/failure-text.ts";
import type { VerifyRequest } from "#cli/verify-command.ts";
import { EXIT, worstExit } from "#cli/exit-codes.ts";
import {
  damagesText,
  indexDamageText,
  verifyExit,
  verifyJson,
  type VerifyReport,
  verifyText,
} from "#cli/restore-report.ts";
import { judgeArchive } from "#restore/judge.ts";
import type { Verification } from "#restore/verify.ts";
import { withProgress } from "./archive-jobs.ts";
import { type ArchiveTarget, findArchives } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";
import { attempted } from "./failures.ts";

export async function runVerify(request: VerifyRequest, context: CommandContext): Promise<number> {
  const { stdout, stderr, signal } = context;
  const { targets, incomplete } = await findArchives(request.archive, context);
  // What nobody could look at is not known to be well.
  const exits: number[] = incomplete ? [EXIT.failed] : [];
  for (const target of targets) {
    if (signal.aborted) break;
    // One that cannot be opened does not keep the others from being looked at.
    const report = await attempted(targets.length > 1 ? target.name : undefined, stderr, () =>
      verifyOne(target, request, context),
    );
    if (report === undefined) {
      exits.push(EXIT.failed);
      continue;
    }
    stderr.write(indexDamageText(report));
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
  // Before it is opened: if another file takes the name meanwhile, what is found is not kept for that one.
  const read = target.file === undefined ? undefined : statSync(target.file, { throwIfNoEntry: false });
  const { archive, index, close } = await target.open();
  try {
    const startedMs = clock.now();
    const { verification, aborted } = await withProgress(request.progress, "verifying", context, (deps) =>
      judgeArchive({ archive, index, sha256: target.sha256, isAnyFile: target.row === undefined }, deps),
    );
    if (read !== undefined && !aborted) await keep(target, read, verification, context);
    return {
      ...verification,
      archive: target.name,
      interrupted: aborted,
      durationMs: clock.now() - startedMs,
    };
  } finally {
    await close();
  }
}

/** Of a good archive it is no harm when nobody may write down that it is; a damaged one would go on counting as good. */
async function keep(
  { row }: ArchiveTarget,
  { size: bytes, mtimeMs }: { readonly size: number; readonly mtimeMs: number },
  verification: Verification,
  { keepVerification, stderr }: CommandContext,
): Promise<void> {
  if (row === undefined || keepVerification === undefined) return;
  try {
    await keepVerification(row, { bytes, mtimeMs }, verification);
  } catch (error) {
    if (!verification.ok) stderr.write(failureText(error));
  }
}
