/**
 * Decompresses one piece, and believes nothing: the stored bytes are compared with their checksums first, and the decompressor never makes
 * more than the announced length. zlib and zstd of node:zlib are the ones that can be bounded; libdeflate in Bun grows its output to
 * gigabytes before it finds that a member lies about its length.
 */
import { crc32, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { CompressionMode } from "#base/chunk.ts";
import { errnoName } from "#base/errors.ts";
import { release } from "#compress/codec.ts";
import { PIECE_RAW_BYTES_MAX, type Piece, type PieceFault } from "./piece.ts";
import { isOneFrame } from "./scan-zstd.ts";

export type InflateSpec = Pick<Piece, "mode" | "rawLength" | "crc" | "digest">;

/** zlib takes no shorter output buffer. */
const OUTPUT_BYTES_MIN = 64;

/** Puts what `stored` decompresses to at the beginning of `into`, and gives its length, or what is wrong. Both may be shared memory. */
export function inflatePiece(stored: Uint8Array, spec: InflateSpec, into: Uint8Array): number | PieceFault {
  const { crc, digest, mode, rawLength } = spec;
  // It takes views of shared memory, which its type does not say.
  const bytes = stored as Uint8Array<ArrayBuffer>;
  if (crc !== undefined && crc32(bytes) !== crc) return "crc";
  if (digest !== undefined && !isDigestOf(bytes, digest)) return "digest";
  const most = Math.min(rawLength ?? PIECE_RAW_BYTES_MAX, PIECE_RAW_BYTES_MAX, into.length);
  if (rawLength !== undefined && rawLength > most) return "too-long";
  const raw = decompress(bytes, mode, most, rawLength);
  if (typeof raw === "string") return raw;
  const { length } = raw;
  into.set(raw);
  release(raw);
  if (rawLength === undefined) return length;
  return length === rawLength && isFilled(bytes, mode, length) ? length : "length";
}

/** Decompressors pass over what lies behind the end; then the piece does not end where it says. */
function isFilled(bytes: Uint8Array, mode: CompressionMode, rawLength: number): boolean {
  return mode === "zst" ? isOneFrame(bytes) : announced(bytes, mode) === rawLength;
}

/** Whether this is the SHA-256 of the bytes. */
export function isDigestOf(bytes: Uint8Array<ArrayBuffer>, digest: Uint8Array): boolean {
  return Buffer.compare(new Bun.CryptoHasher("sha256").update(bytes).digest(), digest) === 0;
}

function decompress(
  bytes: Uint8Array<ArrayBuffer>,
  mode: "gzip" | "zst",
  most: number,
  rawLength: number | undefined,
): Uint8Array | PieceFault {
  // Room for all of it, so that it comes in one piece. What it is not known to be is not allocated.
  const chunkSize = Math.max(OUTPUT_BYTES_MIN, Math.min(most, rawLength ?? announced(bytes, mode)));
  try {
    const options = { maxOutputLength: Math.max(1, most), chunkSize };
    return mode === "gzip" ? gunzipSync(bytes, options) : zstdDecompressSync(bytes, options);
  } catch (error) {
    const code = errnoName(error);
    if (code === undefined) throw error;
    if (code === "ERR_BUFFER_TOO_LARGE") return "too-long";
    return code === "Z_BUF_ERROR" ? "unfinished" : "damaged";
  }
}

/** The length that a gzip member ends with: a hint for how much room to make, no more. */
function announced(bytes: Uint8Array, mode: "gzip" | "zst"): number {
  if (mode !== "gzip" || bytes.length < 18) return PIECE_RAW_BYTES_MAX;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(bytes.length - 4, true);
}
