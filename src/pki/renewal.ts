/**
 * When a certificate is due for renewal, the same function for the agent, which asks, and the server, which does not give one to
 * whom it is not due. Pure.
 */

const DAY_MS = 86_400_000;

/** However short a life is, an agent that is away for some days comes back in time; but never more than half of the life. */
const LEAD_MS_MIN = 7 * DAY_MS;

/**
 * A third of what nbackup issues. A longer lead would be longer than the life of some certificates that are issued: one made
 * elsewhere for ten years would be exchanged for one that ends sooner.
 */
const LEAD_MS_MAX = 275 * DAY_MS;

/** Agents that were installed on one day shall not all come on one day: spread over this part of the lead. */
const SPREAD = 0.1;

export interface CertificateLife {
  /** SHA-256, hex: where in the spread its agent comes, the same after each start. */
  readonly fingerprint: string;
  /** Wall-clock milliseconds since 1970 UTC. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** From when on the agent asks for a new one: a third of the life before its end, or a little later. */
export function renewalDueMs(certificate: CertificateLife): number {
  const leadMs = leadOf(certificate);
  const place = Number.parseInt(certificate.fingerprint.slice(0, 8), 16) / 2 ** 32;
  return Math.round(certificate.notAfterMs - leadMs + place * SPREAD * leadMs);
}

/** From when on the server gives one. Clocks differ, by a day if need be. */
export function renewalAllowedMs(certificate: Omit<CertificateLife, "fingerprint">): number {
  const leadMs = leadOf(certificate);
  return certificate.notAfterMs - leadMs - Math.min(DAY_MS, SPREAD * leadMs);
}

function leadOf({ notBeforeMs, notAfterMs }: Omit<CertificateLife, "fingerprint">): number {
  const lifeMs = notAfterMs - notBeforeMs;
  return Math.min(LEAD_MS_MAX, Math.max(lifeMs / 3, Math.min(LEAD_MS_MIN, lifeMs / 2)));
}
