/**
 * Tells when certificates come near their end: each stage once, as an event, and again after a start or reload. It reads no
 * file; what the certificates are is passed in.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import { formatDuration } from "#base/units.ts";
import type { EventSink } from "./events.ts";
import { type ExpiryStage, expiryStage } from "./expiry.ts";

export interface WatchedCertificate {
  /** Where it was read from. */
  readonly file: string;
  /** Wall-clock milliseconds since 1970 UTC. */
  readonly notAfterMs: number;
}

/** Often enough for a stage of a day. */
const LOOK_MS = 3_600_000;

export class CertificateWatch {
  readonly #clock: Clock;
  readonly #events: EventSink;
  readonly #timer: Timer;
  #certificates: readonly WatchedCertificate[] = [];
  /** By file, the stage that was told. */
  readonly #told = new Map<string, ExpiryStage>();

  constructor(clock: Clock, events: EventSink) {
    this.#clock = clock;
    this.#events = events;
    this.#timer = every(clock, LOOK_MS, () => this.#look());
  }

  /** These count from now on. */
  watch(certificates: readonly WatchedCertificate[]): void {
    this.#certificates = certificates;
    this.#told.clear();
    this.#look();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #look(): void {
    const nowMs = this.#clock.wall();
    for (const { file, notAfterMs } of this.#certificates) {
      const stage = expiryStage(notAfterMs, nowMs);
      if (stage === undefined) this.#told.delete(file);
      if (stage === undefined || this.#told.get(file) === stage) continue;
      this.#told.set(file, stage);
      const notAfter = new Date(notAfterMs).toISOString();
      const message = stage === 0 ? `${file} has expired` : `${file} expires in ${formatDuration(notAfterMs - nowMs)}`;
      this.#events.emit({
        kind: "certificate.expiring",
        level: stage <= 1 ? "error" : "warn",
        message,
        fields: { file, notAfter, daysLeft: Math.max(0, Math.floor((notAfterMs - nowMs) / 86_400_000)) },
      });
    }
  }
}
