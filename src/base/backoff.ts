/** Exponential backoff with jitter, as a pure function of the attempt. */

export interface BackoffLimits {
  readonly initialDelayMs: number;
  readonly maxDelayMs: number;
}

/**
 * The wait before attempt `attempt` (0 is the first retry): initial × 2^attempt, at most max, multiplied by a factor
 * in [0.5, 1) taken from `unit` in [0, 1) so that a thousand agents do not come back in the same second.
 */
export function backoffDelayMs(limits: BackoffLimits, attempt: number, unit: number): number {
  const exponent = Math.min(attempt, 30);
  const full = Math.min(limits.maxDelayMs, limits.initialDelayMs * 2 ** exponent);
  return full * (0.5 + unit / 2);
}
