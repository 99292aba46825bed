/**
 * For who compares an archive with its index: what entries the tar has, and where, summed up so that one number per piece says it. Takes
 * entries like any other sink, and does nothing with their data.
 */
import { FactsSum, indexedEntry } from "#archive/index-facts.ts";
import { headersDigest } from "#archive/index-entry-writer.ts";
import { blocks } from "#archive/tar-format.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { MiB } from "#base/units.ts";
import type { EntrySink } from "./tar-feed.ts";

/** Entries that came one behind the other. */
export interface SeenEntries {
  /** Raw offset of the first one. */
  readonly from: number;
  readonly count: number;
  readonly sum: bigint;
}

/** Headers of one entry are shorter, and so is what a search for the next one leaves behind. */
export const HEADERS_BYTES_MAX = 16 * MiB;
const NOTHING = new Uint8Array(0);

export class SeenSink implements EntrySink {
  readonly #sum = new FactsSum();
  #from = 0;
  /** Where the last entry ended. */
  #end = 0;
  /** What was pushed of the next entry's headers before the bytes in hand: up to `#at`. */
  #kept: Uint8Array = NOTHING;
  #bytes: Uint8Array = NOTHING;
  #at = 0;

  /** The entries since it was asked last; undefined when there were none. */
  take(): SeenEntries | undefined {
    const { count } = this.#sum;
    return count === 0 ? undefined : { from: this.#from, count, sum: this.#sum.take() };
  }

  raw(bytes: Uint8Array, at: number): void {
    // What the piece before left belongs to what comes now, unless the stream goes on elsewhere.
    if (at !== this.#at) this.#kept = NOTHING;
    this.#bytes = bytes;
    this.#at = at;
  }

  taken(): void {
    const { length } = this.#bytes;
    const start = this.#end - this.#at;
    if (start >= length) this.#kept = NOTHING;
    else if (start >= 0) this.#kept = this.#bytes.slice(start);
    else this.#kept = joined(this.#kept, this.#bytes);
    this.#bytes = NOTHING;
    this.#at += length;
  }

  entry(entry: ReadEntry): void {
    const { headersAt, dataAt, storedBytes } = entry;
    const headers = this.#headers(headersAt, dataAt);
    const made = indexedEntry(entry, headers === undefined ? 0n : headersDigest(headers));
    this.#end = dataAt + blocks(storedBytes);
    if (made === undefined) return;
    if (this.#sum.count === 0) this.#from = headersAt;
    this.#sum.add(made);
  }

  data(): void {
    // Only headers are looked at.
  }

  lost(): void {
    // Damage is reported by who finds it.
  }

  entryEnd(): void {
    // The next headers say where they begin.
  }

  incomplete(): void {
    // Nothing is made of what is missing.
  }

  rawMissing(length: number): void {
    this.#kept = NOTHING;
    this.#at += length;
  }

  /** Undefined when they are not there any more. */
  #headers(from: number, to: number): Uint8Array | undefined {
    const start = from - this.#at;
    const end = to - this.#at;
    if (start >= 0) return end <= this.#bytes.length ? this.#bytes.subarray(start, end) : undefined;
    const keptStart = this.#kept.length + start;
    return keptStart < 0 ? undefined : joined(this.#kept.subarray(keptStart), this.#bytes.subarray(0, end));
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  if (one.length + other.length > HEADERS_BYTES_MAX) return NOTHING;
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}
