/**
 * What the reader of a tree knows of an entry, made into an entry of the index: where it lies, whether it held still while it was read.
 * The clock comes from the caller. Writes no blocks (index-entry-writer.ts).
 */
import { keepLight } from "#base/light-code.ts";
import type { Prepared } from "./entry.ts";
import type { DataResult } from "./file-data.ts";
import { type EntryBlock, EntryBlocks, headersDigest, type NewEntry, type NewPlace } from "./index-entry-writer.ts";
import { keptNanos } from "./pax.ts";

/** A file whose ctime is no older than this may change once more within the same tick of its filesystem's clock: FAT's is 2 s. */
const RACY_MS = 2000;

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One of each for all entries: this runs for every file, and what it leaves behind must be collected. */
function emptyEntry(): Writable<NewEntry> {
  return {
    ...{ path: new Uint8Array(0), type: "file", linkTarget: undefined, mode: 0, uid: 0, gid: 0 },
    ...{ mtimeSeconds: 0, mtimeNanos: 0, rdevMajor: 0, rdevMinor: 0, size: 0 },
  };
}

function emptyPlace(): Writable<NewPlace> {
  return {
    ...{ headersAt: 0, dataAt: 0, storedBytes: 0, headersDigest: 0n },
    ...{ sparse: false, changed: false, short: false, racy: false },
  };
}

export class IndexEntries {
  readonly #wall: () => number;
  readonly #blocks = new EntryBlocks();
  readonly #entry = emptyEntry();
  readonly #place = emptyPlace();
  /** When the entry in hand was looked at. */
  #openedMs = 0;

  constructor(wall: () => number) {
    this.#wall = wall;
    keepLight(this.add, this.headers, this.opened);
  }

  /** The next entry has just been looked at, and opened if it has data. */
  opened(): void {
    this.#openedMs = this.#wall();
  }

  /** The headers of the entry that is added next lie in `chunk` from `start` to `end`; the chunk begins at `rawOffset`. */
  headers(chunk: Uint8Array, start: number, end: number, rawOffset: number): void {
    const place = this.#place;
    place.headersAt = rawOffset + start;
    place.dataAt = rawOffset + end;
    place.headersDigest = headersDigest(chunk.subarray(start, end));
  }

  /** The entry is in the archive, with all its data. */
  add(from: Prepared, outcome: DataResult["outcome"]): void {
    const { stat, type, sparse } = from;
    const entry = this.#entry;
    entry.path = from.path;
    entry.type = type;
    entry.linkTarget = from.linkTarget;
    entry.mode = stat.mode;
    entry.uid = stat.uid;
    entry.gid = stat.gid;
    entry.mtimeSeconds = stat.mtimeSeconds;
    entry.mtimeNanos = keptNanos(stat.mtimeSeconds, stat.mtimeNanos);
    entry.rdevMajor = stat.rdevMajor;
    entry.rdevMinor = stat.rdevMinor;
    entry.size = type === "file" ? stat.size : 0;
    const place = this.#place;
    place.storedBytes = from.size;
    place.sparse = sparse !== undefined;
    place.changed = outcome !== "whole";
    place.short = isShort(outcome);
    place.racy = stat.ctimeSeconds * 1000 + Math.floor(stat.ctimeNanos / 1_000_000) >= this.#openedMs - RACY_MS;
    this.#blocks.add(entry, stat, place);
  }

  /** Copies the next full block into `into`; at the end also the last, which is not full. Undefined when there is none. */
  next(into: Uint8Array, atEnd: boolean): EntryBlock | undefined {
    if (atEnd) this.#blocks.finish();
    return this.#blocks.finishedCount > 0 ? this.#blocks.take(into) : undefined;
  }
}

/** Zeros stand for some of the data. */
export function isShort(outcome: DataResult["outcome"]): boolean {
  return outcome === "shrank" || outcome === "read-error";
}
