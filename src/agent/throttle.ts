/** Holds the sum of a session's streams to `bandwidth_limit`: who is refused is called again when its turn comes. */
import type { Clock, Timer } from "#base/clock.ts";
import { KiB } from "#base/units.ts";
import { TokenBucket } from "#net/token-bucket.ts";
import { WRITE_BYTES_MAX } from "#wire/limits.ts";

const PIECE_BYTES_MIN = 4 * KiB;

export class Throttle {
  readonly #clock: Clock;
  /** The longest piece to ask for at once. */
  readonly pieceBytesMax: number;
  /** First come, first served, so that no stream starves. */
  readonly #waiting = new Set<() => void>();
  #bucket: TokenBucket | undefined;
  #timer: Timer | undefined;

  /** `bytesPerSecond` undefined: nothing is held back. */
  constructor(clock: Clock, bytesPerSecond: number | undefined) {
    this.#clock = clock;
    this.#bucket = bytesPerSecond === undefined ? undefined : new TokenBucket(bytesPerSecond, clock.now());
    // A twentieth of a second's worth: fine enough that the rate is smooth, and no piece is more than is ever saved up.
    const smooth = Math.max(PIECE_BYTES_MIN, Math.floor((bytesPerSecond ?? Number.POSITIVE_INFINITY) / 20));
    this.pieceBytesMax = Math.min(WRITE_BYTES_MAX, smooth);
  }

  /** True: `bytes` may be sent now. False: `wake` is called once when it is worth asking again. */
  take(bytes: number, wake: () => void): boolean {
    if (this.#bucket === undefined) return true;
    const waitMs = this.#bucket.take(bytes, this.#clock.now());
    if (waitMs === 0) return true;
    this.#waiting.add(wake);
    this.#timer ??= this.#clock.after(waitMs, () => this.#wakeAll());
    return false;
  }

  /**
   * Nothing is held back any more, so that what has begun can go out, and the last words of a session behind it. Nobody
   * is called again.
   */
  stop(): void {
    this.#bucket = undefined;
    this.#timer?.cancel();
    this.#waiting.clear();
  }

  #wakeAll(): void {
    this.#timer = undefined;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}
