/**
 * Holds the sum of a session's streams to `bandwidth_limit`: they take turns, a piece each, so that none falls silent in
 * the middle of a frame. Who is refused is called again when its turn comes.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { KiB } from "#base/units.ts";
import { TokenBucket } from "#net/token-bucket.ts";
import { WRITE_BYTES_MAX } from "#wire/limits.ts";

const PIECE_BYTES_MIN = 4 * KiB;

/** In #turn: whose turn it was has had its piece. */
const SERVED = (): void => undefined;

export class Throttle {
  readonly #clock: Clock;
  /** The longest piece to ask for at once. */
  readonly pieceBytesMax: number;
  /** First come, first served. While somebody waits a timer is set. */
  readonly #waiting = new Set<() => void>();
  readonly #bytesPerMs: number;
  #bucket: TokenBucket | undefined;
  #timer: Timer | undefined;
  /** Who is being called because its turn has come. */
  #turn: (() => void) | undefined;

  /** `bytesPerSecond` undefined: nothing is held back. */
  constructor(clock: Clock, bytesPerSecond: number | undefined) {
    this.#clock = clock;
    this.#bytesPerMs = (bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000;
    this.#bucket = bytesPerSecond === undefined ? undefined : new TokenBucket(bytesPerSecond, clock.now());
    // A twentieth of a second's worth: fine enough that the rate is smooth, and no piece is more than is ever saved up.
    const smooth = Math.max(PIECE_BYTES_MIN, Math.floor((bytesPerSecond ?? Number.POSITIVE_INFINITY) / 20));
    this.pieceBytesMax = Math.min(WRITE_BYTES_MAX, smooth);
  }

  /** How long so many bytes take at the limit; 0 without one. */
  durationMs(bytes: number): number {
    return bytes / this.#bytesPerMs;
  }

  /** True: `bytes` may be sent now. False: `wake`, the same function at each call, is called once when it is worth asking again. */
  take(bytes: number, wake: () => void): boolean {
    if (this.#bucket === undefined) return true;
    const mayGo = this.#turn === undefined ? this.#waiting.size === 0 : this.#turn === wake;
    const waitMs = mayGo ? this.#bucket.take(bytes, this.#clock.now()) : undefined;
    if (waitMs === 0) {
      this.#waiting.delete(wake);
      if (this.#turn !== undefined) this.#turn = SERVED;
      return true;
    }
    // Who waits already keeps its place.
    this.#waiting.add(wake);
    if (waitMs !== undefined) this.#timer ??= this.#clock.after(waitMs, () => this.#serve());
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

  /** Calls one after another until one of them is refused, which sets the timer anew. */
  #serve(): void {
    this.#timer = undefined;
    for (let first = this.#first(); first !== undefined && this.#timer === undefined; first = this.#first()) {
      this.#turn = first;
      first();
      // Its connection is gone or takes nothing now: it asks again when that changes.
      if (this.#turn === first && this.#timer === undefined) this.#waiting.delete(first);
      this.#turn = undefined;
    }
  }

  #first(): (() => void) | undefined {
    return this.#waiting.values().next().value;
  }
}
