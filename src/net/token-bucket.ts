/**
 * A rate limit over bytes. Pure: the time is passed in, and waiting is the caller's part. Several streams may share
 * one; who may go first when tokens come is the caller's part too.
 */
import { assert } from "#base/assert.ts";

/**
 * What may be saved up while nobody sends, in seconds' worth. Enough that a timer which fires late loses nothing; so
 * little that after any pause ten seconds carry no more than 2.5 % above the limit.
 */
const SAVED_SECONDS_MAX = 0.25;

export class TokenBucket {
  #bytesPerSecond: number;
  /** Below zero: taken in advance, to be waited off by whoever comes next. */
  #tokens = 0;
  #filledAtMs: number;

  constructor(bytesPerSecond: number, nowMs: number) {
    assert(bytesPerSecond > 0, `rate of ${bytesPerSecond} bytes per second`);
    this.#bytesPerSecond = bytesPerSecond;
    this.#filledAtMs = nowMs;
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** The most that one `take` gets without running into debt, in bytes. */
  get burstBytes(): number {
    return this.#bytesPerSecond * SAVED_SECONDS_MAX;
  }

  /**
   * 0: the bytes may be sent now, and were counted. Else nothing was taken, and it is worth asking again after so many
   * milliseconds. More than `burstBytes` at once is let through when the bucket is full and paid for afterwards.
   */
  take(bytes: number, nowMs: number): number {
    this.#fill(nowMs);
    const needed = Math.min(bytes, this.burstBytes);
    if (this.#tokens < needed) return Math.max(1, Math.ceil(((needed - this.#tokens) * 1000) / this.#bytesPerSecond));
    this.#tokens -= bytes;
    return 0;
  }

  /** Changes the limit from now on; what was saved or owed stays, as far as the new limit lets it be saved. */
  setRate(bytesPerSecond: number, nowMs: number): void {
    assert(bytesPerSecond > 0, `rate of ${bytesPerSecond} bytes per second`);
    this.#fill(nowMs);
    this.#bytesPerSecond = bytesPerSecond;
    this.#tokens = Math.min(this.#tokens, this.burstBytes);
  }

  #fill(nowMs: number): void {
    assert(nowMs >= this.#filledAtMs, `time went back from ${this.#filledAtMs} to ${nowMs}`);
    const added = ((nowMs - this.#filledAtMs) * this.#bytesPerSecond) / 1000;
    this.#tokens = Math.min(this.burstBytes, this.#tokens + added);
    this.#filledAtMs = nowMs;
  }
}
