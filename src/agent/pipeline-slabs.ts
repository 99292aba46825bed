/**
 * The memory the threads of a pipeline share: slabs, each holding one chunk from the reader's first byte to the window's copy,
 * and a small control area. No chunk is ever copied between threads; who owns a slab is one word per slab.
 */
import { assert } from "#base/assert.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import { MiB } from "#base/units.ts";
import { PATH_BYTES_MAX } from "#archive/scan.ts";
import { rawBufferBytes } from "#archive/chunk-reader.ts";
import { storedBytesMax } from "#compress/codec.ts";

/** What slabs that only wait may cost together. Long chunks keep a thread busy for longer, so fewer have to wait. */
const WAITING_BYTES_MAX = 8 * MiB;

/**
 * One slab for each compress thread, one being filled and one being handed over; and one waiting for each thread as long as that is
 * cheap. With 2 threads: 6 slabs of 2 MiB for chunks of 1 MiB, 5 slabs of 5 MiB for chunks of 4 MiB. Of each only what
 * its longest chunk needed is ever resident.
 */
export function slabCount(workers: number, bytes: number): number {
  return workers + 2 + Math.min(workers, Math.floor(WAITING_BYTES_MAX / bytes));
}

/** A slab holds the longest chunk, raw with room to work, and compressed. */
export function slabBytes(chunkBytes: number, mode: CompressionMode): number {
  return Math.max(rawBufferBytes(chunkBytes), storedBytesMax(mode, chunkBytes + CHUNK_RECORDS_BYTES_MAX));
}

/** What is posted to a thread to let it in. */
export interface SharedMemory {
  readonly control: SharedArrayBuffer;
  readonly slabs: readonly SharedArrayBuffer[];
}

/** Memory the system gives when it is first touched: chunks shorter than the longest cost less. */
export function makeSharedMemory(count: number, bytes: number): SharedMemory {
  const control = new SharedArrayBuffer((WORDS_FIXED + count) * 4 + PATH_BYTES_MAX);
  return { control, slabs: Array.from({ length: count }, () => new SharedArrayBuffer(bytes)) };
}

/** Words of the control area; the slabs' words and then the path follow. */
const STOPPED = 0;
/** Counts slabs given back; the reader sleeps on it. */
const FREED = 1;
const PATH_LENGTH = 2;
/** Odd while the path is being written. */
const PATH_VERSION = 3;
const WORDS_FIXED = 4;

const FREE = 0;
const TAKEN = 1;

/** How often the main thread looks again at a path that is being written. */
const PATH_TRIES_MAX = 100;

export class SlabControl {
  readonly #words: Int32Array;
  readonly #path: Uint8Array;
  readonly #slabCount: number;

  constructor(memory: SharedMemory) {
    this.#slabCount = memory.slabs.length;
    const wordCount = WORDS_FIXED + this.#slabCount;
    this.#words = new Int32Array(memory.control, 0, wordCount);
    this.#path = new Uint8Array(memory.control, wordCount * 4);
  }

  /** Reader: a slab of its own, waiting for one if need be; undefined when the run was stopped. Blocks the thread. */
  take(): number | undefined {
    for (;;) {
      // Read before looking: a slab given back after the look changes it, and the wait returns at once.
      const freed = Atomics.load(this.#words, FREED);
      if (this.stopped) return undefined;
      for (let slab = 0; slab < this.#slabCount; slab += 1) {
        if (Atomics.compareExchange(this.#words, WORDS_FIXED + slab, FREE, TAKEN) === FREE) return slab;
      }
      Atomics.wait(this.#words, FREED, freed);
    }
  }

  /** Main thread: the slab's chunk has left. */
  give(slab: number): void {
    const before = Atomics.exchange(this.#words, WORDS_FIXED + slab, FREE);
    assert(before === TAKEN, "a slab was given back twice");
    Atomics.add(this.#words, FREED, 1);
    Atomics.notify(this.#words, FREED);
  }

  /** Main thread: the reader ends before its next chunk. */
  stop(): void {
    Atomics.store(this.#words, STOPPED, 1);
    Atomics.add(this.#words, FREED, 1);
    Atomics.notify(this.#words, FREED);
  }

  get stopped(): boolean {
    return Atomics.load(this.#words, STOPPED) === 1;
  }

  /** Reader: says where it is. Called for every path, so it does next to nothing. */
  publishPath(path: Uint8Array): void {
    Atomics.add(this.#words, PATH_VERSION, 1);
    this.#path.set(path);
    Atomics.store(this.#words, PATH_LENGTH, path.length);
    Atomics.add(this.#words, PATH_VERSION, 1);
  }

  /** Main thread: where the reader is; empty before it has begun. */
  currentPath(): Uint8Array {
    for (let tries = 0; ; tries += 1) {
      const version = Atomics.load(this.#words, PATH_VERSION);
      const path = this.#path.slice(0, Atomics.load(this.#words, PATH_LENGTH));
      const whole = version % 2 === 0 && Atomics.load(this.#words, PATH_VERSION) === version;
      // It is for people to look at: better a torn path than a main thread that waits for a reader.
      if (whole || tries === PATH_TRIES_MAX) return new Uint8Array(path);
    }
  }
}
