/**
 * Buffers of one size that are used again and again, so that a stream of chunks makes no garbage; a few bytes get a
 * buffer of their own. It bounds what lies idle, not what is in use: intake-memory.ts does that.
 */
import { assert } from "#base/assert.ts";
import { KiB, MiB } from "#base/units.ts";

/** Large enough that a write costs little beside its bytes, small enough that 32 of them are a session's backlog. */
export const BUFFER_BYTES = 256 * KiB;

/** What fits into less is given a buffer of its own length: tiny chunks must not hold large buffers, and make little garbage. */
const OWN_BYTES_MAX = 16 * KiB;

/** What one busy session uses; more than that is given back to the garbage collector when sessions end. */
const IDLE_BYTES_MAX = 16 * MiB;

export class BufferPool {
  readonly #idle: Uint8Array[] = [];
  #inUse = 0;

  /** Buffers that were taken and not given back. */
  get inUse(): number {
    return this.#inUse;
  }

  /** A buffer for up to `bytesMax` bytes, with any content: of just so many, or of BUFFER_BYTES whatever they are. */
  take(bytesMax: number): Uint8Array {
    this.#inUse += 1;
    if (bytesMax <= OWN_BYTES_MAX) return new Uint8Array(bytesMax);
    return this.#idle.pop() ?? new Uint8Array(BUFFER_BYTES);
  }

  /** The buffer must not be used afterwards. */
  give(buffer: Uint8Array): void {
    assert(this.#inUse > 0, "a buffer that is not from the pool");
    this.#inUse -= 1;
    if (buffer.length !== BUFFER_BYTES) return;
    if ((this.#idle.length + 1) * BUFFER_BYTES <= IDLE_BYTES_MAX) this.#idle.push(buffer);
  }
}
