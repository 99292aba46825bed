/**
 * The two proofs of one file, made while it arrives: the SHA-256 of its bytes in order, and the root over the list of
 * its chunks (PROTOCOL.md "Integrity"). Chunks come in any order; each is hashed when all before it were, from memory
 * while it is there, else read back from where it lies a little ahead. What was read back must have the digest that the
 * chunk arrived with: else it counts as not hashed, and `onDamaged` hears of it.
 */
import { createHash, type Hash } from "node:crypto";
import { RootHasher } from "#base/root-hash.ts";
import { RootTrail } from "#base/root-trail.ts";
import type { Piece, IntakeMemory } from "./intake-memory.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { ChunkPlacement } from "./chunk-placement.ts";
import { HASH_SLICE_BYTES, type HashTurns, type HashWork } from "./hash-turns.ts";
import type { ChunkPlace } from "./session-types.ts";

/** Pieces that are read back at once: the disk is asked for the next ones while one is hashed. */
const READS_AT_ONCE = 4;
/** Of so many pieces, the next ones to be hashed: what is read back early waits in memory that nothing else limits. */
const READ_AHEAD_PIECES = 8;

/** A chunk that was received. */
export interface HashItem extends ChunkPlace {
  /** SHA-256 of its bytes. */
  readonly digest: Uint8Array;
  /** Cover the chunk without gaps. A piece without a buffer is on the disk. */
  readonly pieces: readonly Piece[];
  /** It came from the journal of an earlier start: it is never taken back. */
  readonly fromJournal?: boolean;
}

export interface FileDigests {
  readonly sha256: Uint8Array;
  readonly root: Uint8Array;
  readonly trail: RootTrail;
}

export interface FileHashParts {
  readonly placement: ChunkPlacement;
  readonly memory: IntakeMemory;
  readonly pool: BufferPool;
  readonly turns: HashTurns;
  /** Reading back failed, with what the disk threw. */
  readonly onFailure: (error: unknown) => void;
  /** What was read back of the chunk is not what arrived. It may be added again. */
  readonly onDamaged: (item: HashItem) => void;
}

export class FileHash implements HashWork {
  readonly #parts: FileHashParts;
  #flat = createHash("sha256");
  readonly #root = new RootHasher();
  readonly #trail = new RootTrail(this.#root);
  /** Received, not yet hashed, by sequence number. */
  readonly #waiting = new Map<number, HashItem>();
  #hashedChunks = 0;
  #hashedBytes = 0;
  /** The next piece of chunk #hashedChunks. */
  #piece = 0;
  /** Bytes of that piece that were hashed already. */
  #within = 0;
  /** What #flat was before chunk #hashedChunks. */
  #before: Hash | undefined;
  /** Of chunk #hashedChunks alone, when anything of it was read back. */
  #own: Hash | undefined;
  /** Chunks of which something was read back. */
  readonly #doubtful = new WeakSet<HashItem>();
  /** Reads under way. */
  readonly #reads = new Set<Promise<void>>();
  readonly #waiters: { readonly chunks: number; readonly resolve: () => void }[] = [];
  #digests: FileDigests | undefined;
  #stopped = false;

  constructor(parts: FileHashParts) {
    this.#parts = parts;
  }

  /** Bytes hashed in order so far. */
  get hashedBytes(): number {
    return this.#hashedBytes;
  }

  /** Chunks that were hashed already. */
  get hashedChunks(): number {
    return this.#hashedChunks;
  }

  /** Chunks that wait for their turn. */
  get waitingChunks(): number {
    return this.#waiting.size;
  }

  /** How many of the next chunks are here without a gap, or only those from the journal; it counts no further than `limit`. */
  nextChunks(limit: number, which: "all" | "from the journal"): number {
    let count = 0;
    for (; count < limit; count += 1) {
      const item = this.#waiting.get(this.#hashedChunks + count);
      if (item === undefined || (which !== "all" && item.fromJournal !== true)) break;
    }
    return count;
  }

