/**
 * What the reader of a tree knows of an entry, made into an entry of the index: where it lies, whether it held still while it was read.
 * The clock comes from the caller. Writes no blocks (index-entry-writer.ts).
 */
import type { Prepared } from "./entry.ts";
import type { DataResult } from "./file-data.ts";
import { type EntryBlock, EntryBlocks, headersDigest } from "./index-entry-writer.ts";

/** A file whose ctime is no older than this may change once more within the same tick of its filesystem's clock: FAT's is 2 s. */
const RACY_MS = 2000;

/** Where the headers of an entry lie, and what they are. */
export interface IndexPlace {
  readonly headersAt: number;
  readonly dataAt: number;
  readonly headersDigest: bigint;
}

export class IndexEntries {
  readonly #wall: () => number;
  readonly #blocks = new EntryBlocks();
  /** When the entry in hand was looked at. */
  #openedMs = 0;

  constructor(wall: () => number) {
    this.#wall = wall;
  }

  /** The next entry has just been looked at, and opened if it has data. */
  opened(): void {
    this.#openedMs = this.#wall();
  }

  /** The headers in `chunk` from `start` to `end`; the chunk begins at `rawOffset`. */
  place(chunk: Uint8Array, start: number, end: number, rawOffset: number): IndexPlace {
    return {
      headersAt: rawOffset + start,
      dataAt: rawOffset + end,
      headersDigest: headersDigest(chunk.subarray(start, end)),
    };
  }

  /** The entry is in the archive, with all its data. */
  add(entry: Prepared, place: IndexPlace, outcome: DataResult["outcome"]): void {
    const { stat, type, path, linkTarget, sparse } = entry;
    const { mode, uid, gid, mtimeSeconds, mtimeNanos, rdevMajor, rdevMinor } = stat;
    const size = type === "file" ? stat.size : 0;
    this.#blocks.add(
      { path, type, linkTarget, mode, uid, gid, mtimeSeconds, mtimeNanos, rdevMajor, rdevMinor, size },
      stat,
      {
        ...place,
        storedBytes: entry.size,
        sparse: sparse !== undefined,
        changed: outcome !== "whole",
        short: isShort(outcome),
        racy: stat.ctimeSeconds * 1000 + Math.floor(stat.ctimeNanos / 1_000_000) >= this.#openedMs - RACY_MS,
      },
    );
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
