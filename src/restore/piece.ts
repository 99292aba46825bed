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
  /** What lies before it in the tar stream was left out on purpose: reading begins at this raw offset, with an entry. */
  readonly enterAt: number | undefined;
  /** What lies behind this raw offset is not wanted, nor is the piece behind it the next one; the last entry ends there. */
  readonly leaveAt: number | undefined;
  /** It was damaged when the table was made. */
  readonly lost: boolean;
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
  /** Bytes of the archive that all its pieces have, as far as it is known. Undefined: all of the archive. */
  readonly bytesTotal?: number;
  /**
   * Asked about a piece of its own that is bad, `stored` being its bytes as far as they could be read. True: what the source was made from
   * contradicts the archive; it gives other pieces from now on, and those that it has given from this one on are void.
   */
  contradicted?(piece: Piece, fault: PieceFault, stored: Uint8Array): Promise<boolean>;
  /** Raw offset of the first entry behind the piece, which is bad; undefined when nobody knows. */
  resumeAt?(piece: Piece): Promise<number | undefined>;
}

/**
 * What is wrong with a piece. unreadable: the disk said so. missing: the archive ends before. crc, digest: the stored bytes are not those that
 * were written. unfinished: the compressed data goes on behind. damaged: it cannot be decompressed. too-long, length: it decompresses to
 * more than allowed, or to another length than announced.
 */
export type PieceFault = "unreadable" | "missing" | "crc" | "digest" | "unfinished" | "damaged" | "too-long" | "length";
