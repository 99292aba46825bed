/** How large chunks are, and the smallest window they can travel through. Shared by the configuration and the agent. */
import type { CompressionMode } from "./chunk.ts";
import { KiB, MiB } from "./units.ts";

/** chunk_size is a multiple of this. */
export const CHUNK_BYTES_STEP = 64 * KiB;
export const CHUNK_BYTES_MIN = 64 * KiB;
export const CHUNK_BYTES_MAX = 16 * MiB;

/** A chunk may be this much longer than chunk_size where the records of one entry need it. */
export const CHUNK_RECORDS_BYTES_MAX = MiB;

/**
 * Where chunk_size is not set. 1 MiB is where gzip stops gaining from longer members and retransmission stays cheap;
 * zstd finds repetitions over a longer distance and gains up to 4 MiB.
 */
export const DEFAULT_CHUNK_BYTES: Readonly<Record<CompressionMode, number>> = { gzip: MiB, zst: 4 * MiB };

/**
 * The least `resume.buffer_size` in bytes: one chunk in each of the compress threads, and four more so that reading,
 * sending and acknowledging never wait for each other.
 */
export function bufferBytesMin(workers: number, chunkBytes: number): number {
  return (workers + 4) * (chunkBytes + CHUNK_RECORDS_BYTES_MAX);
}

/**
 * Highly compressible data makes tiny chunks: without a limit on their number 256 MB could hold millions, whose
 * bookkeeping is memory on both sides.
 */
const WINDOW_CHUNKS_MIN = 16_384;
const WINDOW_CHUNKS_MAX = 131_072;

/**
 * The most chunks that may be sent and not yet durable, both files together; the agent keeps to it and the server refuses
 * more: as many as the smallest chunk_size fits into the window, within bounds. PROTOCOL.md "Limits".
 */
export function windowChunksMax(windowBytes: number): number {
  return Math.min(WINDOW_CHUNKS_MAX, Math.max(WINDOW_CHUNKS_MIN, Math.floor(windowBytes / CHUNK_BYTES_MIN)));
}
