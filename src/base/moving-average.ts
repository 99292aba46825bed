/**
 * Exponentially weighted moving average, and how far samples lie from it. The weight of a new sample is 0.25 for both: RTT is
 * averaged so, and its deviation as RFC 6298 has it.
 */

const ALPHA = 0.25;
const BETA = 0.25;

export class MovingAverage {
  #value: number | undefined;
  #deviation: number | undefined;

  add(sample: number): void {
    if (this.#value === undefined || this.#deviation === undefined) {
      this.#value = sample;
      this.#deviation = sample / 2;
      return;
    }
    this.#deviation += BETA * (Math.abs(sample - this.#value) - this.#deviation);
    this.#value += ALPHA * (sample - this.#value);
  }

  /** undefined before the first sample. */
  get value(): number | undefined {
    return this.#value;
  }

  /** Mean distance of a sample from the average; after one sample half of it. */
  get deviation(): number | undefined {
    return this.#deviation;
  }
}
