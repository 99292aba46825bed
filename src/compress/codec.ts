/**
 * Compresses one chunk into one complete gzip member or zstd frame. The result depends on the bytes, the mode and the level
 * only: gzip members carry neither time nor name, zstd frames carry their content's size and, as gzip does, a checksum of it:
 * without an index and a SHA-256 beside it nothing else tells that an archive is whole. Decompresses nothing.
 */
import { constants, zstdCompressSync } from "node:zlib";
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

const WINDOW_LOG_MIN = 10;
/** 16 MiB, the longest chunk_size: what every reader takes without being told to. */
const WINDOW_LOG_MAX = 24;
/** Short buffers come out of a pool that all of the thread shares, which `release` must never get hold of. */
const UNPOOLED_BYTES_MIN = 64 * KiB;

/**
 * The window is the whole chunk: by itself level 1 looks back half a megabyte only. On source code that makes the archive 8 %
 * shorter and zstd a tenth quicker; a reader needs no more memory than the chunk.
 */
function compressZstd(raw: Uint8Array, level: number): Uint8Array {
  const windowLog = Math.ceil(Math.log2(Math.max(1, raw.length)));
  const { ZSTD_c_checksumFlag, ZSTD_c_compressionLevel, ZSTD_c_windowLog } = constants;
  return zstdCompressSync(raw, {
    // Room for the whole result: it comes in one piece.
    chunkSize: Math.max(UNPOOLED_BYTES_MIN, storedBytesMax("zst", raw.length)),
    params: {
      [ZSTD_c_compressionLevel]: level,
      [ZSTD_c_checksumFlag]: 1,
      [ZSTD_c_windowLog]: Math.min(WINDOW_LOG_MAX, Math.max(WINDOW_LOG_MIN, windowLog)),
    },
  });
}

/** `raw` may be a view of shared memory. The result is memory of its own; give it to `release` when done. */
export function compress(raw: Uint8Array, compression: Compression): Uint8Array {
  const { mode, level } = compression;
  // Both take views of shared memory, which their types do not say.
  const view = raw as Uint8Array<ArrayBuffer>;
  if (mode === "zst") return compressZstd(view, level);
  if (!isGzipLevel(level)) throw new RangeError(`gzip level ${level} is not 0 to ${LEVEL_MAX.gzip}`);
  return Bun.gzipSync(view, { library: "libdeflate", level });
}

/**
 * Frees the memory of a compressed chunk at once. Left to the garbage collector, which sees only small objects, the
 * chunks of a second pile up to more than 100 MB.
 */
export function release(stored: Uint8Array): void {
  const { buffer } = stored;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
