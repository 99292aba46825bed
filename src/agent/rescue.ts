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
  /** How long it may take at the bandwidth limit when every stream has its share; 0 without a limit. */
  readonly limitedMs: number;
  /** Streams that carry it already, at least 1. */
  readonly carriers: number;
}

/** The least wait before a chunk is sent a second time. */
const RESCUE_AFTER_MS_MIN = 1_000;

/**
 * Each copy waits so many times longer than the one before. The server takes the newest copy and drops the rest of the older
 * ones (PROTOCOL.md "Addressing and trust"), and on one slow line they share what there is: copies in quick succession
 * would only take it from each other, and none would ever arrive.
 */
const PATIENCE = 4;

export function shouldRescue(input: RescueInput): boolean {
  const pressed = input.readingEnded || input.windowUsedBytes >= 0.75 * input.windowCapacityBytes;
  const expectedMs = Math.max(input.usualMs, input.limitedMs);
  const afterMs = Math.max(RESCUE_AFTER_MS_MIN, 4 * input.rttMs, 2 * expectedMs);
  return pressed && input.waitedMs > afterMs * PATIENCE ** (input.carriers - 1);
}
