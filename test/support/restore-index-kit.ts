/** Archives with their indexes in memory, restored by the product's planner without threads; and indexes that lie. */
import { LinuxSource } from "#archive/linux-source.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { KiB } from "#base/units.ts";
import { openIndexed } from "#restore/index-open.ts";
import { type JobPlan, planFor } from "#restore/index-plan.ts";
import type { TarJob } from "#restore/tar-job.ts";
import { roots } from "#test/support/archive-kit.ts";
import { indexTree, type TreeIndex } from "#test/support/index-kit.ts";
import { type InlineRun, MemoryAccess, runInline } from "#test/support/restore-run.ts";

const CHUNK_BYTES = 64 * KiB;

/** The tree below `source` as a session stores it. */
export function archiveTree(
  source: string,
  mode: CompressionMode = "gzip",
  options: Parameters<typeof indexTree>[2] = {},
): TreeIndex {
  const files = new LinuxSource({ roots: roots(source).map((root) => root.path) });
  const level = mode === "gzip" ? 6 : 3;
  return indexTree(files, [source], { chunkBytes: CHUNK_BYTES, compression: { mode, level }, ...options });
}

export interface IndexedRun extends InlineRun {
  /** What was said against the index. */
  readonly fault: string | undefined;
  readonly readBytes: number;
  readonly plan: JobPlan;
}

/** Runs the job over the archive by its index: what a command does. */
export async function runIndexed(
  archive: Uint8Array | MemoryAccess,
  index: Uint8Array | undefined,
  job: TarJob,
  paths: readonly string[] = [],
  make: typeof planFor = planFor,
): Promise<IndexedRun> {
  const access = archive instanceof MemoryAccess ? archive : new MemoryAccess(archive);
  const opened = await openIndexed(access, index === undefined ? undefined : new MemoryAccess(index));
  const plan = await make(
    opened,
    paths.map((one) => Buffer.from(one)),
  );
  const run = await runInline(access, job, plan);
  return { ...run, fault: plan.trust.fault?.message, readBytes: access.readBytes, plan };
}
