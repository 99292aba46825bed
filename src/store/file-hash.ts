/**
 * The two proofs of one file, made while it arrives: the SHA-256 of its bytes in order, and the root over the list of
 * its chunks (PROTOCOL.md "Integrity"). Chunks come in any order; each is hashed when all before it were, from memory
 * while it is there and read back from the file otherwise, one read at a time.
 */
import { createHash } from "node:crypto";
import type { Piece, IntakeMemory } from "./intake-memory.ts";
import { BUFFER_BYTES, type BufferPool } from "./buffer-pool.ts";
import type { DiskFile } from "./disk.ts";
import { HASH_SLICE_BYTES, type HashTurns, type HashWork } from "./hash-turns.ts";

/** A chunk that was received. */
export interface HashItem {
  readonly sequence: number;
  readonly offset: number;
  readonly length: number;
  /** SHA-256 of its bytes. */
  readonly digest: Uint8Array;
  /** Cover the chunk without gaps. A piece without a buffer is on the disk. */
  readonly pieces: readonly Piece[];
}

export interface FileDigests {
  readonly sha256: Uint8Array;
  readonly root: Uint8Array;
}

export interface FileHashParts {
  readonly file: DiskFile;
  readonly memory: IntakeMemory;
  readonly pool: BufferPool;
  readonly turns: HashTurns;
  /** Reading back failed, with what the disk threw. */
  readonly onFailure: (error: unknown) => void;
}

export class FileHash implements HashWork {
  readonly #parts: FileHashParts;
  readonly #flat = createHash("sha256");
  readonly #root = createHash("sha256");
  /** Received, not yet hashed, by sequence number. */
  readonly #waiting = new Map<number, HashItem>();
  #hashedChunks = 0;
  #hashedBytes = 0;
  /** The next piece of chunk #hashedChunks. */
  #piece = 0;
  /** Bytes of that piece that were hashed already. */
  #within = 0;
  /** A read is under way: its memory and the promise of its end. */
  #reading: Promise<void> | undefined;
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

  /** Takes the chunk; hashes a slice at once when it is its turn. */
  add(item: HashItem): void {
    if (this.#stopped) {
      for (const piece of item.pieces) this.#parts.memory.unwanted(piece);
      return;
    }
    this.#waiting.set(item.sequence, item);
    if (item.sequence === this.#hashedChunks && this.#reading === undefined && this.step(HASH_SLICE_BYTES)) {
      this.#parts.turns.ask(this);
    }
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
    this.#digests ??= { sha256: this.#flat.digest(), root: this.#root.digest() };
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
    await this.#reading;
  }

  step(bytesMax: number): boolean {
    let left = bytesMax;
    while (!this.#stopped && this.#reading === undefined) {
      const item = this.#waiting.get(this.#hashedChunks);
      if (item === undefined) return false;
      const piece = item.pieces[this.#piece];
      if (piece === undefined) {
        this.#endChunk(item);
        continue;
      }
      if (left <= 0) return true;
      if (piece.buffer === undefined) {
        this.#readBack(piece);
      } else {
        left -= piece.length - this.#within;
        this.#take(piece, piece.buffer.subarray(this.#within, piece.length));
      }
    }
    return false;
  }

  #take(piece: Piece, bytes: Uint8Array): void {
    this.#flat.update(bytes);
    this.#hashedBytes += bytes.length;
    this.#within += bytes.length;
    if (this.#within < piece.length) return;
    this.#within = 0;
    this.#piece += 1;
    this.#parts.memory.unwanted(piece);
  }

  #endChunk(item: HashItem): void {
    const entry = Buffer.alloc(12);
    entry.writeBigUInt64BE(BigInt(item.offset), 0);
    entry.writeUInt32BE(item.length, 8);
    this.#root.update(entry).update(item.digest);
    this.#waiting.delete(item.sequence);
    this.#hashedChunks += 1;
    this.#piece = 0;
    this.#wake();
  }

  /** A piece has no buffer only once its write has returned, so the file has it. */
  #readBack(piece: Piece): void {
    const buffer = this.#parts.pool.take();
    const length = Math.min(BUFFER_BYTES, piece.length - this.#within);
    const into = buffer.subarray(0, length);
    this.#reading = this.#parts.file.read(into, piece.offset + this.#within).then(
      (got) => {
        this.#reading = undefined;
        if (got === length && !this.#stopped) this.#take(piece, into);
        this.#parts.pool.give(buffer);
        if (got !== length) this.#fail(new Error(`read ${got} bytes of ${length} at ${piece.offset}`));
        else if (this.step(HASH_SLICE_BYTES)) this.#parts.turns.ask(this);
      },
      (error: unknown) => {
        this.#reading = undefined;
        this.#parts.pool.give(buffer);
        this.#fail(error);
      },
    );
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
