/** Runs that once failed, with the options they had then, and what they found: each is run again for ever. */
import type { SimOptions } from "./options.ts";

export interface Regression {
  readonly seed: number;
  readonly options: SimOptions;
  /** What was wrong with nbackup. */
  readonly found: string;
}

export const REGRESSIONS: readonly Regression[] = [];
