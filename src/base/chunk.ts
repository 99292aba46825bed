/** What a chunk is, shared by all who cut, compress, send, place and read them. See ARCHITECTURE.md "A chunk is a block". */

/**
 * `entries`: whole entries (headers, data, padding). `headers`: one large entry's headers. `data`: data of one file
 * (the last one with the padding). `end`: the two end blocks. `index`: a piece of file 1.
 */
export type ChunkKind = "entries" | "headers" | "data" | "end" | "index";

/** Position in this list is the kind's number on the wire and on disk. Only ever appended to. */
export const CHUNK_KINDS: readonly ChunkKind[] = ["entries", "headers", "data", "end", "index"];

/** File 0 is the archive, file 1 its index. */
export type FileNumber = 0 | 1;

export type CompressionMode = "gzip" | "zst";

export interface Compression {
  readonly mode: CompressionMode;
  /** gzip 1-12 (libdeflate), zst 1-19. */
  readonly level: number;
}

/** One compressed chunk, ready for the window. */
export interface SealedChunk {
  readonly file: FileNumber;
  /** 0, 1, 2 … per file, without gaps. */
  readonly sequence: number;
  readonly kind: ChunkKind;
  /** Uncompressed length in bytes. */
  readonly rawLength: number;
  /** One complete gzip member or zstd frame. Only valid during the call that hands it over. */
  readonly stored: Uint8Array;
  /** CRC-32 of `stored`. */
  readonly crc: number;
  /** SHA-256 of `stored`, 32 bytes. */
  readonly digest: Uint8Array;
  /** Nothing comes behind it in either file: the server is asked to say at once that it has it. */
  readonly last?: boolean;
}

/** A source path that could not be backed up as it is, reported by name. */
export interface Problem {
  /** Absolute path in raw bytes, without NUL. */
  readonly path: Uint8Array;
  readonly reason: ProblemReason;
  /** errno name where there was one: EACCES, EIO … */
  readonly errno?: string;
}

/**
 * `vanished`, `unreadable`, `type-changed`, `unsupported`: not in the archive. `shrank`: padded with zeros. `grew`: cut at
 * the announced size. `read-error`: the rest padded with zeros. `links-forgotten`: a hard link stored as a file.
 * `xattrs-unreadable`, `xattrs-too-large`: stored without some or all of its extended attributes and access control lists.
 */
export type ProblemReason =
  | "vanished"
  | "unreadable"
  | "type-changed"
  | "unsupported"
  | "shrank"
  | "grew"
  | "read-error"
  | "links-forgotten"
  | "xattrs-unreadable"
  | "xattrs-too-large";

/**
 * Paths at and below which the archive may lack what was there, raw bytes: all of them. Undefined where nobody knows all: there were too
 * many, or something went while it was looked at, and may lie under another name.
 */
export type UnreadPaths = readonly Uint8Array[] | undefined;

/** Kept for each archive, and told with each row of a list: enough for a few places that never can be read. */
export const UNREAD_PATHS_MAX = 20;
export const UNREAD_BYTES_MAX = 2048;

/** Unix sockets of the sources: no tar holds one, and the program that listens makes its own anew. Said, and no problem. */
export interface SocketsLeftOut {
  readonly count: number;
  /** The first ones: absolute paths in raw bytes. */
  readonly paths: readonly Uint8Array[];
}

export const NO_SOCKETS: SocketsLeftOut = { count: 0, paths: [] };
