/**
 * What is different between two archives, told from their indexes alone: two sorted streams, merged. Contents are not compared; a file whose
 * size and times are the same counts as the same.
 */
import { Failure } from "#base/errors.ts";
import { comparePaths, equalBytes } from "./bytes.ts";
import type { IndexEntry } from "./index-format.ts";
import type { Batches, IndexReader } from "./index-reader.ts";

/** `attributes`: nothing else is different, but the headers are: extended attributes, access control lists, names of owners, holes. */
export type Difference = "type" | "size" | "mtime" | "mode" | "owner" | "target" | "device" | "attributes";

export type DiffItem =
  | { readonly change: "added"; readonly after: IndexEntry }
  | { readonly change: "removed"; readonly before: IndexEntry }
  | {
      readonly change: "changed";
      readonly before: IndexEntry;
      readonly after: IndexEntry;
      /** At least one. */
      readonly what: readonly Difference[];
    };

/** Entries of an index that is not sorted are sorted in memory: about 500 bytes each. */
const UNSORTED_ENTRIES_MAX = 1_000_000;

/** In the order of paths. Throws Failure E_INDEX_UNSORTED when a large archive of another program is not sorted. */
export async function* diffIndexes(before: IndexReader, after: IndexReader): Batches<DiffItem> {
  const left = new Pulled(await sortedEntries(before));
  const right = new Pulled(await sortedEntries(after));
  let items: DiffItem[] = [];
  for (;;) {
    if (left.empty) await left.pull();
    if (right.empty) await right.pull();
    const a = left.head;
    const b = right.head;
    if (a === undefined && b === undefined) break;
    const order = a === undefined ? 1 : b === undefined ? -1 : comparePaths(a.path, b.path);
    const item = compare(order <= 0 ? a : undefined, order >= 0 ? b : undefined);
    if (order <= 0) left.next();
    if (order >= 0) right.next();
    if (item !== undefined) items.push(item);
    if (items.length < BATCH) continue;
    yield items;
    items = [];
  }
  if (items.length > 0) yield items;
}

const BATCH = 1000;

function compare(before: IndexEntry | undefined, after: IndexEntry | undefined): DiffItem | undefined {
  if (before === undefined) return after === undefined ? undefined : { change: "added", after };
  if (after === undefined) return { change: "removed", before };
  const what = differences(before, after);
  return what.length === 0 ? undefined : { change: "changed", before, after, what };
}

/** What is different between two entries. */
export function differences(a: IndexEntry, b: IndexEntry): readonly Difference[] {
  const what: Difference[] = [];
  if (a.type !== b.type) what.push("type");
  if (a.size !== b.size) what.push("size");
  if (a.mtimeSeconds !== b.mtimeSeconds || a.mtimeNanos !== b.mtimeNanos) what.push("mtime");
  if (a.mode !== b.mode) what.push("mode");
  if (a.uid !== b.uid || a.gid !== b.gid) what.push("owner");
  if (!equalBytes(a.linkTarget ?? NO_TARGET, b.linkTarget ?? NO_TARGET)) what.push("target");
  if (a.deviceMajor !== b.deviceMajor || a.deviceMinor !== b.deviceMinor) what.push("device");
  if (what.length === 0 && a.headersDigest !== b.headersDigest) what.push("attributes");
  return what;
}

const NO_TARGET = new Uint8Array(0);

/** Batches taken one item at a time, without a promise for each. */
class Pulled {
  readonly #batches: AsyncIterator<readonly IndexEntry[]>;
  #batch: readonly IndexEntry[] = [];
  #at = 0;
  #ended = false;

  constructor(batches: Batches<IndexEntry>) {
    this.#batches = batches;
  }

  /** True when `pull` may have more. */
  get empty(): boolean {
    return this.#at === this.#batch.length && !this.#ended;
  }

  get head(): IndexEntry | undefined {
    return this.#batch[this.#at];
  }

  next(): void {
    this.#at += 1;
  }

  async pull(): Promise<void> {
    const result = await this.#batches.next();
    this.#ended = result.done === true;
    this.#batch = result.done === true ? [] : result.value;
    this.#at = 0;
  }
}

async function sortedEntries(index: IndexReader): Promise<Batches<IndexEntry>> {
  if (index.totals.sorted) return index.entries();
  const { entries: count } = index.totals;
  if (count > UNSORTED_ENTRIES_MAX) {
    throw new Failure(
      "E_INDEX_UNSORTED",
      `an index of ${count} entries is not sorted, at most ${UNSORTED_ENTRIES_MAX} are`,
    );
  }
  const all: IndexEntry[] = [];
  for await (const batch of index.entries()) all.push(...batch);
  all.sort((a, b) => comparePaths(a.path, b.path) || a.number - b.number);
  // Of several with one path the last counts.
  return oneBatch(all.filter((entry, i) => !samePath(entry, all[i + 1])));
}

function samePath(a: IndexEntry, b: IndexEntry | undefined): boolean {
  return b !== undefined && equalBytes(a.path, b.path);
}

async function* oneBatch(entries: readonly IndexEntry[]): Batches<IndexEntry> {
  if (entries.length > 0) yield await Promise.resolve(entries);
}
