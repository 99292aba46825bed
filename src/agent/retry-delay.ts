/** How long to wait before something is tried again: the backoff, unless the server said when to come. Pure. */
import { type BackoffLimits, backoffDelayMs } from "#base/backoff.ts";
import type { Failure } from "#base/errors.ts";

/** No server keeps an agent away for longer than this at once: a wrong number must not stop backups for ever. */
const RETRY_AFTER_MS_MAX = 3_600_000;

/** Milliseconds before attempt `attempt` (0 is the first retry); `unit` as backoffDelayMs takes it. */
export function retryDelayMs(limits: BackoffLimits, failure: Failure, attempt: number, unit: number): number {
  const { retryAfterMs } = failure;
  if (retryAfterMs === undefined) return backoffDelayMs(limits, attempt, unit);
  return Math.min(RETRY_AFTER_MS_MAX, Math.max(limits.initialDelayMs, retryAfterMs));
}
