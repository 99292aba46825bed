/** Runs that once failed, with the options they had then, and what they found: each is run again for ever. */
import { DISK_REGRESSIONS } from "./disk-regressions.ts";
import type { SimOptions } from "./options.ts";
import { OWN_REGRESSIONS } from "./own-regressions.ts";
import { SESSION_REGRESSIONS } from "./session-regressions.ts";

export interface Regression {
  readonly seed: number;
  readonly options: SimOptions;
  /** What was wrong, with nbackup or with the simulator itself. */
  readonly found: string;
}

export const REGRESSIONS: readonly Regression[] = [...OWN_REGRESSIONS, ...SESSION_REGRESSIONS, ...DISK_REGRESSIONS];
