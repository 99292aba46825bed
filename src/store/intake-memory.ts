/**
 * The memory that one session's bytes take between the socket and the disk and the in-order hash. A piece of a chunk
 * lives in one buffer of the pool that both the write and the hash read. The backlog (not yet written) is the session's
 * share of the chunk buffer, which says when reading pauses and goes on; what is written but not yet hashed is kept up to
 * a limit, beyond it the hash reads it back from the disk. It neither writes nor hashes.
 */
import { assert, must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { BufferShare } from "./chunk-buffer.ts";

/** What the smallest piece counts: bookkeeping is memory too. */
const PIECE_BYTES_MIN = 4 * KiB;

/** Consecutive bytes of a chunk. */
export interface Piece {
  /** In the file. */
  readonly offset: number;
  /** Bytes filled so far. */
  length: number;
  /** Undefined once the bytes are only on the disk, or nowhere. */
  buffer: Uint8Array | undefined;
  /** The write has not returned yet. */
  unwritten: boolean;
  /** The hash has not had it yet. */
  wanted: boolean;
  /** It is being read back from the file. */
  reading: boolean;
}

/** What a buffer counts, full or not. */
export function costOf(buffer: Uint8Array | undefined): number {
  return buffer === undefined ? 0 : Math.max(PIECE_BYTES_MIN, buffer.length);
}

export class IntakeMemory {
  readonly #pool: BufferPool;
  readonly #share: BufferShare;
  readonly #pendingBytesMax: number;
  /** Written, and kept for the hash. */
  readonly #kept = new Set<Piece>();
  #keptBytes = 0;

  /** `pendingBytesMax`: the most bytes kept for the hash alone. */
  constructor(pool: BufferPool, share: BufferShare, pendingBytesMax: number) {
    this.#pool = pool;
    this.#share = share;
    this.#pendingBytesMax = pendingBytesMax;
  }

  /** Memory of bytes that the disk has not taken yet, whole buffers. */
  get backlogBytes(): number {
    return this.#share.bytes;
  }

  get congested(): boolean {
    return this.#share.congested;
  }

  /** Half-filled buffers should be written rather than filled. */
  get crowded(): boolean {
    return this.#share.crowded;
  }

  /**
   * An empty piece with a buffer for at most `bytesMax` bytes. Always succeeds: whoever brings bytes looks at `congested`
   * and stops.
   */
  begin(offset: number, bytesMax: number): Piece {
    const buffer = this.#pool.take(bytesMax);
    this.#share.take(costOf(buffer));
    return { offset, length: 0, buffer, unwritten: true, wanted: true, reading: false };
  }

  /** The write of the piece has returned, or will never start. */
  written(piece: Piece): void {
    assert(piece.unwritten, `the piece at ${piece.offset} was written twice`);
    piece.unwritten = false;
    const bytes = costOf(piece.buffer);
    if (piece.wanted) this.#keep(piece);
    else this.#give(piece);
    this.#share.give(bytes);
  }

  /**
   * The bytes of a piece that the file alone had were read back into a buffer of the pool. The hash has them next, so they
   * are not counted: it reads few ahead.
   */
  restored(piece: Piece, buffer: Uint8Array): void {
    assert(piece.buffer === undefined && !piece.unwritten, `the piece at ${piece.offset} was read back for nothing`);
    piece.buffer = buffer;
    if (!piece.wanted) this.#give(piece);
  }

  /** The hash has had the piece, or does not want it any more. May be called again. */
  unwanted(piece: Piece): void {
    piece.wanted = false;
    if (!piece.unwritten) this.#give(piece);
  }

  /** Of all that could be kept, what stands first in the file will be hashed first; the rest is read back later. */
  #keep(piece: Piece): void {
    this.#kept.add(piece);
    this.#keptBytes += costOf(piece.buffer);
    while (this.#keptBytes > this.#pendingBytesMax) {
      let last: Piece | undefined;
      for (const other of this.#kept) if (last === undefined || other.offset > last.offset) last = other;
      this.#give(must(last, "a piece that is kept"));
    }
  }

  #give(piece: Piece): void {
    if (this.#kept.delete(piece)) this.#keptBytes -= costOf(piece.buffer);
    if (piece.buffer !== undefined) this.#pool.give(piece.buffer);
    piece.buffer = undefined;
  }
}
