/**
 * The memory that one session's bytes take between the socket and the disk and the in-order hash. A piece of a chunk
 * lives in one buffer of the pool that both the write and the hash read. The backlog (not yet written) has marks at which
 * reading pauses and goes on; what is written but not yet hashed is kept up to a limit, beyond it the hash reads it back
 * from the file. It neither writes nor hashes.
 */
import { assert, must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import type { BufferPool } from "./buffer-pool.ts";

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

export interface IntakeMarks {
  /** Backlog at which the session is congested. */
  readonly highBytes: number;
  /** Backlog at which it no longer is; at least half of `highBytes`, which half-filled buffers may hold for long. */
  readonly lowBytes: number;
  /** Most bytes kept for the hash alone. */
  readonly pendingBytesMax: number;
}

/** What a buffer counts, full or not. */
export function costOf(buffer: Uint8Array | undefined): number {
  return buffer === undefined ? 0 : Math.max(PIECE_BYTES_MIN, buffer.length);
}

export class IntakeMemory {
  readonly #pool: BufferPool;
  readonly #marks: IntakeMarks;
  readonly #onRelief: () => void;
  #backlogBytes = 0;
  /** Written, and kept for the hash. */
  readonly #kept = new Set<Piece>();
  #keptBytes = 0;
  #congested = false;

  constructor(pool: BufferPool, marks: IntakeMarks, onRelief: () => void) {
    assert(marks.lowBytes * 2 >= marks.highBytes, "the low mark is below what half-filled buffers may hold");
    this.#pool = pool;
    this.#marks = marks;
    this.#onRelief = onRelief;
  }

  /** Memory of bytes that the disk has not taken yet, whole buffers. */
  get backlogBytes(): number {
    return this.#backlogBytes;
  }

  get congested(): boolean {
    return this.#congested;
  }

  /** Half of what may be in the backlog is: half-filled buffers should be written rather than filled. */
  get crowded(): boolean {
    return this.#backlogBytes * 2 >= this.#marks.highBytes;
  }

  /**
   * An empty piece with a buffer for at most `bytesMax` bytes. Always succeeds: whoever brings bytes looks at `congested`
   * and stops.
   */
  begin(offset: number, bytesMax: number): Piece {
    const buffer = this.#pool.take(bytesMax);
    this.#backlogBytes += costOf(buffer);
    if (this.#backlogBytes >= this.#marks.highBytes) this.#congested = true;
    return { offset, length: 0, buffer, unwritten: true, wanted: true, reading: false };
  }

  /** The write of the piece has returned, or will never start. */
  written(piece: Piece): void {
    assert(piece.unwritten, `the piece at ${piece.offset} was written twice`);
    piece.unwritten = false;
    this.#backlogBytes -= costOf(piece.buffer);
    if (piece.wanted) this.#keep(piece);
    else this.#give(piece);
    if (this.#congested && this.#backlogBytes <= this.#marks.lowBytes) {
      this.#congested = false;
      this.#onRelief();
    }
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
    while (this.#keptBytes > this.#marks.pendingBytesMax) {
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
