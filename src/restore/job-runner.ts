/**
 * Jobs over an archive: what restore, cat and verify of both programs come down to. A plan (index-plan.ts) says what to read; without one
 * the archive's own structure says where its chunks are. A verification is one pass over all of it, and a second one without the index
 * where the two disagree.
 */
import { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import { nameDamages } from "./damage-names.ts";
import { IndexAgreement } from "./index-agreement.ts";
import type { IndexedArchive } from "./index-open.ts";
import { type JobPlan, planFor } from "./index-plan.ts";
import { type JobDeps, runPlan } from "./job-pass.ts";
import type { JobResult, RunResult } from "./run.ts";
import type { TarJob } from "./tar-job.ts";
import { FlatHash, type IndexVerdict, type Verification, verification } from "./verify.ts";

export type { JobDeps, JobProgress } from "./job-pass.ts";

/**
 * `chosen`: what planFor gave; without it all of the archive is read by its own structure. `expected`: the SHA-256 stored beside the archive, which
 * is compared where no index is a witness of the chunks.
 */
export async function runArchiveJob(
  access: ArchiveAccess,
  job: TarJob,
  deps: JobDeps,
  chosen?: JobPlan,
  expected?: string,
): Promise<JobResult> {
  const plan = chosen ?? (await planFor(withoutIndex(access), []));
  if (plan.index !== undefined || expected === undefined) {
    return await named((await runPlan(access, job, deps, plan)).result, plan);
  }
  const hash = new FlatHash();
  const stored = (bytes: Uint8Array, offset: number): void => hash.add(bytes, offset);
  const { result } = await runPlan(access, job, deps, plan, { stored });
  const sum = result.aborted ? undefined : hash.whole(access.size);
  return { ...(await named(result, plan)), sumDiffers: sum !== undefined && sum !== expected };
}

function withoutIndex(archive: ArchiveAccess): IndexedArchive {
  return { archive, index: undefined, warning: undefined };
}

/** With the names of what damage hits, and what was found against the index. */
async function named(result: RunResult, { index, trust }: JobPlan): Promise<JobResult> {
  const believed = index !== undefined && trust.fault === undefined;
  const report = believed ? await nameDamages(result.report, index) : result.report;
  return { ...result, report, indexFault: trust.fault, sumDiffers: false };
}

export interface VerifyResult {
  readonly verification: Verification;
  readonly aborted: boolean;
}

/**
 * `expected`: the SHA-256 stored beside the archive. `chosen`: what planToVerify gave; without it the archive is verified by its own
 * structure. Throws the disk's error when the archive cannot be read at all.
 */
export async function verifyArchive(
  access: ArchiveAccess,
  expected: string | undefined,
  deps: JobDeps,
  chosen?: JobPlan,
): Promise<VerifyResult> {
  const plan = chosen ?? (await planFor(withoutIndex(access), []));
  const hash = new FlatHash();
  const first = await look(access, deps, plan, (bytes, offset) => hash.add(bytes, offset));
  const sha256 = await hash.finish(access, deps.signal);
  const accused = first.result.aborted ? undefined : accusation(first.result, plan, sha256 === expected);
  const again = accused === undefined ? undefined : await planWithoutIndex(access);
  if (accused === undefined || again === undefined) {
    const { report, aborted } = first.result;
    return {
      verification: verification(report, first.chunks, access.size, { sha256, expected }, first.index),
      aborted,
    };
  }
  // What the table called damage has not been decompressed.
  const { result, chunks } = await look(access, deps, again);
  const { report, aborted } = result;
  // Without a sum to compare with, an archive that is whole by gzip's own checksums has no damage that anybody could tell.
  const isWhole = sha256 === expected || (expected === undefined && report.damageCount === 0);
  const index: IndexVerdict = isWhole ? { state: "damaged", message: accused } : first.index;
  const [told, count] = isWhole ? [report, chunks] : [first.result.report, first.chunks];
  return { verification: verification(told, count, access.size, { sha256, expected }, index), aborted };
}

/** Undefined when the archive does not begin as one, so that only an index can find its way in it. */
async function planWithoutIndex(access: ArchiveAccess): Promise<JobPlan | undefined> {
  try {
    return await planFor(withoutIndex(access), []);
  } catch (error) {
    if (error instanceof Failure && error.code === "E_ARCHIVE_FOREIGN") return undefined;
    throw error;
  }
}

interface Look {
  readonly result: JobResult;
  readonly chunks: number;
  readonly index: IndexVerdict;
}

async function look(
  access: ArchiveAccess,
  deps: JobDeps,
  plan: JobPlan,
  stored?: (bytes: Uint8Array, offset: number) => void,
): Promise<Look> {
  const agreement = plan.index === undefined ? undefined : new IndexAgreement(plan.index);
  const job = { kind: "verify", compare: agreement !== undefined } as const;
  const { result, chunks } = await runPlan(access, job, deps, plan, {
    agreement,
    ...(stored === undefined ? {} : { stored }),
  });
  if (!result.aborted) await agreement?.finish();
  return { result: await named(result, plan), chunks, index: verdict(plan, result, agreement) };
}

function verdict({ trust }: JobPlan, { report }: Pick<JobResult, "report">, agreement?: IndexAgreement): IndexVerdict {
  if (trust.fault !== undefined) return { state: "damaged", message: trust.fault.message };
  if (agreement === undefined) return { state: "none" };
  if (agreement.fault === undefined) return { state: "agrees" };
  const isTarBroken = report.damages.some(({ fault }) => fault === "tar");
  return isTarBroken ? { state: "unchecked" } : { state: "damaged", message: agreement.fault.message };
}

/**
 * A sentence when chunks have other checksums than the index says, but nothing else says that the archive is not what it was: its own
 * SHA-256 is right, or there is none to compare with and gzip's checksums may still be.
 */
function accusation({ report }: JobResult, { index }: JobPlan, isSumRight: boolean): string | undefined {
  const [first] = report.damages;
  const onlySums = report.damages.every(({ fault }) => fault === "crc" || fault === "digest");
  if (index === undefined || first === undefined || !onlySums) return undefined;
  if (!isSumRight && index.header.compression.mode !== "gzip") return undefined;
  const which =
    report.damageCount === 1 ? `chunk ${first.chunk}` : `${report.damageCount} chunks, the first ${first.chunk},`;
  const why = isSumRight ? "whose SHA-256 is right" : "which can be decompressed all the same";
  return `${which} of the index ${report.damageCount === 1 ? "has" : "have"} other checksums than the archive, ${why}`;
}
