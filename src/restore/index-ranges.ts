/**
 * Where in the tar the entries of some paths lie, by an index alone, and which entries have to be compared with the archive before that
 * is believed. With sorted paths everything below one lies together: a few searches for each. Else all entries are looked at. Knows
 * nothing of chunks.
 */
import { comparePaths, equalBytes } from "#archive/bytes.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import { liesBelow } from "#archive/index-queries.ts";
import { entryEnd, type IndexReader } from "#archive/index-reader.ts";
import { END_BYTES } from "#archive/tar-format.ts";
import { pathText } from "#base/path-text.ts";
import { contradiction } from "./index-trust.ts";
import { isAtOrBelow } from "./selection.ts";

/** A stretch of the tar, entries from the first to the last. */
interface EntryRange {
  /** Where the first entry begins. */
  readonly from: number;
  /** Behind the last entry, and behind what stands between it and the next. */
  readonly to: number;
}

export interface FoundEntries {
  /** In the order of the archive, none overlapping another. */
  readonly ranges: readonly EntryRange[];
  /**
   * If the archive has these where the index says, it has everything else that is wanted in the ranges: their first and last entries, and
   * where more could be, those before and behind.
   */
  readonly proofs: readonly IndexEntry[];
}

/** More stretches than this are read as one: all of the archive. */
const RANGES_MAX = 1000;

/** The entries of these paths (as safePath gives them) and all below them; undefined when they lie in too many places. */
export async function entriesBelowAll(
  index: IndexReader,
  paths: readonly Uint8Array[],
): Promise<FoundEntries | undefined> {
  if (!index.totals.sorted) return await unsortedBelow(index, paths);
  return await sortedAll(index, paths, (path, other) => isAtOrBelow(path, other));
}

/** The same for entries of exactly these paths. Of several of one path the last one counts. */
export async function entriesOfAll(
  index: IndexReader,
  paths: readonly Uint8Array[],
): Promise<FoundEntries | undefined> {
  if (index.totals.sorted) return await sortedAll(index, paths, equalBytes);
  if (paths.length > RANGES_MAX) return undefined;
  const entries = await unsortedEntries(index, paths);
  return { ranges: merged(entries.map((entry) => ({ from: entry.headersAt, to: entryEnd(entry) }))), proofs: entries };
}

/** Whether an entry is wanted for a path. What is wanted for one path lies together. */
type IsWanted = (path: Uint8Array, other: Uint8Array) => boolean;

async function sortedAll(
  index: IndexReader,
  paths: readonly Uint8Array[],
  isWanted: IsWanted,
): Promise<FoundEntries | undefined> {
  if (paths.length > RANGES_MAX) return undefined;
  const ranges: EntryRange[] = [];
  const proofs: IndexEntry[] = [];
  for (const path of paths) {
    const stretch = await sortedStretch(index, path, isWanted);
    if (stretch.range !== undefined) ranges.push(stretch.range);
    proofs.push(...stretch.proofs);
  }
  return { ranges: merged(ranges), proofs: proofs.sort((a, b) => a.headersAt - b.headersAt) };
}

async function sortedStretch(
  index: IndexReader,
  path: Uint8Array,
  isWanted: IsWanted,
): Promise<{ readonly range: EntryRange | undefined; readonly proofs: readonly IndexEntry[] }> {
  const found = await firstEntry(index, (other) => comparePaths(other, path) < 0);
  const first = found !== undefined && isWanted(path, found.path) ? found : undefined;
  const isWhole = first !== undefined && equalBytes(first.path, path);
  if (isWhole && (first.type !== "directory" || isWanted === equalBytes)) {
    return { range: { from: first.headersAt, to: entryEnd(first) }, proofs: [first] };
  }
  const next =
    first === undefined
      ? found
      : await firstEntry(
          index,
          (other) => comparePaths(other, path) < 0 || equalBytes(other, path) || liesBelow(path, other),
        );
  const nextNumber = next?.number ?? index.totals.entries;
  const last = first === undefined ? undefined : await entryOfNumber(index, nextNumber - 1);
  // A directory's own entry stands in front of all that is below it. Where there is none, the entry before shows that nothing is missing.
  const beforeNumber = (first?.number ?? nextNumber) - 1;
  const before = isWhole || beforeNumber < 0 ? undefined : await entryOfNumber(index, beforeNumber);
  checkBorders(index, path, { before, first, last, next, isWhole });
  const proofs = [before, first, last, next].filter((entry) => entry !== undefined);
  const range =
    first === undefined || last === undefined
      ? undefined
      : { from: first.headersAt, to: next === undefined ? entryEnd(last) : next.headersAt };
  return { range, proofs: proofs.filter((entry, i) => entry.number !== proofs[i - 1]?.number) };
}

