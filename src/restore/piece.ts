/**
 * A piece is what of an archive is decompressed at once: a chunk by the chunk table, or a gzip member or zstd frame that was found by
 * looking. Limits are those of our writer: what is longer is no archive of ours, and is read as a stream instead.
 */
import type { CompressionMode } from "#base/chunk.ts";
import { CHUNK_BYTES_MAX, CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import { storedBytesMax } from "#compress/codec.ts";

/** No chunk is longer, before and after compression. */
export const PIECE_RAW_BYTES_MAX = CHUNK_BYTES_MAX + CHUNK_RECORDS_BYTES_MAX;
export const PIECE_STORED_BYTES_MAX = Math.max(
  storedBytesMax("gzip", PIECE_RAW_BYTES_MAX),
  storedBytesMax("zst", PIECE_RAW_BYTES_MAX),
);

export interface Piece {
  /** Number of the chunk in the archive. */
  readonly index: number;
  readonly mode: CompressionMode;
  /** Of the stored bytes in the archive. */
  readonly offset: number;
  readonly length: number;
  /** In the tar stream; undefined when something of unknown length is missing before it. */
  readonly rawOffset: number | undefined;
  /** Exact; undefined when only decompressing tells. */
  readonly rawLength: number | undefined;
  /** CRC-32 and SHA-256 of the stored bytes, where they are known. */
  readonly crc: number | undefined;
  readonly digest: Uint8Array | undefined;
  /** What lies before it in the tar stream was left out on purpose: an entry begins here. */
  readonly begins: boolean;
}

/** From here on the archive can only be read as one stream. */
export interface StreamRest {
  /** `plain`: a tar that is not compressed. */
  readonly mode: CompressionMode | "plain";
  readonly streamFrom: number;
}

export interface PieceSource {
  /** In the order of the archive; undefined after the last. */
  next(): Promise<Piece | StreamRest | undefined>;
}

/**
 * What is wrong with a piece. unreadable: the disk said so. missing: the archive ends before. crc, digest: the stored bytes are not those that
 * were written. unfinished: the compressed data goes on behind. damaged: it cannot be decompressed. too-long, length: it decompresses to
 * more than allowed, or to another length than announced.
 */
export type PieceFault = "unreadable" | "missing" | "crc" | "digest" | "unfinished" | "damaged" | "too-long" | "length";
