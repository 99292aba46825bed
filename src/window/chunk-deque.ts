/** The chunks of one file that the window holds, by sequence number: grows at the end, shrinks at the front. */
import { assert } from "#base/assert.ts";
import type { HeldChunk } from "./held-chunk.ts";

/** Dead slots at the front before the array is moved together. */
const COMPACT_AT = 1024;

export class ChunkDeque {
  #items: (HeldChunk | undefined)[] = [];
  #start = 0;
  /** Sequence number of the item at #start. */
  #first = 0;

  /** Sequence number of the oldest chunk held, or of the next one to come. */
  get first(): number {
    return this.#first;
  }

  /** Sequence number after the newest. */
  get next(): number {
    return this.#first + this.length;
  }

  get length(): number {
    return this.#items.length - this.#start;
  }

  push(chunk: HeldChunk): void {
    assert(chunk.sequence === this.next, `chunk ${chunk.sequence} appended where ${this.next} was expected`);
    this.#items.push(chunk);
  }

  get(sequence: number): HeldChunk | undefined {
    if (sequence < this.#first) return undefined;
    return this.#items[this.#start + sequence - this.#first];
  }

  /** Takes the oldest out. */
  shift(): HeldChunk | undefined {
    const chunk = this.#items[this.#start];
    if (chunk === undefined) return undefined;
    this.#items[this.#start] = undefined;
    this.#start += 1;
    this.#first += 1;
    if (this.#start >= COMPACT_AT && this.#start * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return chunk;
  }

  *[Symbol.iterator](): Generator<HeldChunk> {
    for (let i = this.#start; i < this.#items.length; i += 1) {
      const chunk = this.#items[i];
      if (chunk !== undefined) yield chunk;
    }
  }
}
