/**
 * Questions to an index, answered as streams in bounded memory: one path, a directory, a tree, a pattern, a stretch of the archive. With
 * sorted paths (every archive of nbackup) they read the blocks they need and no others; else they read all of them, and give what they find in
 * the order of the archive, where the last of several entries of one path is the one that counts. Paths are as in IndexEntry.
 */
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { comparePaths, equalBytes, hasPrefix, SLASH } from "./bytes.ts";
import { Excludes } from "./exclude.ts";
import type { IndexEntry, TableChunk } from "./index-format.ts";
import { joinNames } from "./index-path.ts";
import { type Batches, entryEnd, firstNot, type IndexReader } from "./index-reader.ts";

const BANG = 0x21;

/** A name in a directory. A directory above a source has no entry of its own. */
export interface ListedName {
  /** The whole path. */
  readonly path: Uint8Array;
  readonly entry: IndexEntry | undefined;
}

/** True when `path` lies below the directory `parent`, not when they are equal. */
export function liesBelow(parent: Uint8Array, path: Uint8Array): boolean {
  if (parent.length === 0) return path.length > 0;
  return path.length > parent.length && path[parent.length] === SLASH && hasPrefix(path, parent, parent.length);
}

/** The entry of this path; undefined when there is none. */
export async function findPath(index: IndexReader, path: Uint8Array): Promise<IndexEntry | undefined> {
  if (index.totals.sorted) {
    for await (const [first] of index.entriesFrom((other) => comparePaths(other, path) < 0)) {
      return first !== undefined && equalBytes(first.path, path) ? first : undefined;
    }
    return undefined;
  }
  let found: IndexEntry | undefined;
  for await (const batch of index.entries()) {
    for (const entry of batch) if (equalBytes(entry.path, path)) found = entry;
  }
  return found;
}

/** The entry of this path, if there is one, and all below it. */
export async function* entriesBelow(index: IndexReader, path: Uint8Array): Batches<IndexEntry> {
  const within = (entry: IndexEntry): boolean => equalBytes(entry.path, path) || liesBelow(path, entry.path);
  const { sorted } = index.totals;
  const batches = sorted ? index.entriesFrom((other) => comparePaths(other, path) < 0) : index.entries();
  for await (const batch of batches) {
    const found = batch.filter(within);
    if (found.length > 0) yield found;
    // Everything below a path follows it directly.
    if (sorted && found.length < batch.length) return;
  }
}

/** The names in a directory, and nothing of what is below them. */
export function listDirectory(index: IndexReader, directory: Uint8Array): Batches<ListedName> {
  return index.totals.sorted ? listSorted(index, directory) : listUnsorted(index, directory);
}

async function* listSorted(index: IndexReader, directory: Uint8Array): Batches<ListedName> {
  /** The name listed last; what is below it is passed over, in a batch and among blocks by binary search. */
  let last: Uint8Array | undefined;
  const isBelowLast = ({ path }: IndexEntry): boolean => last !== undefined && liesBelow(last, path);
  let passed = (path: Uint8Array): boolean => comparePaths(path, directory) <= 0;
  for (let more = true; more;) {
    more = false;
    for await (const batch of index.entriesFrom(passed)) {
      const names: ListedName[] = [];
      let ended = false;
      for (let at = firstNot(batch, isBelowLast); at < batch.length; at = firstNot(batch, isBelowLast, at + 1)) {
        const entry = must(batch[at], "an entry");
        ended = !liesBelow(directory, entry.path);
        if (ended) break;
        const listed = nameIn(directory, entry);
        last = listed.path;
        names.push(listed);
      }
      if (names.length > 0) yield names;
      if (ended) return;
      const lastEntry = must(batch.at(-1), "an entry");
      if (!isBelowLast(lastEntry)) continue;
      // In the middle of a tree that is not asked for: its end may be many blocks away.
      const child = must(last, "a name");
      passed = (path) => comparePaths(path, child) <= 0 || liesBelow(child, path);
      more = true;
      break;
    }
  }
}

/** Directories without an entry of their own that are remembered as listed; beyond that they may be listed again. */
const NAMES_REMEMBERED_MAX = 100_000;

