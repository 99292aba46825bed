/**
 * The history of files over the archives of a backup entry: what each archive has found, in the order of paths, merged; and archives that follow
 * each other with the same file put together into one version. Values in, values out; memory for one path and one batch of each archive.
 */
import { comparePaths } from "#archive/bytes.ts";
import { type Difference, differences } from "#archive/index-diff.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import type { Batches } from "#archive/index-reader.ts";

/** Found entries of one archive, in the order of comparePaths, every path once. */
export interface ArchiveFinds<A> {
  readonly archive: A;
  readonly entries: Batches<IndexEntry>;
}

export interface FileVersion<A> {
  /** As the newest of its archives has it. */
  readonly file: IndexEntry;
  readonly first: A;
  readonly last: A;
  readonly archiveCount: number;
  /** Against the version before; empty for the first, and for one that was away in between. */
  readonly changed: readonly Difference[];
}

export interface FileHistory<A> {
  readonly path: Uint8Array;
  /** The oldest first; at least one. */
  readonly versions: readonly FileVersion<A>[];
}

interface Cursor<A> {
  readonly archive: A;
  readonly batches: AsyncIterator<readonly IndexEntry[]>;
  batch: readonly IndexEntry[];
  at: number;
  ended: boolean;
}

const BATCH = 500;

/** `finds`: of the oldest archive first. */
export async function* fileHistories<A>(finds: readonly ArchiveFinds<A>[]): Batches<FileHistory<A>> {
  const cursors = finds.map(({ archive, entries }): Cursor<A> => {
    return { archive, batches: entries[Symbol.asyncIterator](), batch: [], at: 0, ended: false };
  });
  let histories: FileHistory<A>[] = [];
  for (;;) {
    const used = cursors.filter((cursor) => !cursor.ended && cursor.at === cursor.batch.length);
    // What is known is told before more is looked for, which may take long.
    if (histories.length >= BATCH || (used.length > 0 && histories.length > 0)) {
      yield histories;
      histories = [];
    }
    for (const cursor of used) await pull(cursor);
    const path = firstPath(cursors);
    if (path === undefined) return;
    const sightings: (IndexEntry | undefined)[] = [];
    for (const cursor of cursors) {
      const entry = cursor.batch[cursor.at];
      const has = entry !== undefined && comparePaths(entry.path, path) === 0;
      sightings.push(has ? entry : undefined);
      if (has) cursor.at += 1;
    }
    histories.push({ path, versions: versions(finds, sightings) });
  }
}

async function pull<A>(cursor: Cursor<A>): Promise<void> {
  const result = await cursor.batches.next();
  cursor.ended = result.done === true;
  cursor.batch = result.done === true ? [] : result.value;
  cursor.at = 0;
}

function firstPath<A>(cursors: readonly Cursor<A>[]): Uint8Array | undefined {
  let first: Uint8Array | undefined;
  for (const { batch, at } of cursors) {
    const path = batch[at]?.path;
    if (path !== undefined && (first === undefined || comparePaths(path, first) < 0)) first = path;
  }
  return first;
}

function versions<A>(
  finds: readonly { readonly archive: A }[],
  sightings: readonly (IndexEntry | undefined)[],
): readonly FileVersion<A>[] {
  const found: FileVersion<A>[] = [];
  let before: IndexEntry | undefined;
  for (const [index, file] of sightings.entries()) {
    const archive = finds[index]?.archive;
    const last = found.at(-1);
    if (file !== undefined && archive !== undefined) {
      const changed = before === undefined ? [] : differences(before, file);
      if (last !== undefined && before !== undefined && changed.length === 0) {
        found[found.length - 1] = { ...last, file, last: archive, archiveCount: last.archiveCount + 1 };
      } else {
        found.push({ file, first: archive, last: archive, archiveCount: 1, changed });
      }
    }
    before = file;
  }
  return found;
}
