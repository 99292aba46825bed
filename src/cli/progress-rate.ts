/** Rates for a progress display, smoothed so that they can be read: a pure function from one look at the counters to the next. */

export interface Counters {
  readonly elapsedMs: number;
  readonly rawBytes: number;
  readonly entries: number;
}

export interface Rates {
  readonly at: Counters;
  readonly rawBytesPerSecond: number;
  readonly entriesPerSecond: number;
  /** How much of the memory is filled: 0 at first, towards 1. */
  readonly weight: number;
}

/** After this long an older rate counts for a third: long enough to read, short enough to show a stall. */
const MEMORY_MS = 5000;

export const NO_RATES: Rates = {
  at: { elapsedMs: 0, rawBytes: 0, entries: 0 },
  rawBytesPerSecond: 0,
  entriesPerSecond: 0,
  weight: 0,
};

/** Counters that went back (a session begun anew) start from zero. The time before the first byte, as while connecting, counts for nothing. */
export function nextRates(last: Rates, now: Counters): Rates {
  const spanMs = now.elapsedMs - last.at.elapsedMs;
  const isBack = now.rawBytes < last.at.rawBytes || now.entries < last.at.entries;
  if (isBack || (now.rawBytes === 0 && now.entries === 0)) return { ...NO_RATES, at: now };
  if (spanMs <= 0) return last;
  const kept = last.weight * Math.exp(-spanMs / MEMORY_MS);
  const fresh = 1 - Math.exp(-spanMs / MEMORY_MS);
  // Divided by what there is to remember, so that a memory that fills is no lower than one that is full.
  const rate = (before: number, delta: number): number =>
    (before * kept + ((delta * 1000) / spanMs) * fresh) / (kept + fresh);
  return {
    at: now,
    rawBytesPerSecond: rate(last.rawBytesPerSecond, now.rawBytes - last.at.rawBytes),
    entriesPerSecond: rate(last.entriesPerSecond, now.entries - last.at.entries),
    weight: kept + fresh,
  };
}
