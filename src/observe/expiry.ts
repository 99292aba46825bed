/** When somebody is to be told that a certificate ends: 30, 7 and 1 days before, and when it has. Pure. */

const DAY_MS = 86_400_000;
/** Days left at which it is said once more, ascending; 0 when it has ended. */
const STAGES = [0, 1, 7, 30] as const;

export type ExpiryStage = (typeof STAGES)[number];

/** The stage that is reached; undefined when there is time. */
export function expiryStage(notAfterMs: number, nowMs: number): ExpiryStage | undefined {
  return STAGES.find((days) => notAfterMs - nowMs <= days * DAY_MS);
}