  /**
   * Takes the chunk. It is hashed by `step`: from turns of its own, and with every bytes that arrive. One that was hashed or
   * waits already is not taken again.
   */
  add(item: HashItem): void {
    if (this.#stopped || item.sequence < this.#hashedChunks || this.#waiting.has(item.sequence)) {
      for (const piece of item.pieces) this.#parts.memory.unwanted(piece);
      return;
    }
    this.#waiting.set(item.sequence, item);
    if (item.sequence === this.#hashedChunks) this.#parts.turns.ask(this);
  }

  /** Takes back a chunk that waits, because it will be added again from the journal. Not one that is being hashed. */
  forget(sequence: number): void {
    const item = this.#waiting.get(sequence);
    const begun = sequence === this.#hashedChunks && (this.#piece > 0 || this.#within > 0);
    if (item === undefined || begun) return;
    this.#waiting.delete(sequence);
    for (const piece of item.pieces) this.#parts.memory.unwanted(piece);
  }

  /** Resolves when that many chunks were hashed, or when stopped. */
  hashed(chunks: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ chunks, resolve });
    this.#wake();
    return promise;
  }

  /** The proofs of all that was hashed. Nothing can be added afterwards. */
  digests(): FileDigests {
    this.#digests ??= { sha256: this.#flat.digest(), root: this.#root.root(), trail: this.#trail };
    return this.#digests;
  }

  /** Gives all memory back; resolves when no read is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#parts.turns.forget(this);
    for (const item of this.#waiting.values()) {
      for (const piece of item.pieces) this.#parts.memory.unwanted(piece);
    }
    this.#waiting.clear();
    this.#wake();
    await Promise.all(this.#reads);
  }

  step(bytesMax: number): boolean {
    let left = bytesMax;
    while (!this.#stopped) {
      const item = this.#waiting.get(this.#hashedChunks);
      const piece = item?.pieces[this.#piece];
      if (item !== undefined && piece === undefined) {
        this.#endChunk(item);
        continue;
      }
      if (item === undefined || piece?.buffer === undefined) {
        // Nothing is at hand: the next chunk has not come, or has to be read back.
        if (item !== undefined) this.#doubt(item);
        if (item !== undefined) this.#readAhead();
        break;
      }
      if (this.#piece === 0 && this.#within === 0) this.#beginChunk(item);
      if (left <= 0) return true;
      const end = Math.min(piece.length, this.#within + left);
      left -= end - this.#within;
      this.#take(piece, piece.buffer.subarray(this.#within, end));
    }
    this.#parts.turns.forget(this);
    return false;
  }

  #beginChunk(item: HashItem): void {
    this.#before = this.#flat.copy();
    this.#own = this.#doubtful.has(item) ? createHash("sha256") : undefined;
  }

  /** Something of the chunk has to be read back. When its beginning was hashed unchecked, that is done again. */
  #doubt(item: HashItem): void {
    this.#doubtful.add(item);
    const begun = this.#piece > 0 || this.#within > 0;
    if (!begun || this.#own !== undefined) return;
    this.#undo(item);
    // What was given back meanwhile is on the disk: a piece whose write has not returned still has its buffer.
    for (const piece of item.pieces) piece.wanted = true;
  }

  /** As if nothing of the chunk had been hashed yet. */
  #undo(item: HashItem): void {
    for (const piece of item.pieces.slice(0, this.#piece)) this.#hashedBytes -= piece.length;
    this.#hashedBytes -= this.#within;
    this.#piece = 0;
    this.#within = 0;
    this.#own = undefined;
    if (this.#before !== undefined) this.#flat = this.#before;
    this.#before = undefined;
  }

  #take(piece: Piece, bytes: Uint8Array): void {
    this.#flat.update(bytes);
    this.#own?.update(bytes);
    this.#hashedBytes += bytes.length;
    this.#within += bytes.length;
    if (this.#within < piece.length) return;
    this.#within = 0;
    this.#piece += 1;
    this.#parts.memory.unwanted(piece);
  }

  #endChunk(item: HashItem): void {
    this.#waiting.delete(item.sequence);
    if (this.#own?.digest().equals(item.digest) === false) {
      this.#undo(item);
      this.#parts.onDamaged(item);
      return;
    }
    this.#root.add(item.offset, item.storedLength, item.digest);
    this.#trail.follow();
    this.#hashedChunks += 1;
    this.#piece = 0;
    this.#wake();
  }

  /** Reads back those of the next pieces that are not in memory. Only pieces whose write has returned have no buffer. */
  #readAhead(): void {
    let [sequence, index] = [this.#hashedChunks, this.#piece];
    for (let seen = 0; seen < READ_AHEAD_PIECES && this.#reads.size < READS_AT_ONCE;) {
      const item = this.#waiting.get(sequence);
      if (item === undefined) return;
      const piece = item.pieces[index];
      if (piece === undefined) {
        sequence += 1;
        index = 0;
        continue;
      }
      if (piece.buffer === undefined) this.#doubtful.add(item);
      if (piece.buffer === undefined && !piece.reading) this.#readBack(item, piece);
      index += 1;
      seen += 1;
    }
  }

  #readBack(item: HashItem, piece: Piece): void {
    const { pool, memory, placement, turns } = this.#parts;
    const buffer = pool.take(piece.length);
    piece.reading = true;
    const read: Promise<void> = placement.read(item, buffer.subarray(0, piece.length), piece.offset).then(
      (got) => {
        this.#reads.delete(read);
        piece.reading = false;
        memory.restored(piece, buffer);
        // Of a chunk that was taken back meanwhile less may be there: it is written anew.
        if (got !== piece.length && piece.wanted)
          this.#fail(new Error(`read ${got} bytes of ${piece.length} at ${piece.offset}`));
        else if (this.step(HASH_SLICE_BYTES)) turns.ask(this);
      },
      (error: unknown) => {
        this.#reads.delete(read);
        pool.give(buffer);
        this.#fail(error);
      },
    );
    this.#reads.add(read);
  }

  #fail(error: unknown): void {
    if (!this.#stopped) this.#parts.onFailure(error);
  }

  #wake(): void {
    for (let index = this.#waiters.length - 1; index >= 0; index -= 1) {
      const waiter = this.#waiters[index];
      if (waiter === undefined || (!this.#stopped && waiter.chunks > this.#hashedChunks)) continue;
      this.#waiters.splice(index, 1);
      waiter.resolve();
    }
  }
}
