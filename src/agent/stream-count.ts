/** How many streams a window can feed. Pure. */

/** Each stream has one chunk half-way out and one on its way; more streams than that would wait for each other. */
const CHUNKS_PER_STREAM = 2;

/**
 * The number of data slots to use: at most `parallels`, and no more than the window holds two chunks for. 0 stays 0:
 * the session connection carries the data.
 */
export function streamCount(parallels: number, windowBytes: number, chunkBytesMax: number): number {
  if (parallels === 0) return 0;
  const fed = Math.floor(windowBytes / (CHUNKS_PER_STREAM * chunkBytesMax));
  return Math.max(1, Math.min(parallels, fed));
}
