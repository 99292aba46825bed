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
  /** First come, first served. While somebody waits a timer is set. */
  readonly #waiting = new Set<() => void>();
  #pieceBytesMax: number;
  #bucket: TokenBucket | undefined;
  #stopped = false;
  #timer: Timer | undefined;
  /** Who is being called because its turn has come. */
  #turn: (() => void) | undefined;

  /** `bytesPerSecond` undefined: nothing is held back. */
  constructor(clock: Clock, bytesPerSecond: number | undefined) {
    this.#clock = clock;
    this.#bucket = bytesPerSecond === undefined ? undefined : new TokenBucket(bytesPerSecond, clock.now());
    this.#pieceBytesMax = pieceBytes(bytesPerSecond);
  }

  /** The longest piece to ask for at once. Smaller pieces come from a limit that was lowered meanwhile. */
  get pieceBytesMax(): number {
    return this.#pieceBytesMax;
  }

  /** The limit; undefined when nothing is held back. */
  get bytesPerSecond(): number | undefined {
    return this.#bucket?.bytesPerSecond;
  }

  /** Nobody is held to anything any more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** How long so many bytes take at the limit; 0 without one. */
  durationMs(bytes: number): number {
    const { bytesPerSecond } = this;
    return bytesPerSecond === undefined ? 0 : (bytes * 1000) / bytesPerSecond;
  }

  /** Another limit from now on, or none. Who waits keeps its place. */
  setLimit(bytesPerSecond: number | undefined): void {
    if (this.#stopped) return;
    this.#pieceBytesMax = pieceBytes(bytesPerSecond);
    if (bytesPerSecond === undefined) this.#bucket = undefined;
    else if (this.#bucket === undefined) this.#bucket = new TokenBucket(bytesPerSecond, this.#clock.now());
    else this.#bucket.setRate(bytesPerSecond, this.#clock.now());
    if (this.#timer === undefined) return;
    // What was to be waited for at the old limit.
    this.#timer.cancel();
    this.#timer = this.#clock.after(0, () => this.#serve());
  }

  /** True: `bytes` may be sent now. False: `wake`, the same function at each call, is called once when it is worth asking again. */
  take(bytes: number, wake: () => void): boolean {
    if (this.#bucket === undefined) {
      this.#waiting.delete(wake);
      return true;
    }
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
    this.#stopped = true;
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

  /** Whoever has waited longest. */
  #first(): (() => void) | undefined {
    return this.#waiting.values().next().value;
  }
}

/** A twentieth of a second's worth: fine enough that the rate is smooth, and no piece is more than is ever saved up. */
function pieceBytes(bytesPerSecond = Number.POSITIVE_INFINITY): number {
  return Math.min(WRITE_BYTES_MAX, Math.max(PIECE_BYTES_MIN, Math.floor(bytesPerSecond / 20)));
}
