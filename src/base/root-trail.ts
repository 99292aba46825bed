/**
 * The way to a root: the first bytes of what the root was after every `stride` chunks, so that two sides whose roots differ
 * can say which chunk is the first that differs. PROTOCOL.md "Integrity". It is small however many chunks there are, and
 * proves nothing: the root does.
 */
import { assert, must } from "./assert.ts";
import type { RootHasher } from "./root-hash.ts";

/** Of each root: two different ones look the same once in 2^64. */
export const TRAIL_PREFIX_BYTES = 8;
/** 16 KiB for each file: both fit in a control frame. With chunks of 1 MiB each is named exactly up to 2 GiB. */
export const TRAIL_PREFIXES_MAX = 2048;

/** Chunks between two prefixes in a trail of so many chunks: the smallest power of two with which there is room. */
export function trailStride(chunkCount: number): number {
  let stride = 1;
  while (Math.floor(chunkCount / stride) > TRAIL_PREFIXES_MAX) stride *= 2;
  return stride;
}

/** How long the trail of so many chunks is. */
export function trailBytes(chunkCount: number): number {
  return Math.floor(chunkCount / trailStride(chunkCount)) * TRAIL_PREFIX_BYTES;
}

/** Consecutive chunks and the bytes they cover in their file. */
export interface ChunkSpan {
  /** Sequence numbers, both included. */
  readonly first: number;
  readonly last: number;
  /** Byte offsets: of the first byte, and behind the last one. */
  readonly start: number;
  readonly end: number;
}

/** Follows one RootHasher from its first chunk on. */
export class RootTrail {
  readonly #root: RootHasher;
  #stride = 1;
  /** By number of the prefix: its bytes, and where the chunks before it end. */
  #prefixes: Uint8Array[] = [];
  #ends: number[] = [];

  constructor(root: RootHasher) {
    assert(root.chunkCount === 0, `a trail begins with the first chunk, not with number ${root.chunkCount}`);
    this.#root = root;
  }

  /** After each chunk that was added to the root. */
  follow(): void {
    const { chunkCount, nextOffset } = this.#root;
    if (chunkCount % this.#stride !== 0) return;
    if (this.#ends.length === TRAIL_PREFIXES_MAX) this.#thin();
    if (chunkCount % this.#stride !== 0) return;
    assert(chunkCount === (this.#ends.length + 1) * this.#stride, `the trail was not told of chunk ${chunkCount - 1}`);
    this.#prefixes.push(this.#root.root().slice(0, TRAIL_PREFIX_BYTES));
    this.#ends.push(nextOffset);
  }

  /** `trailBytes` of the chunks so far. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#prefixes.length * TRAIL_PREFIX_BYTES);
    for (const [index, prefix] of this.#prefixes.entries()) bytes.set(prefix, index * TRAIL_PREFIX_BYTES);
    return bytes;
  }

  /**
   * The first chunks that differ from those of another root of as many chunks, whose trail is `other`; one chunk when the
   * stride is 1. Undefined when no chunk does, as far as the trails say.
   */
  firstDifference(other: Uint8Array): ChunkSpan | undefined {
    const equal = this.#equalPrefixes(other);
    const first = equal * this.#stride;
    const last = Math.min(first + this.#stride, this.#root.chunkCount) - 1;
    if (last < first) return undefined;
    const start = equal === 0 ? 0 : must(this.#ends[equal - 1], "end of a prefix");
    return { first, last, start, end: this.#ends[equal] ?? this.#root.nextOffset };
  }

  #equalPrefixes(other: Uint8Array): number {
    let count = 0;
    for (const prefix of this.#prefixes) {
      const at = count * TRAIL_PREFIX_BYTES;
      if (Buffer.compare(prefix, other.subarray(at, at + TRAIL_PREFIX_BYTES)) !== 0) break;
      count += 1;
    }
    return count;
  }

  /** Every second prefix goes. */
  #thin(): void {
    this.#prefixes = this.#prefixes.filter((_, index) => index % 2 === 1);
    this.#ends = this.#ends.filter((_, index) => index % 2 === 1);
    this.#stride *= 2;
  }
}
