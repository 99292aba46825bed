/**
 * How often a run begins anew after its session was lost. Pure but for its counters. A session that had something
 * acknowledged starts the count anew: a server that is upgraded now and then must not use up the attempts of a backup of
 * days. But one and the same failure is met at most so often in a run, however far each session came: a backup that always
 * ends as a mismatch must not be sent for ever.
 */
import type { ErrorCode } from "#base/catalogue.ts";

export class SessionRetries {
  readonly #attemptsMax: number;
  /** Sessions that ended since the last one with something acknowledged, that one included. */
  #failures = 0;
  readonly #byCode = new Map<ErrorCode, number>();

  /** `attemptsMax`: `retry.max_attempts`, the first attempt included. */
  constructor(attemptsMax: number) {
    this.#attemptsMax = attemptsMax;
  }

  /**
   * A session ended without an archive. The number of the next retry, from 0, for the backoff; undefined when there is to be
   * none.
   */
  next(code: ErrorCode, acknowledgedBytes: number): number | undefined {
    if (acknowledgedBytes > 0) this.#failures = 0;
    this.#failures += 1;
    const same = (this.#byCode.get(code) ?? 0) + 1;
    this.#byCode.set(code, same);
    if (this.#failures >= this.#attemptsMax || same >= this.#attemptsMax) return undefined;
    return this.#failures - 1;
  }
}
