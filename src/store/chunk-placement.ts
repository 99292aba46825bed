/**
 * Where the chunks of one session lie on the disk until its archive is committed. The ledger has said that a chunk may
 * come, the write queue when its bytes are written, durability when they are synced: an implementation knows only which
 * file takes them. eager-placement.ts writes them straight to their place in the part files.
 *
 * Whoever implements this keeps two promises. A chunk is named by its whole place, and comes back under that name alone.
 * And in the end the part files (`sessionPaths`) hold the archive and its index, whatever lay elsewhere before.
 */
import type { ChunkPlace } from "./session-types.ts";

/** What a file must be in the end, by file number. */
export interface FileExtent {
  readonly chunks: number;
  readonly bytes: number;
}

/** Who asks for the assembly. */
export interface AssemblyHost {
  /** Throws the session's failure if it has one; called between steps, so that an abort need not wait long. */
  check(): void;
  /** `done` of `total` bytes lie where the commit wants them. Not called when there is nothing to move. */
  progress(done: number, total: number): void;
}

export interface ChunkPlacement {
  /**
   * Writes bytes of a chunk; `offset` is that of its file, not of the chunk. Never called for the same bytes of a chunk
   * while such a call is under way.
   */
  write(chunk: ChunkPlace, bytes: Uint8Array, offset: number): Promise<void>;

  /**
   * Makes chunks durable whose writes have all returned: when it resolves, a journal record may name them. One call at a
   * time. When it rejects no other call than `close` follows, and none of its own is still under way.
   */
  sync(chunks: readonly ChunkPlace[]): Promise<void>;

  /**
   * Reads bytes of a chunk back, wherever they lie now, at an offset of its file; of a chunk whose writes have returned, or
   * that a journal record names. Resolves with the bytes read: fewer than asked for when the disk has lost the rest.
   */
  read(chunk: ChunkPlace, into: Uint8Array, offset: number): Promise<number>;

  /** Whether a chunk that a journal record names is there in its full length. It looks at no content. */
  holds(chunk: ChunkPlace): Promise<boolean>;

  /**
   * The step before the commit: all chunks are durable and nothing is written any more. When it resolves each part file
   * holds exactly the bytes of its file, durable. Rejects with E_DISK when bytes are missing, with what the disk throws, or
   * with what `check` throws. Done again, also after a crash at any point of it, it goes on where it was.
   */
  assemble(files: readonly FileExtent[], host: AssemblyHost): Promise<void>;

  /** Closes what is open, once no call is under way; rejects with the first error after trying each. */
  close(): Promise<void>;
}
