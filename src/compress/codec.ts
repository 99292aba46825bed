/**
 * Compresses one chunk into one complete gzip member or zstd frame. The result depends on the bytes, the mode and the level
 * only: gzip members carry neither time nor name, zstd frames carry their content's size and no checksum (the digest
 * of the stored bytes covers them). Decompresses nothing.
 */
import type { Compression, CompressionMode } from "#base/chunk.ts";
import { KiB } from "#base/units.ts";

/** gzip: what libdeflate has beyond zlib's 9 is slow, but a setting. zst: beyond 19 the memory of a worker explodes. */
const LEVEL_MAX: Readonly<Record<CompressionMode, number>> = { gzip: 12, zst: 19 };

const GZIP_HEADER_BYTES = 10;
const GZIP_TRAILER_BYTES = 8;
/** Deflate stores what does not compress in blocks of at least this many bytes, with five bytes in front of each. */
const DEFLATE_STORED_BLOCK_BYTES_MIN = 5000;
const DEFLATE_BLOCK_HEADER_BYTES = 5;
const ZSTD_SMALL_INPUT_BYTES = 128 * KiB;

/** The most that `rawLength` bytes can become. */
export function storedBytesMax(mode: CompressionMode, rawLength: number): number {
  if (mode === "gzip") {
    const blockCount = Math.max(1, Math.ceil(rawLength / DEFLATE_STORED_BLOCK_BYTES_MIN));
    return GZIP_HEADER_BYTES + rawLength + blockCount * DEFLATE_BLOCK_HEADER_BYTES + 1 + GZIP_TRAILER_BYTES;
  }
  // ZSTD_compressBound
  const small = rawLength < ZSTD_SMALL_INPUT_BYTES ? Math.floor((ZSTD_SMALL_INPUT_BYTES - rawLength) / 2048) : 0;
  return rawLength + Math.floor(rawLength / 256) + small;
}

/** The level as the library's types have it. */
type GzipLevel = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12;

function isGzipLevel(level: number): level is GzipLevel {
  return Number.isInteger(level) && level >= 0 && level <= LEVEL_MAX.gzip;
}

/** `raw` may be a view of shared memory. The result is memory of its own; give it to `release` when done. */
export function compress(raw: Uint8Array, compression: Compression): Uint8Array {
  const { mode, level } = compression;
  // Both take views of shared memory, which their types do not say.
  const view = raw as Uint8Array<ArrayBuffer>;
  if (mode === "zst") return Bun.zstdCompressSync(view, { level });
  if (!isGzipLevel(level)) throw new RangeError(`gzip level ${level} is not 0 to ${LEVEL_MAX.gzip}`);
  return Bun.gzipSync(view, { library: "libdeflate", level });
}

/**
 * Frees the memory of a compressed chunk at once. Left to the garbage collector, which sees only small objects, the
 * chunks of a second pile up to more than 100 MB.
 */
export function release(stored: Uint8Array): void {
  const { buffer } = stored;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === stored.byteLength) buffer.transfer(0);
}
