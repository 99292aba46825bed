/**
 * What one stream has done: bytes and chunks handed to its connections, and for how long it had something in hand. Counters
 * that only grow; who wants a rate takes the difference of two looks.
 */
export class StreamMeter {
  sentBytes = 0;
  chunks = 0;
  #busyMs = 0;
  #busySinceMs: number | undefined;
  #heldMs = 0;
  #heldSinceMs: number | undefined;

  /** Bytes were handed out: from here on the stream is busy until it is asked for more and has nothing. */
  sent(bytes: number, nowMs: number): void {
    this.sentBytes += bytes;
    this.#go(nowMs);
    this.#busySinceMs ??= nowMs;
  }

  /** The bandwidth limit lets nothing through now. */
  held(nowMs: number): void {
    this.#busySinceMs ??= nowMs;
    this.#heldSinceMs ??= nowMs;
  }

  /** It was asked for more and has nothing, or its connection is gone. */
  idle(nowMs: number): void {
    this.#go(nowMs);
    if (this.#busySinceMs !== undefined) this.#busyMs += nowMs - this.#busySinceMs;
    this.#busySinceMs = undefined;
  }

  /** Time with something in hand, that in which the bandwidth limit held it back included. */
  busyMs(nowMs: number): number {
    return this.#busyMs + (this.#busySinceMs === undefined ? 0 : nowMs - this.#busySinceMs);
  }

  /** Time in which the bandwidth limit held it back. */
  heldMs(nowMs: number): number {
    return this.#heldMs + (this.#heldSinceMs === undefined ? 0 : nowMs - this.#heldSinceMs);
  }

  #go(nowMs: number): void {
    if (this.#heldSinceMs !== undefined) this.#heldMs += nowMs - this.#heldSinceMs;
    this.#heldSinceMs = undefined;
  }
}
