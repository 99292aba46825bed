/**
 * Functions that run once for every file are soon among the hottest, and the compiler's last tier then spends more on them than a
 * backup of some ten thousand files gets back: most of their time is the kernel's. Marked here, they stay with the tier before it.
 */
import { noFTL } from "bun:jsc";

/** Before the functions are first called. */
export function keepLight(...functions: readonly ((...args: never[]) => unknown)[]): void {
  for (const each of functions) noFTL(each);
}
