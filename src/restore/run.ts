/**
 * One job over one archive: passes its pieces to the thread that takes entries, as often as hard links need it, and gives its report.
 * Restore, cat, copying and verification are the same here; what they differ in is the job.
 */
import type { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import type { PieceSource } from "./piece.ts";
import { type Inflater, runPipeline } from "./pipeline.ts";
import type { Slot } from "./slots.ts";
import type { TarConsumer } from "./tar-consumer.ts";
import type { TarReport } from "./tar-job.ts";

/** What is read of the archive in one pass. */
export interface Plan {
  readonly source: PieceSource;
  /** Not all of it: its end need not come. */
  readonly partial: boolean;
}

export interface RunOptions {
  readonly access: ArchiveAccess;
  readonly inflater: Inflater;
  readonly consumer: TarConsumer;
  readonly slots: readonly Slot[];
  readonly plan: Plan;
  /** Another pass that brings the entries of these names at least. */
  readonly again: (wanted: readonly Uint8Array[]) => Promise<Plan>;
  readonly signal: AbortSignal;
  readonly stored?: (bytes: Uint8Array, offset: number) => void;
}

export interface JobResult extends RunResult {
  /** Failure E_INDEX_DAMAGED: why the archive was read without its index, or without it from some place on. */
  readonly indexFault: Failure | undefined;
  /** All of the archive was read, and its SHA-256 is another than was expected. */
  readonly sumDiffers: boolean;
}

export interface RunResult {
  readonly report: TarReport;
  /** Ended early by the signal. */
  readonly aborted: boolean;
}

/** The consumer was started. Throws Failure when the run cannot go on; nothing half done is left then. */
export async function runJob(options: RunOptions): Promise<RunResult> {
  const { consumer, signal } = options;
  try {
    await pass(options, options.plan, options.stored);
    const wanted = signal.aborted ? [] : await consumer.endPass(options.plan.partial);
    if (wanted.length > 0) {
      const plan = await options.again(wanted);
      await pass(options, plan, options.stored);
      if (!signal.aborted) await consumer.endPass(plan.partial);
    }
  } catch (error) {
    // After a failure of the thread itself there is nothing more to ask of it.
    await consumer.abort().catch(() => undefined);
    throw error;
  }
  if (signal.aborted) return { report: await consumer.abort(), aborted: true };
  return { report: await consumer.finish(), aborted: false };
}

async function pass(options: RunOptions, plan: Plan, stored: RunOptions["stored"]): Promise<void> {
  const { access, inflater, slots, consumer: sink, signal } = options;
  const source = plan.source;
  await runPipeline({ access, source, inflater, slots, sink, signal, ...(stored === undefined ? {} : { stored }) });
}
