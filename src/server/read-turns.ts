/**
 * Who may read from one storage's disk now: first come, first served, a few at a time. While sessions write there it is one at a time, and
 * after each piece reading pauses for as long as the piece took: a restore takes at most half of a disk that backups need.
 */
import type { Clock } from "#base/clock.ts";
import { READ_PAUSE_MS_MAX, READ_PAUSE_MS_MIN, READS_AT_ONCE } from "./limits.ts";

export class ReadTurns {
  readonly #clock: Clock;
  /** Whether sessions write there. */
  readonly #busy: () => boolean;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(clock: Clock, busy: () => boolean) {
    this.#clock = clock;
    this.#busy = busy;
  }

  /** Does the work in its turn; rejects as the work does. The work must end by itself. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    // Who is woken was counted by who gave the turn on: nobody comes between.
    if (this.#taken >= this.#atOnce()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#taken += 1;
    const begunAtMs = this.#clock.now();
    try {
      return await work();
    } finally {
      this.#give(this.#clock.now() - begunAtMs);
    }
  }

  #atOnce(): number {
    return this.#busy() ? 1 : READS_AT_ONCE;
  }

  #give(tookMs: number): void {
    if (!this.#busy()) {
      this.#next();
      return;
    }
    const pauseMs = Math.min(READ_PAUSE_MS_MAX, Math.max(READ_PAUSE_MS_MIN, tookMs));
    this.#clock.after(pauseMs, () => this.#next());
  }

  #next(): void {
    this.#taken -= 1;
    while (this.#taken < this.#atOnce()) {
      const wake = this.#waiting.shift();
      if (wake === undefined) return;
      this.#taken += 1;
      wake();
    }
  }
}
