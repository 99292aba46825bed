/**
 * Runs a job over an archive from its beginning to its end, with threads that are started for it: what restore, cat and verify of both
 * programs come down to. Without an index the archive's own structure says where its chunks are.
 */
import type { ArchiveAccess } from "./archive-access.ts";
import { archiveFormat, scanArchive } from "./archive-format.ts";
import { PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX } from "./piece.ts";
import { RestoreThreads, type SpawnRestoreThread } from "./restore-threads.ts";
import { type Plan, type RunResult, runJob } from "./run.ts";
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
  /** Bytes of the archive read, and all of them. */
  readonly archiveBytes: number;
  readonly archiveBytesTotal: number;
}

/** What to read; without it, all of the archive by its own structure. */
export interface JobPlan {
  readonly plan: Plan;
  readonly again: (wanted: readonly Uint8Array[]) => Plan;
}

/** One being read, one being written, and as many again as threads decompress, so that none ever waits for another. */
function slotCount(inflaters: number): number {
  return 2 * inflaters + 2;
}

export async function runArchiveJob(
  access: ArchiveAccess,
  job: TarJob,
  deps: JobDeps,
  chosen?: JobPlan,
): Promise<RunResult> {
  return (await run(access, job, deps, chosen)).result;
}

/** Throws the disk's error when the archive cannot be read at all. */
export async function verifyArchive(
  access: ArchiveAccess,
  expected: string | undefined,
  deps: JobDeps,
  chosen?: JobPlan,
): Promise<{ readonly verification: Verification; readonly aborted: boolean }> {
  const hash = new FlatHash();
  const { result, chunks } = await run(access, { kind: "verify" }, deps, chosen, (bytes, offset) =>
    hash.add(bytes, offset),
  );
  const sha256 = await hash.finish(access, deps.signal);
  return {
    verification: verification(result.report, chunks, access.size, { sha256, expected }),
    aborted: result.aborted,
  };
}

async function run(
  access: ArchiveAccess,
  job: TarJob,
  deps: JobDeps,
  chosen: JobPlan | undefined,
  stored?: (bytes: Uint8Array, offset: number) => void,
): Promise<{ readonly result: RunResult; readonly chunks: number }> {
  const { plan, again } = chosen ?? (await wholePlan(access));
  const inflaters = Math.max(1, deps.cores);
  const memory = makeSlots(slotCount(inflaters), PIECE_STORED_BYTES_MAX, PIECE_RAW_BYTES_MAX);
  const threads = new RestoreThreads(deps.spawn, inflaters, memory);
  const { consumer, slots } = threads;
  let read = 0;
  const onStored = (bytes: Uint8Array, offset: number): void => {
    read = offset + bytes.length;
    stored?.(bytes, offset);
  };
  deps.onStart?.(() => ({ ...consumer.progress, archiveBytes: read, archiveBytesTotal: access.size }));
  try {
    await threads.start(job);
    const result = await runJob({
      ...{ access, inflater: threads, consumer, slots, plan, again },
      ...{ signal: deps.signal, stored: onStored },
    });
    return { result, chunks: consumer.pieceCount };
  } finally {
    threads.stop();
  }
}

async function wholePlan(access: ArchiveAccess): Promise<JobPlan> {
  const format = await archiveFormat(access);
  const plan = (): Plan => ({ source: scanArchive(access, format), partial: false });
  return { plan: plan(), again: plan };
}
