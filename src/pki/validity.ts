/** How long certificates are valid, the same for the commands and for the server that issues by itself. Pure. */
import type { Validity } from "./issue.ts";

const DAY_MS = 86_400_000;

/** The CA outlives several generations of certificates: changing it means visiting every machine. */
export const CA_DAYS = 3650;

/**
 * The longest that every common TLS library and platform accepts of a private CA. Longer would only mean that nobody
 * remembers how it was done when it ends; shorter, that backups stop more often for nothing.
 */
export const LEAF_DAYS = 825;

/** Clocks of two machines differ; a certificate must not be refused in the first minutes after it was made. */
const NOT_BEFORE_SLACK_MS = 3_600_000;

/** From an hour before `nowMs`, wall-clock milliseconds since 1970 UTC. */
export function validityFrom(nowMs: number, days: number): Validity {
  return { notBeforeMs: nowMs - NOT_BEFORE_SLACK_MS, notAfterMs: nowMs + days * DAY_MS };
}

export interface LeafLimits {
  /** A certificate that outlives its CA would promise what it cannot keep. */
  readonly caNotAfterMs: number;
  /** When everything issued for the name so far was revoked: what is issued now must begin after it. */
  readonly revokedMs?: number | undefined;
}

/** The same within the limits; it may begin up to a second after `nowMs`, because certificates know whole seconds only. */
export function leafValidity(nowMs: number, days: number, { caNotAfterMs, revokedMs }: LeafLimits): Validity {
  const wanted = validityFrom(nowMs, days);
  const firstMs = revokedMs === undefined ? wanted.notBeforeMs : Math.floor(revokedMs / 1000) * 1000 + 1000;
  return {
    notBeforeMs: Math.max(wanted.notBeforeMs, firstMs),
    notAfterMs: Math.min(wanted.notAfterMs, caNotAfterMs),
  };
}
