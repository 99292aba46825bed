/** When the next fault of a kind comes, counted in whatever the kind is counted in. */
import type { Chance } from "./chance.ts";

export class Countdown {
  readonly #chance: Chance;
  readonly #mean: number | undefined;
  #left: number;

  /** `mean` undefined: never. */
  constructor(chance: Chance, mean: number | undefined) {
    this.#chance = chance;
    this.#mean = mean;
    this.#left = this.#next();
  }

  /** So much has passed; true when the fault comes within it. */
  hits(amount: number): boolean {
    this.#left -= amount;
    if (this.#left > 0) return false;
    this.#left = this.#next();
    return true;
  }

  #next(): number {
    return this.#mean === undefined ? Number.POSITIVE_INFINITY : this.#chance.gap(this.#mean);
  }
}
