/** What the simulator draws its lots with: one seeded generator for each purpose, so that a fault more does not change the rest. */
import { crc32 } from "node:zlib";
import type { Random } from "#base/random.ts";
import { seededRandom } from "#test/support/seeded-random.ts";

export class Chance implements Random {
  readonly #seed: number;
  readonly #random: Random;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = seededRandom(seed);
  }

  /** A generator of its own for a purpose. */
  fork(purpose: string): Chance {
    return new Chance(crc32(purpose, this.#seed));
  }

  unit(): number {
    return this.#random.unit();
  }

  bytes(length: number): Uint8Array {
    return this.#random.bytes(length);
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  /** A number from `low` to `high`, small ones as often as large ones: each power of two has the same share. */
  scale(low: number, high: number): number {
    return low * (high / low) ** this.unit();
  }

  happens(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<const T>(items: readonly [T, ...T[]]): T {
    return items[Math.floor(this.unit() * items.length)] ?? items[0];
  }

  /** One of the items; undefined when there are none. */
  some<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.unit() * items.length)];
  }

  /** The distance to the next of events that come `mean` apart, whatever came before. */
  gap(mean: number): number {
    return -Math.log(1 - this.unit()) * mean;
  }
}
