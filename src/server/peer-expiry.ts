/**
 * Tells when an agent's certificate comes near its end, as the server sees it at each Hello: 30, 7 and 1 days before, once a day while it
 * is used. An agent that is never heard of has nobody who would be told. Whether it may still come in is not decided here.
 */
import type { Clock } from "#base/clock.ts";
import { formatDuration } from "#base/units.ts";
import type { EventSink } from "#observe/events.ts";
import { type ExpiryStage, expiryStage } from "#observe/expiry.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { EXPIRING_AGENTS_MAX } from "./limits.ts";

const DAY_MS = 86_400_000;

interface Told {
  readonly stage: ExpiryStage;
  readonly atMs: number;
}

export class PeerExpiry {
  readonly #clock: Clock;
  readonly #events: EventSink;
  /** By agent, the longest untold first. */
  readonly #told = new Map<string, Told>();

  constructor(clock: Clock, events: EventSink) {
    this.#clock = clock;
    this.#events = events;
  }

  /** A Hello of this peer was accepted. */
  saw({ commonName: agent, notAfterMs }: PeerIdentity): void {
    const nowMs = this.#clock.wall();
    const stage = expiryStage(notAfterMs, nowMs);
    const told = this.#told.get(agent);
    if (stage === undefined) {
      this.#told.delete(agent);
      return;
    }
    const atMs = this.#clock.now();
    if (told?.stage === stage && atMs - told.atMs < DAY_MS) return;
    this.#told.delete(agent);
    this.#told.set(agent, { stage, atMs });
    const [oldest] = this.#told.keys();
    if (this.#told.size > EXPIRING_AGENTS_MAX && oldest !== undefined) this.#told.delete(oldest);
    const leftMs = Math.max(0, notAfterMs - nowMs);
    this.#events.emit({
      kind: "certificate.expiring",
      level: stage <= 1 ? "error" : "warn",
      message: `the certificate of agent ${agent} expires in ${formatDuration(leftMs)}`,
      fields: {
        ...{ agent, notAfter: new Date(notAfterMs).toISOString(), daysLeft: Math.floor(leftMs / DAY_MS) },
        hint: `It did not renew by itself: look for certificate.renewal-failed in the agent's log, or nbackup-server pki renew ${agent}`,
      },
      repeatKey: agent,
    });
  }
}
