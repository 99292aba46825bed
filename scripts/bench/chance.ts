/** A small seeded generator, so that every run of the benchmark makes the same corpora. Not for secrets. */

export interface Chance {
  /** A number in [0, 1). */
  unit(): number;
  /** A whole number in [0, below). */
  below(below: number): number;
}

/** mulberry32: 32 bits of state, good enough to scatter sizes and offsets. */
export function seededChance(seed: number): Chance {
  let state = seed >>> 0;
  const unit = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { unit, below: (below) => Math.floor(unit() * below) };
}