interface Borders {
  /** The entry before what is wanted; undefined when that is known to begin there, or at the beginning of the archive. */
  readonly before: IndexEntry | undefined;
  readonly first: IndexEntry | undefined;
  readonly last: IndexEntry | undefined;
  readonly next: IndexEntry | undefined;
  readonly isWhole: boolean;
}

/**
 * Blocks of an index are found by their keys, and each may say of itself that it lies anywhere. And in an archive of ours there is nothing
 * in front of, between and behind entries but its end: where an index leaves room for more, it hides something.
 */
function checkBorders(index: IndexReader, path: Uint8Array, borders: Borders): void {
  const { before, first, last, next, isWhole } = borders;
  const { rebuilt } = index.header;
  const { rawBytes } = index.totals;
  const refuse = (what: string): never => {
    throw contradiction(`${pathText(path)} ${what}`);
  };
  if (first !== undefined && last !== undefined && (last.number < first.number || entryEnd(last) < entryEnd(first))) {
    refuse("ends before it begins");
  }
  const begin = (first ?? next)?.headersAt ?? rawBytes - END_BYTES;
  const inFront = isWhole ? 0 : begin - (before === undefined ? 0 : entryEnd(before));
  const end = last ?? before;
  const behind = (next?.headersAt ?? rawBytes - END_BYTES) - (end === undefined ? 0 : entryEnd(end));
  if (inFront < 0 || behind < 0) refuse("lies inside another entry");
  if (!rebuilt && (inFront > 0 || behind > 0)) refuse(`has ${inFront + behind} bytes of nothing around it`);
}

async function firstEntry(
  index: IndexReader,
  isBefore: (path: Uint8Array) => boolean,
): Promise<IndexEntry | undefined> {
  for await (const [entry] of index.entriesFrom(isBefore)) return entry;
  return undefined;
}

async function entryOfNumber(index: IndexReader, number: number): Promise<IndexEntry> {
  for await (const [entry] of index.entriesFromNumber(number)) if (entry?.number === number) return entry;
  throw contradiction(`it has no entry ${number}`);
}

async function unsortedEntries(index: IndexReader, paths: readonly Uint8Array[]): Promise<readonly IndexEntry[]> {
  const wanted = new Set(paths.map(keyOf));
  const found = new Map<string, IndexEntry>();
  for await (const batch of index.entries()) {
    for (const entry of batch) if (wanted.has(keyOf(entry.path))) found.set(keyOf(entry.path), entry);
  }
  return [...found.values()].sort((a, b) => a.headersAt - b.headersAt);
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path).toString("latin1");
}

/** Several entries of one path are all wanted, in their order: the last one stays. */
async function unsortedBelow(index: IndexReader, paths: readonly Uint8Array[]): Promise<FoundEntries | undefined> {
  const ranges: EntryRange[] = [];
  const proofs: IndexEntry[] = [];
  let from: number | undefined;
  let last: IndexEntry | undefined;
  const close = (to: number): void => {
    if (from === undefined || last === undefined) return;
    ranges.push({ from, to });
    if (last !== proofs.at(-1)) proofs.push(last);
    from = undefined;
  };
  for await (const batch of index.entries()) {
    for (const entry of batch) {
      if (paths.some((path) => isAtOrBelow(path, entry.path))) {
        if (from === undefined) proofs.push(entry);
        from ??= entry.headersAt;
        last = entry;
      } else {
        close(entry.headersAt);
      }
    }
    if (ranges.length > RANGES_MAX) return undefined;
  }
  if (last !== undefined) close(entryEnd(last));
  return { ranges, proofs };
}

/** Those that touch become one. */
function merged(ranges: readonly EntryRange[]): readonly EntryRange[] {
  const sorted = [...ranges].sort((a, b) => a.from - b.from || b.to - a.to);
  const apart: EntryRange[] = [];
  for (const range of sorted) {
    const before = apart.at(-1);
    if (before === undefined || range.from >= before.to) apart.push(range);
    else if (range.to > before.to) apart[apart.length - 1] = { from: before.from, to: range.to };
  }
  return apart;
}
