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

/** Idle buffers always kept: what one busy session uses. */
const IDLE_KEPT = (8 * MiB) / BUFFER_BYTES;

/**
 * After so many buffers taken, those that lay idle all the while are dropped. Not sooner: buffers dropped in one moment and
 * made again in the next are garbage that nobody collects in time, and cost more memory than they save.
 */
const TAKES_PER_LOOK = 1024;

export class BufferPool {
  readonly #idle: Uint8Array[] = [];
  #inUse = 0;
  #takes = 0;
  /** The fewest idle buffers since the last look. */
  #leastIdle = 0;

  /** Buffers that were taken and not given back. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Buffers that wait to be used again. */
  get idle(): number {
    return this.#idle.length;
  }

  /** A buffer for up to `bytesMax` bytes, with any content: of just so many, or of BUFFER_BYTES whatever they are. */
  take(bytesMax: number): Uint8Array {
    this.#inUse += 1;
    if (bytesMax <= OWN_BYTES_MAX) return new Uint8Array(bytesMax);
    this.#takes += 1;
    if (this.#takes >= TAKES_PER_LOOK) this.#look();
    const buffer = this.#idle.pop() ?? new Uint8Array(BUFFER_BYTES);
    this.#leastIdle = Math.min(this.#leastIdle, this.#idle.length);
    return buffer;
  }

  /** The buffer must not be used afterwards. */
  give(buffer: Uint8Array): void {
    assert(this.#inUse > 0, "a buffer that is not from the pool");
    this.#inUse -= 1;
    if (buffer.length === BUFFER_BYTES) this.#idle.push(buffer);
    // Nobody works: nobody would take the next look.
    if (this.#inUse === 0) this.#drop(this.#idle.length - IDLE_KEPT);
  }

  #look(): void {
    this.#drop(Math.min(this.#leastIdle, this.#idle.length - IDLE_KEPT));
    this.#takes = 0;
    this.#leastIdle = this.#idle.length;
  }

  #drop(count: number): void {
    if (count > 0) this.#idle.length -= count;
  }
}
