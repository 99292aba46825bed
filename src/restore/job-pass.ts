/** Runs a job as a plan says, with threads that are started for it, and says meanwhile how much of the archive is read. */
import type { ArchiveAccess } from "./archive-access.ts";
import type { IndexAgreement } from "./index-agreement.ts";
import type { JobPlan } from "./index-plan.ts";
import { PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX } from "./piece.ts";
import { RestoreThreads, type SpawnRestoreThread } from "./restore-threads.ts";
import { type Plan, type RunResult, runJob } from "./run.ts";
import { makeSlots } from "./slots.ts";
import type { TarJob, TarProgress } from "./tar-job.ts";

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

interface Listeners {
  /** Gets the stored bytes of the first pass in order; what no piece holds, or cannot be read, is not among them. */
  readonly stored?: (bytes: Uint8Array, offset: number) => void;
  readonly agreement?: IndexAgreement | undefined;
}

/** Runs the job as the plan says, and no more. `chunks`: the pieces that came. */
export async function runPlan(
  access: ArchiveAccess,
  job: TarJob,
  deps: JobDeps,
  { plan, again, trust }: JobPlan,
  { stored, agreement }: Listeners = {},
): Promise<{ readonly result: RunResult; readonly chunks: number }> {
  const inflaters = Math.max(1, deps.cores);
  const memory = makeSlots(slotCount(inflaters), PIECE_STORED_BYTES_MAX, PIECE_RAW_BYTES_MAX);
  const threads = new RestoreThreads(deps.spawn, inflaters, memory);
  const { consumer, slots } = threads;
  consumer.agreement = agreement;
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
