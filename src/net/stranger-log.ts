/**
 * Counts the connections that came to nothing (scanners, wrong certificates, half-open ones) and says so without letting
 * them write the log full: the first at once, then one line per period that sums up. It has a timer only while there is
 * something to say.
 */
import type { Clock, Timer } from "#base/clock.ts";
import type { Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";

const PERIOD_MS = 10_000;

export class StrangerLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  #total = 0;
  /** Since the last line. */
  #unsaid = 0;
  #last: { readonly address: string; readonly failure: Failure } | undefined;
  #timer: Timer | undefined;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** All there ever were. */
  get total(): number {
    return this.#total;
  }

  /** `address` as `192.0.2.7:40812`. */
  add(address: string, failure: Failure): void {
    this.#total += 1;
    this.#unsaid += 1;
    this.#last = { address, failure };
    if (this.#timer === undefined) this.#say();
  }

  /** Says what is left and forgets its timer. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#unsaid > 0) this.#line();
  }

  #say(): void {
    this.#timer = undefined;
    if (this.#unsaid === 0) return;
    this.#line();
    this.#timer = this.#clock.after(PERIOD_MS, () => this.#say());
  }

  #line(): void {
    const count = this.#unsaid;
    this.#unsaid = 0;
    if (this.#last === undefined) return;
    const { address, failure } = this.#last;
    const fields = { address, code: failure.code, reason: failure.message, count, total: this.#total };
    this.#log.warn(
      count === 1 ? "connection refused before it was one" : "connections refused before they were one",
      fields,
    );
  }
}
