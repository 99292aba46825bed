/**
 * What the server and a session's store say to each other: values and callbacks, no behaviour. Vocabulary of
 * PROTOCOL.md: "Addressing and trust", "Acknowledgement", "Integrity".
 */
import type { ChunkKind, CompressionMode, FileNumber } from "#base/chunk.ts";
import type { Failure } from "#base/errors.ts";

/** What a session is, as its journal keeps it. */
export interface SessionRequest {
  /** UUID, made by the server. */
  readonly session: string;
  readonly agent: string;
  readonly backup: string;
  /** UUID of the agent's run that began it. */
  readonly run: string;
  readonly generation: number;
  /** Streams; 0: data on the session connection. */
  readonly parallels: number;
  readonly compression: CompressionMode;
  readonly compressionLevel: number;
  /** The most raw bytes of a chunk, without pax records. */
  readonly chunkBytes: number;
  readonly windowBytes: number;
  /** What it will store as far as anyone knows, bytes. */
  readonly expectedBytes: number;
  /** Totals of the entry's last committed session, 0 when there was none. */
  readonly lastEntries: number;
  readonly lastRawBytes: number;
  /** Wall clock at admission. */
  readonly startWallMs: number;
  /** The agent doubts what it sends: its commit removes no older archive. */
  readonly holdRotation?: boolean | undefined;
}

/** Where a chunk says that it belongs: the header of a Data frame. */
export interface ChunkPlace {
  readonly file: FileNumber;
  readonly sequence: number;
  readonly offset: number;
  /** Stored bytes, at least 1: the payload without its tail. */
  readonly storedLength: number;
}

/** The chunk tail of a Data frame, and whether the frame arrived whole. */
export interface ChunkTail {
  /** Uncompressed bytes. */
  readonly rawLength: number;
  readonly kind: ChunkKind;
  /** SHA-256 of the stored bytes, 32 bytes; only read during the call. */
  readonly digest: Uint8Array;
  /** The CRC-32 of the frame's payload was right. */
  readonly payloadIntact: boolean;
}

/** The way of one chunk from a connection to its place. One of `finish` and `abort` ends it; nothing follows. */
export interface ChunkWriter {
  /** The next stored bytes; the view is only read during the call. Never blocks: look at `SessionStore.congested`. */
  write(segment: Uint8Array): void;
  /**
   * All stored bytes and the tail are here. `received`: digest and CRC were right. `damaged`: they were not, the chunk
   * counts as lost (`events.lost` was called) and may come again; also returned, without more, once the session failed or
   * was aborted. `superseded`: a newer copy took over meanwhile. Throws Failure E_PROTOCOL when the tail says what cannot be.
   */
  finish(tail: ChunkTail): "received" | "damaged" | "superseded";
  /** The connection died before the end: the chunk may come again on another one. May be called more than once. */
  abort(): void;
}

/** `duplicate`: the chunk is here already: read it and drop it unchecked, PROTOCOL.md "Addressing and trust". */
export type Placing = { readonly verdict: "new"; readonly writer: ChunkWriter } | { readonly verdict: "duplicate" };

/**
 * What the store tells the server. None of these may throw. `lost` and `relief` may be called from within a writer's or
 * `beginChunk`'s call, the others come in a turn of their own.
 */
export interface SessionEvents {
  /** The durable point of a file moved: time for a Sack. */
  durable(): void;
  /** To be sent again: damaged on its way or on the disk, or its connection died after it had taken over from an older copy. */
  lost(file: FileNumber, sequence: number): void;
  /** `congested` became false. */
  relief(): void;
  /** Once, of a session that an earlier server began: what was durable then is hashed and right. */
  verified(): void;
  /** Once: the disk failed the session. Nothing more is placed; the server calls `abort`. */
  failed(failure: Failure): void;
}

/** One file of the session as a Sack tells it. */
export interface FileAcknowledgement {
  readonly file: FileNumber;
  /** All chunks below this number are on disk for good. */
  readonly durableChunks: number;
  readonly durableBytes: number;
  /** First and last sequence number of each run of chunks that were received above, ascending; at most as many as asked for. */
  readonly received: readonly (readonly [number, number])[];
}

/** What the agent says of one file at the end. */
export interface FileProof {
  readonly file: FileNumber;
  readonly chunks: number;
  readonly bytes: number;
  /** Of the file's bytes; 32 bytes. */
  readonly sha256: Uint8Array;
  /** Of the list of chunks, as PROTOCOL.md "Integrity" defines it; 32 bytes. */
  readonly root: Uint8Array;
  /** What the root was on the way to it: root-trail.ts of base. */
  readonly trail: Uint8Array;
}

export interface SessionProof {
  /** The archive, and its index if there is one. */
  readonly files: readonly FileProof[];
  readonly entries: number;
  readonly rawBytes: number;
  readonly problems: number;
  /** Paths at and below which the archive may lack what was there, raw bytes; undefined: nobody knows all of them. */
  readonly unread?: readonly Uint8Array[] | undefined;
}

export type FinishPhase = "hashing" | "assembling" | "committing" | "rotating";
/** `done` of `total` bytes of the phase. */
export type PhaseListener = (phase: FinishPhase, done: number, total: number) => void;

/** The answer to Finish, the same however often it is asked. */
export interface CommitAnswer {
  readonly session: string;
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string;
  readonly bytes: number;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
  /** Archives that rotation removed for this one, named like `archive`. */
  readonly removed: readonly string[];
  /** Sizes of the entry's archives before this one, at most five, the newest last; only said by the commit itself. */
  readonly earlierBytes?: readonly number[];
  /** `pending`: it is read again from the disk after this answer. Stays so for ever: what came of it is another answer. */
  readonly verify: "none" | "pending";
}

/** `unknown`: it could not be verified, because it was gone before, or cannot be read. */
export const VERIFY_RESULTS = ["ok", "damaged", "unknown"] as const;

/** What came of the verification of a committed archive. */
export interface VerifyResult {
  readonly result: (typeof VERIFY_RESULTS)[number];
  /** What is damaged, or why nobody knows; empty when all is well. */
  readonly message: string;
}
