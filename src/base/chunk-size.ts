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
