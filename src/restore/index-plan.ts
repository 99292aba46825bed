/**
 * What to read of an archive for a job, by its index: all chunks, or those that hold the wanted entries. Where reading begins and ends
 * the headers in the archive must be those that the index tells of; if one is not, all of the archive is read without the index. So is
 * an archive that has none.
 *
 * A path that the index does not have is not in the archive: the entries that it would stand between are compared, and nothing lies
 * between them. The same shows that a directory has no more than the index tells. What is believed is that the archive is sorted, as
 * all of ours are; that other archives' indexes, which are not, have every entry; and that the table of chunks tells where they begin,
 * until what begins there is another entry than the index tells. Every block of an index has a checksum, so only one that was made to lie can be wrong there.
 */
import type { TableChunk } from "#archive/index-format.ts";
import { entryEnd, type IndexReader } from "#archive/index-reader.ts";
import { must } from "#base/assert.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import { archiveFormat, scanArchive } from "./archive-format.ts";
import type { IndexedArchive } from "./index-open.ts";
import { IndexProbe } from "./index-probe.ts";
import { entriesBelowAll, entriesOfAll, type FoundEntries } from "./index-ranges.ts";
import { contradiction, IndexTrust, mustBeIndexDamage } from "./index-trust.ts";
import type { Plan } from "./run.ts";
import { Selection } from "./selection.ts";
import { type ChunkRun, TablePieces } from "./table-pieces.ts";

/** What to read; `again`: for a second pass, which brings the content of hard links. */
export interface JobPlan {
  readonly plan: Plan;
  readonly again: (wanted: readonly Uint8Array[]) => Promise<Plan>;
  readonly trust: IndexTrust;
  /** Undefined: there is none, or it is not believed. */
  readonly index: IndexReader | undefined;
}

/** For `paths` as a person writes them, and all below them; none are everything. Throws Failure E_USAGE for a path with `..`. */
export async function planFor(indexed: IndexedArchive, paths: readonly Uint8Array[]): Promise<JobPlan> {
  const selection = new Selection(paths);
  const planner = new Planner(indexed);
  const plan = selection.isAll
    ? await planner.whole()
    : await planner.partial((index) => entriesBelowAll(index, selection.paths));
  return planner.job(plan);
}

/** For a verification: other bytes than the index says are reported, also where no content is lost. */
export async function planToVerify(indexed: IndexedArchive): Promise<JobPlan> {
  const planner = new Planner(indexed, true);
  return planner.job(await planner.whole());
}

/** For the content of one file: of several entries of that path, the last. */
export async function planForFile(indexed: IndexedArchive, path: Uint8Array): Promise<JobPlan> {
  const { paths } = new Selection([path]);
  const planner = new Planner(indexed);
  return planner.job(await planner.partial((index) => entriesOfAll(index, paths)));
}

class Planner {
  readonly #archive: ArchiveAccess;
  readonly #index: IndexReader | undefined;
  readonly #trust: IndexTrust;
  readonly #strict: boolean;

  constructor({ archive, index, warning }: IndexedArchive, strict = false) {
    this.#strict = strict;
    this.#archive = archive;
    this.#index = index;
    this.#trust = new IndexTrust(warning);
  }

  job(plan: Plan): JobPlan {
    return {
      plan,
      again: (wanted) => this.partial((index) => entriesOfAll(index, wanted)),
      trust: this.#trust,
      index: this.#trust.fault === undefined ? this.#index : undefined,
    };
  }

  /** All of the archive. */
  async whole(): Promise<Plan> {
    const index = this.#index;
    if (index === undefined || this.#trust.fault !== undefined) return await this.#linear();
    const { chunks, storedBytes } = index.totals;
    const run: ChunkRun = { first: 0, last: chunks - 1, enterAt: undefined, leaveAt: undefined };
    return { source: this.#pieces(index, [run], Math.min(storedBytes, this.#archive.size), true), partial: false };
  }

  async partial(find: (index: IndexReader) => Promise<FoundEntries | undefined>): Promise<Plan> {
    const index = this.#index;
    if (index === undefined || this.#trust.fault !== undefined) return await this.#linear();
    try {
      const found = await find(index);
      if (found === undefined) return await this.whole();
      const probe = new IndexProbe(this.#archive, index);
      for (const entry of found.proofs) await probe.check(entry);
      const { runs, bytes } = await runsOf(index, found.ranges);
      return { source: this.#pieces(index, runs, bytes, false), partial: true };
    } catch (error) {
      this.#trust.distrust(mustBeIndexDamage(error));
      return await this.#linear();
    }
  }

  async #linear(): Promise<Plan> {
    const format = await archiveFormat(this.#archive);
    return { source: scanArchive(this.#archive, format), partial: false };
  }

  #pieces(index: IndexReader, runs: readonly ChunkRun[], bytesTotal: number, whole: boolean): TablePieces {
    return new TablePieces({
      ...{ table: index, mode: index.header.compression.mode, access: this.#archive, trust: this.#trust },
      ...{ runs, whole, bytesTotal, strict: this.#strict },
      entryBehind: (rawOffset) => entryBehind(index, rawOffset),
    });
  }
}

/** Where the first entry at or behind this raw offset begins; behind the last one, where that ends. */
async function entryBehind(index: IndexReader, rawOffset: number): Promise<number> {
  let end = 0;
  for await (const batch of index.entriesAt(rawOffset)) {
    const next = batch.find((entry) => entry.headersAt >= rawOffset);
    if (next !== undefined) return next.headersAt;
    end = entryEnd(must(batch.at(-1), "an entry"));
  }
  return Math.max(rawOffset, end);
}

/** The chunks that have the ranges, and how many bytes those are. Ranges that meet in one chunk are read as one. */
async function runsOf(
  index: IndexReader,
  ranges: FoundEntries["ranges"],
): Promise<{ readonly runs: readonly ChunkRun[]; readonly bytes: number }> {
  const runs: ChunkRun[] = [];
  let bytes = 0;
  /** Stored bytes up to here are counted. */
  let counted = 0;
  for (const { from: rawFrom, to } of ranges) {
    const from = await chunkOf(index, rawFrom);
    const until = await chunkOf(index, to - 1);
    const end = until.storedOffset + until.storedLength;
    bytes += Math.max(0, end - Math.max(counted, from.storedOffset));
    counted = Math.max(counted, end);
    const before = runs.at(-1);
    if (before !== undefined && from.number <= before.last) {
      runs[runs.length - 1] = { ...before, last: Math.max(before.last, until.number), leaveAt: to };
    } else {
      runs.push({ first: from.number, last: until.number, enterAt: rawFrom, leaveAt: to });
    }
  }
  return { runs, bytes };
}

async function chunkOf(index: IndexReader, rawOffset: number): Promise<TableChunk> {
  for await (const [chunk] of index.chunks({ rawOffset })) {
    if (chunk !== undefined && chunk.rawOffset <= rawOffset) return chunk;
  }
  throw contradiction(`no chunk has byte ${rawOffset} of the tar`);
}
