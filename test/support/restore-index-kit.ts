/** Archives with their indexes in memory, restored by the product's planner without threads; and indexes that lie. */
import { IndexBuilder } from "#archive/index-builder.ts";
import { factsOf } from "#archive/index-facts.ts";
import type { IndexEntry, IndexHeader, TableChunk } from "#archive/index-format.ts";
import { LinuxSource } from "#archive/linux-source.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { compress } from "#compress/codec.ts";
import { KiB } from "#base/units.ts";
import { nameDamages } from "#restore/damage-names.ts";
import { openIndexed } from "#restore/index-open.ts";
import { type JobPlan, planFor } from "#restore/index-plan.ts";
import { rebuildIndex } from "#restore/rebuild.ts";
import type { TarJob } from "#restore/tar-job.ts";
import { roots } from "#test/support/archive-kit.ts";
import { collect, indexTree, openIndex, type TreeIndex } from "#test/support/index-kit.ts";
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
  const report = plan.index === undefined ? run.report : await nameDamages(run.report, plan.index);
  return { ...run, report, fault: plan.trust.fault?.message, readBytes: access.readBytes, plan };
}

/** What an index says, taken apart, changed and put together again with all its checksums right. */
export async function rewriteIndex(bytes: Uint8Array, change: IndexChange): Promise<Buffer> {
  const index = await openIndex(bytes);
  const blocks: Uint8Array[] = [];
  const { mode } = index.header.compression;
  const builder = new IndexBuilder({
    header: { ...index.header, ...change.header },
    compress: (raw) => compress(change.raw?.(raw) ?? raw, { mode, level: 1 }),
    write: (stored) => blocks.push(stored.slice()),
  });
  const chunks = await collect(index.chunks());
  for (const chunk of change.chunks?.(chunks) ?? chunks) builder.chunk(chunk.kind, chunk.rawLength, chunk);
  const entries = await collect(index.entries());
  for (const entry of change.entries?.(entries) ?? entries) {
    const { live } = entry;
    builder.entry(factsOf(entry).entry, live && { ...live, ino: String(live.ino), dev: String(live.dev) }, entry);
  }
  builder.finish();
  return Buffer.concat(blocks);
}

export interface IndexChange {
  readonly header?: Partial<IndexHeader>;
  readonly chunks?: (chunks: readonly TableChunk[]) => readonly TableChunk[];
  readonly entries?: (entries: readonly IndexEntry[]) => readonly IndexEntry[];
  /** What stands in the place of a raw block, as long as it. */
  readonly raw?: (raw: Uint8Array) => Uint8Array;
}

/** The index that `index rebuild` makes. */
export async function rebuiltIndex(archive: Uint8Array): Promise<Buffer> {
  const blocks: Uint8Array[] = [];
  await rebuildIndex({
    access: new MemoryAccess(archive),
    archive: undefined,
    write: async (block) => void blocks.push(block.slice()),
    onDamage: () => undefined,
    signal: new AbortController().signal,
  });
  return Buffer.concat(blocks);
}
