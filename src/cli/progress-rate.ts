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
}

/** After this long an older rate counts for a third: long enough to read, short enough to show a stall. */
const MEMORY_MS = 5000;

export const NO_RATES: Rates = {
  at: { elapsedMs: 0, rawBytes: 0, entries: 0 },
  rawBytesPerSecond: 0,
  entriesPerSecond: 0,
};

/** Counters that went back (a session begun anew) start from zero. */
export function nextRates(last: Rates, now: Counters): Rates {
  const spanMs = now.elapsedMs - last.at.elapsedMs;
  if (now.rawBytes < last.at.rawBytes || now.entries < last.at.entries) return { ...NO_RATES, at: now };
  if (spanMs <= 0) return last;
  // The first look has nothing to be smoothed with.
  const fresh = last.at.elapsedMs === 0 && last.rawBytesPerSecond === 0 ? 1 : 1 - Math.exp(-spanMs / MEMORY_MS);
  const rate = (before: number, delta: number): number => before + fresh * ((delta * 1000) / spanMs - before);
  return {
    at: now,
    rawBytesPerSecond: rate(last.rawBytesPerSecond, now.rawBytes - last.at.rawBytes),
    entriesPerSecond: rate(last.entriesPerSecond, now.entries - last.at.entries),
  };
}