async function* listUnsorted(index: IndexReader, directory: Uint8Array): Batches<ListedName> {
  const implied = new Set<string>();
  for await (const batch of index.entries()) {
    const names: ListedName[] = [];
    for (const entry of batch) {
      if (!liesBelow(directory, entry.path)) continue;
      const listed = nameIn(directory, entry);
      const key = Buffer.from(listed.path).toString("latin1");
      if (listed.entry === undefined && implied.has(key)) continue;
      // What is below a directory follows its entry, which is not to be listed twice.
      if (implied.size < NAMES_REMEMBERED_MAX) implied.add(key);
      names.push(listed);
    }
    if (names.length > 0) yield names;
  }
}

/** The name in `directory` that the path of `entry`, which lies below it, begins with. */
function nameIn(directory: Uint8Array, entry: IndexEntry): ListedName {
  const start = directory.length === 0 ? 0 : directory.length + 1;
  const slash = entry.path.indexOf(SLASH, start);
  return slash < 0 ? { path: entry.path, entry } : { path: entry.path.slice(0, slash), entry: undefined };
}

/** Entries whose path a pattern, in raw bytes, matches; patterns are those of exclude.ts, without `!`. Throws Failure E_USAGE for none. */
export async function* findPattern(index: IndexReader, pattern: Uint8Array): Batches<IndexEntry> {
  const matches = pathMatcher(pattern);
  const below = literalDirectory(pattern);
  const batches = below.length === 0 ? index.entries() : entriesBelow(index, below);
  for await (const batch of batches) {
    const found = batch.filter(matches);
    if (found.length > 0) yield found;
  }
}

function pathMatcher(pattern: Uint8Array): (entry: IndexEntry) => boolean {
  if (pattern[0] === BANG) {
    const text = Buffer.from(pattern).toString();
    throw new Failure("E_USAGE", `pattern "${text}" begins with !; write \\! for a name that does`);
  }
  let patterns: Excludes;
  try {
    patterns = new Excludes([pattern], "pattern");
  } catch (error) {
    throw error instanceof Failure ? usageFailure(error) : error;
  }
  let absolute = new Uint8Array(4096);
  absolute[0] = SLASH;
  return ({ path, type }) => {
    const end = path.length + 1;
    if (absolute.length < end) {
      absolute = new Uint8Array(2 * end);
      absolute[0] = SLASH;
    }
    absolute.set(path, 1);
    const match = patterns.match(absolute, path.lastIndexOf(SLASH) + 2, end);
    return match === "yes" || (match === "if-directory" && type === "directory");
  };
}

/** What is wrong in a configuration there is wrong on the command line here. */
function usageFailure(cause: Failure): Failure {
  return new Failure("E_USAGE", cause.message, { cause });
}

/** The directory that everything lies below that the pattern can match; empty when there is none. */
function literalDirectory(pattern: Uint8Array): Uint8Array {
  if (pattern[0] !== SLASH) return new Uint8Array(0);
  const names = Buffer.from(pattern)
    .toString("latin1")
    .split("/")
    .filter((name) => name !== "");
  const special = names.findIndex((name) => /[*?[\\]/.test(name));
  const literal = names.slice(0, special < 0 ? names.length - 1 : special);
  return joinNames(literal.map((name) => Buffer.from(name, "latin1")));
}

/** Entries of which headers or data lie in raw bytes `from` to `to` (not included) of the archive. */
export async function* entriesInRange(index: IndexReader, from: number, to: number): Batches<IndexEntry> {
  for await (const batch of index.entriesAt(from)) {
    const found = batch.filter((entry) => entry.headersAt < to && entryEnd(entry) > from);
    if (found.length > 0) yield found;
    if (found.length < batch.length) return;
  }
}

/** Entries that a chunk holds something of: what is lost when it is damaged. */
export function entriesOfChunk(index: IndexReader, chunk: TableChunk): Batches<IndexEntry> {
  return entriesInRange(index, chunk.rawOffset, chunk.rawOffset + chunk.rawLength);
}
