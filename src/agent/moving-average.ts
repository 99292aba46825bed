/** Exponentially weighted moving average. The weight of a new sample is 0.25, as PRODUCT.md says for RTT. */

const ALPHA = 0.25;

export class MovingAverage {
  #value: number | undefined;

  add(sample: number): void {
    this.#value = this.#value === undefined ? sample : this.#value + ALPHA * (sample - this.#value);
  }

  /** undefined before the first sample. */
  get value(): number | undefined {
    return this.#value;
  }
}
