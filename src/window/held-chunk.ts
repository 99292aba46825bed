/** A chunk in the window: what others may see of it, and what only the window may change. */
import type { ChunkKind, FileNumber } from "#base/chunk.ts";

export type ChunkState = "queued" | "sent" | "received";

export interface WindowChunk {
  readonly file: FileNumber;
  readonly sequence: number;
  /** Byte offset in its file. */
  readonly offset: number;
  readonly storedLength: number;
  readonly rawLength: number;
  readonly kind: ChunkKind;
  /** CRC-32 of the stored bytes. */
  readonly crc: number;
  /** SHA-256 of the stored bytes. */
  readonly digest: Uint8Array;
  /** Nothing comes behind it in either file. */
  readonly last: boolean;
  /** Place in the order of appending, over both files: the lower is sent first. */
  readonly order: number;
  /** Where its bytes lie in the ring. */
  readonly position: number;
  readonly state: ChunkState;
  /** Streams that were given it and still live. */
  readonly carriers: ReadonlySet<number>;
  /** When it was last given to a stream, monotonic milliseconds. */
  readonly sentAtMs: number;
}

export interface HeldChunk extends WindowChunk {
  state: ChunkState;
  carriers: Set<number>;
  sentAtMs: number;
  everSent: boolean;
  /** The server has said at least once that it has it. */
  everReceived: boolean;
  inResendQueue: boolean;
}
