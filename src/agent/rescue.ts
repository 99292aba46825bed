/**
 * When an idle stream sends a chunk that another one still carries. Pure. One slow flow must not stop fifteen healthy
 * ones; but sending twice costs bandwidth, so it is done only when the run is about to wait for that chunk.
 */

export interface RescueInput {
  readonly windowUsedBytes: number;
  readonly windowCapacityBytes: number;
  /** Nothing more will be read: the end of the run waits for the slowest chunk. */
  readonly readingEnded: boolean;
  /** Since the oldest unreceived chunk was last given to a stream. */
  readonly waitedMs: number;
  readonly rttMs: number;
  /** How long a chunk usually takes from being given to a stream to being received. */
  readonly usualMs: number;
}

/** The least wait before a chunk is sent a second time. */
const RESCUE_AFTER_MS_MIN = 1_000;

export function shouldRescue(input: RescueInput): boolean {
  const pressed = input.readingEnded || input.windowUsedBytes >= 0.75 * input.windowCapacityBytes;
  return pressed && input.waitedMs > Math.max(RESCUE_AFTER_MS_MIN, 4 * input.rttMs, 2 * input.usualMs);
}
