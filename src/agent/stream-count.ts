/** How many streams a session can feed. Pure. */
import { KiB } from "#base/units.ts";

/** Each stream has one chunk half-way out and one on its way; more streams than that would wait for each other. */
const CHUNKS_PER_STREAM = 2;

/** A stream whose share of the bandwidth limit is less would be silent for so long that it passes for dead. */
const STREAM_BYTES_PER_SECOND_MIN = KiB;

export interface StreamSupply {
  readonly windowBytes: number;
  readonly chunkBytesMax: number;
  /** The lowest that will count; undefined: no limit. One that comes while the session runs changes no number of streams. */
  readonly limitBytesPerSecond: number | undefined;
}

/**
 * The number of data slots to use: at most `parallels`, no more than the window holds two chunks for, and no more than
 * the limit leaves something for. 0 stays 0: the session connection carries the data.
 */
export function streamCount(parallels: number, supply: StreamSupply): number {
  if (parallels === 0) return 0;
  const { windowBytes, chunkBytesMax, limitBytesPerSecond = Number.POSITIVE_INFINITY } = supply;
  const held = Math.floor(windowBytes / (CHUNKS_PER_STREAM * chunkBytesMax));
  const fed = Math.floor(limitBytesPerSecond / STREAM_BYTES_PER_SECOND_MIN);
  return Math.max(1, Math.min(parallels, held, fed));
}
