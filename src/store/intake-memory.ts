/**
 * The memory that one session's bytes take between the socket and the disk and the in-order hash. A piece of a chunk
 * lives in one pooled buffer that both the write and the hash read. The backlog (not yet written) has marks at which
 * reading pauses and goes on; what is written but not yet hashed is kept up to a limit, beyond it the hash reads it back
 * from the file. It neither writes nor hashes.
 */
import { assert } from "#base/assert.ts";
import { BUFFER_BYTES, type BufferPool } from "./buffer-pool.ts";

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

export class IntakeMemory {
  readonly #pool: BufferPool;
  readonly #marks: IntakeMarks;
  readonly #onRelief: () => void;
  #backlogBytes = 0;
  /** Written, and kept for the hash. */
  readonly #kept = new Set<Piece>();
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

  /** Memory of bytes kept for the hash alone, whole buffers. */
  get pendingBytes(): number {
    return this.#kept.size * BUFFER_BYTES;
  }

  get congested(): boolean {
    return this.#congested;
  }

  /** Half of what may be in the backlog is: half-filled buffers should be written rather than filled. */
  get crowded(): boolean {
    return this.#backlogBytes * 2 >= this.#marks.highBytes;
  }

  /** An empty piece with a buffer. Always succeeds: whoever brings bytes looks at `congested` and stops. */
  begin(offset: number): Piece {
    this.#backlogBytes += BUFFER_BYTES;
    if (this.#backlogBytes >= this.#marks.highBytes) this.#congested = true;
    return { offset, length: 0, buffer: this.#pool.take(), unwritten: true, wanted: true, reading: false };
  }

  /** The write of the piece has returned, or will never start. */
  written(piece: Piece): void {
    assert(piece.unwritten, `the piece at ${piece.offset} was written twice`);
    piece.unwritten = false;
    this.#backlogBytes -= BUFFER_BYTES;
    if (piece.wanted) this.#keep(piece);
    else this.#give(piece);
    if (this.#congested && this.#backlogBytes <= this.#marks.lowBytes) {
      this.#congested = false;
      this.#onRelief();
    }
  }

  /** The bytes of a piece that the file alone had were read back into a buffer of the pool, and the hash will have them next. */
  restored(piece: Piece, buffer: Uint8Array): void {
    assert(piece.buffer === undefined && !piece.unwritten, `the piece at ${piece.offset} was read back for nothing`);
    piece.buffer = buffer;
    if (piece.wanted) this.#kept.add(piece);
    else this.#give(piece);
  }

  /** The hash has had the piece, or does not want it any more. May be called again. */
  unwanted(piece: Piece): void {
    piece.wanted = false;
    if (!piece.unwritten) this.#give(piece);
  }

  /** Of all that could be kept, what stands first in the file will be hashed first; the rest is read back later. */
  #keep(piece: Piece): void {
    this.#kept.add(piece);
    if (this.pendingBytes <= this.#marks.pendingBytesMax) return;
    let last = piece;
    for (const other of this.#kept) if (other.offset > last.offset) last = other;
    this.#give(last);
  }

  #give(piece: Piece): void {
    this.#kept.delete(piece);
    if (piece.buffer !== undefined) this.#pool.give(piece.buffer);
    piece.buffer = undefined;
  }
}
