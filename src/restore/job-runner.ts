/**
 * Runs a job over an archive from its beginning to its end, with threads that are started for it: what restore, cat and verify of both
 * programs come down to. Without an index the archive's own structure says where its chunks are.
 */
import type { ArchiveAccess } from "./archive-access.ts";
import { nameDamages } from "./damage-names.ts";
import type { IndexedArchive } from "./index-open.ts";
import { type JobPlan, planFor } from "./index-plan.ts";
import { PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX } from "./piece.ts";
import { RestoreThreads, type SpawnRestoreThread } from "./restore-threads.ts";
import { type JobResult, type Plan, type RunResult, runJob } from "./run.ts";
import { makeSlots } from "./slots.ts";
import type { TarJob, TarProgress } from "./tar-job.ts";
import { FlatHash, type Verification, verification } from "./verify.ts";

export interface JobDeps {
  readonly spawn: SpawnRestoreThread;
  /** Processors to use. */
  readonly cores: number;
  readonly signal: AbortSignal;
  /** Is given a look at the progress that can be asked at any time. */
  readonly onStart?: (progress: () => JobProgress) => void;
}

export interface JobProgress extends TarProgress {
  /** Bytes of the archive read, and all that are to be read for the job. */
  readonly archiveBytes: number;
  readonly archiveBytesTotal: number;
}

/** One being read, one being written, and as many again as threads decompress, so that none ever waits for another. */
function slotCount(inflaters: number): number {
  return 2 * inflaters + 2;
}

/** `chosen`: what planFor gave; without it all of the archive is read by its own structure. */
export async function runArchiveJob(
  access: ArchiveAccess,
  job: TarJob,
  deps: JobDeps,
  chosen?: JobPlan,
): Promise<JobResult> {
  const plan = chosen ?? (await planFor(withoutIndex(access), []));
  const { result } = await run(access, job, deps, plan);
  return await named(result, plan);
}

/** Throws the disk's error when the archive cannot be read at all. */
export async function verifyArchive(
  access: ArchiveAccess,
  expected: string | undefined,
  deps: JobDeps,
  chosen?: JobPlan,
): Promise<{ readonly verification: Verification; readonly aborted: boolean }> {
  const plan = chosen ?? (await planFor(withoutIndex(access), []));
  const hash = new FlatHash();
  const { result, chunks } = await run(access, { kind: "verify" }, deps, plan, (bytes, offset) =>
    hash.add(bytes, offset),
  );
  const sha256 = await hash.finish(access, deps.signal);
  const { report, aborted } = await named(result, plan);
  return { verification: verification(report, chunks, access.size, { sha256, expected }), aborted };
}

function withoutIndex(archive: ArchiveAccess): IndexedArchive {
  return { archive, index: undefined, warning: undefined };
}

async function named(result: RunResult, { index, trust }: JobPlan): Promise<JobResult> {
  const believed = index !== undefined && trust.fault === undefined;
  const report = believed ? await nameDamages(result.report, index) : result.report;
  return { ...result, report, indexFault: trust.fault };
}

async function run(
  access: ArchiveAccess,
  job: TarJob,
  deps: JobDeps,
  { plan, again, trust }: JobPlan,
  stored?: (bytes: Uint8Array, offset: number) => void,
): Promise<{ readonly result: RunResult; readonly chunks: number }> {
  const inflaters = Math.max(1, deps.cores);
  const memory = makeSlots(slotCount(inflaters), PIECE_STORED_BYTES_MAX, PIECE_RAW_BYTES_MAX);
  const threads = new RestoreThreads(deps.spawn, inflaters, memory);
  const { consumer, slots } = threads;
  const passes = new PassProgress(access.size, plan);
  deps.onStart?.(() => ({ ...consumer.progress, ...passes.progress() }));
  // It hears of that in its turn; that it is gone is noticed elsewhere.
  trust.onDistrust = (): void => void consumer.incomplete().catch(() => undefined);
  try {
    await threads.start(job);
    const result = await runJob({
      ...{ access, inflater: threads, consumer, slots, plan },
      again: async (wanted) => passes.next(await again(wanted)),
      signal: deps.signal,
      stored: (bytes, offset) => {
        passes.read(bytes.length);
        if (passes.first) stored?.(bytes, offset);
      },
    });
    return { result, chunks: consumer.pieceCount };
  } finally {
    trust.onDistrust = undefined;
    threads.stop();
  }
}

/** How much of the archive was read, of how much that is to be read. */
class PassProgress {
  readonly #archiveBytes: number;
  readonly #plans: Plan[];
  #read = 0;

  constructor(archiveBytes: number, plan: Plan) {
    this.#archiveBytes = archiveBytes;
    this.#plans = [plan];
  }

  get first(): boolean {
    return this.#plans.length === 1;
  }

  next(plan: Plan): Plan {
    this.#plans.push(plan);
    return plan;
  }

  read(bytes: number): void {
    this.#read += bytes;
  }

  progress(): Pick<JobProgress, "archiveBytes" | "archiveBytesTotal"> {
    const totals = this.#plans.map(({ source }) => source.bytesTotal ?? this.#archiveBytes);
    const archiveBytesTotal = totals.reduce((sum, bytes) => sum + bytes, 0);
    return { archiveBytes: Math.min(this.#read, archiveBytesTotal), archiveBytesTotal };
  }
}
