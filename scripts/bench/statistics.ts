/** Numbers about numbers: what a table needs to say about several runs. Pure. */

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** (max - min) / median. */
  readonly spread: number;
}

/** The middle value, or the mean of the two middle ones; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  const lower = sorted.length % 2 === 1 ? upper : (sorted[middle - 1] ?? Number.NaN);
  return (lower + upper) / 2;
}

export function summarize(values: readonly number[]): Summary {
  const middle = median(values);
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return { median: middle, min, max, spread: (max - min) / middle };
}

/** Summary of a[i] / b[i]: both ran in the same round, so that a slow minute of the machine touches both. */
export function pairedRatio(a: readonly number[], b: readonly number[]): Summary {
  const count = Math.min(a.length, b.length);
  return summarize(Array.from({ length: count }, (_, index) => (a[index] ?? Number.NaN) / (b[index] ?? Number.NaN)));
}
