/**
 * Where in the tar the entries of some paths lie, by an index alone. With sorted paths everything below one lies together: two searches
 * for each. Else all entries are looked at. Knows nothing of chunks.
 */
import { comparePaths, equalBytes } from "#archive/bytes.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import { findPath, liesBelow } from "#archive/index-queries.ts";
import { entryEnd, type IndexReader } from "#archive/index-reader.ts";
import { pathText } from "#base/path-text.ts";
import { contradiction } from "./index-trust.ts";
import { isAtOrBelow } from "./selection.ts";

/** A stretch of the tar, entries from the first to the last. */
export interface EntryRange {
  readonly first: IndexEntry;
  readonly last: IndexEntry;
  /** Behind the last entry, and behind what stands between it and the next. */
  readonly to: number;
}

/** More stretches than this are read as one: all of the archive. */
const RANGES_MAX = 1000;

/** In the order of the archive, none overlapping another; undefined when there are too many. `paths` as safePath gives them. */
export async function rangesBelow(
  index: IndexReader,
  paths: readonly Uint8Array[],
): Promise<readonly EntryRange[] | undefined> {
  if (!index.totals.sorted) return await unsortedRanges(index, paths);
  if (paths.length > RANGES_MAX) return undefined;
  const ranges: EntryRange[] = [];
  for (const path of paths) {
    const range = await sortedRange(index, path);
    if (range !== undefined) ranges.push(range);
  }
  return merged(ranges);
}

/** The same for entries of exactly these paths. Of several of one path the last one counts. */
export async function rangesOf(
  index: IndexReader,
  paths: readonly Uint8Array[],
): Promise<readonly EntryRange[] | undefined> {
  if (paths.length > RANGES_MAX) return undefined;
  const found = index.totals.sorted ? await sortedEntries(index, paths) : await unsortedEntries(index, paths);
  return merged(found.map((entry) => ({ first: entry, last: entry, to: entryEnd(entry) })));
}

async function sortedRange(index: IndexReader, path: Uint8Array): Promise<EntryRange | undefined> {
  const first = await firstEntry(index, (other) => comparePaths(other, path) < 0);
  if (first === undefined || !isAtOrBelow(path, first.path)) return undefined;
  const isBefore = (other: Uint8Array): boolean =>
    comparePaths(other, path) < 0 || equalBytes(other, path) || liesBelow(path, other);
  const next = await firstEntry(index, isBefore);
  const number = next === undefined ? index.totals.entries - 1 : next.number - 1;
  const last = number === first.number ? first : await entryOfNumber(index, number);
  const to = next === undefined ? entryEnd(last) : next.headersAt;
  // Blocks are found by their keys, and each may say of itself that it lies anywhere.
  if (last.number < first.number || to < entryEnd(last) || entryEnd(last) < entryEnd(first)) {
    throw contradiction(`${pathText(path)} ends before it begins`);
  }
  return { first, last, to };
}

async function firstEntry(
  index: IndexReader,
  isBefore: (path: Uint8Array) => boolean,
): Promise<IndexEntry | undefined> {
  for await (const [entry] of index.entriesFrom(isBefore)) return entry;
  return undefined;
}

async function entryOfNumber(index: IndexReader, number: number): Promise<IndexEntry> {
  for await (const [entry] of index.entriesFromNumber(number)) if (entry !== undefined) return entry;
  throw contradiction(`it has no entry ${number}`);
}

async function sortedEntries(index: IndexReader, paths: readonly Uint8Array[]): Promise<readonly IndexEntry[]> {
  const found: IndexEntry[] = [];
  for (const path of paths) {
    const entry = await findPath(index, path);
    if (entry !== undefined) found.push(entry);
  }
  return found;
}

async function unsortedEntries(index: IndexReader, paths: readonly Uint8Array[]): Promise<readonly IndexEntry[]> {
  const wanted = new Set(paths.map(keyOf));
  const found = new Map<string, IndexEntry>();
  for await (const batch of index.entries()) {
    for (const entry of batch) if (wanted.has(keyOf(entry.path))) found.set(keyOf(entry.path), entry);
  }
  return [...found.values()];
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path).toString("latin1");
}

async function unsortedRanges(
  index: IndexReader,
  paths: readonly Uint8Array[],
): Promise<readonly EntryRange[] | undefined> {
  const ranges: EntryRange[] = [];
  let open: EntryRange | undefined;
  for await (const batch of index.entries()) {
    for (const entry of batch) {
      if (paths.some((path) => isAtOrBelow(path, entry.path))) {
        open = { first: open?.first ?? entry, last: entry, to: entryEnd(entry) };
      } else if (open !== undefined) {
        ranges.push({ ...open, to: entry.headersAt });
        open = undefined;
        if (ranges.length > RANGES_MAX) return undefined;
      }
    }
  }
  if (open !== undefined) ranges.push(open);
  return ranges;
}

/** Those that touch become one. */
function merged(ranges: readonly EntryRange[]): readonly EntryRange[] {
  const sorted = [...ranges].sort((a, b) => a.first.headersAt - b.first.headersAt || b.to - a.to);
  const apart: EntryRange[] = [];
  for (const range of sorted) {
    const before = apart.at(-1);
    if (before === undefined || range.first.headersAt >= before.to) apart.push(range);
    else if (range.to > before.to) apart[apart.length - 1] = { ...range, first: before.first };
  }
  return apart;
}
