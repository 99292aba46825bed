/**
 * Which archives are to be read again, and in which order, as a pure function: those that were not read for long enough, the longest
 * unread first. So whoever goes on with the first of them that he has not tried, however often he is interrupted, comes
 * round to all.
 */

export interface ScrubCandidate {
  readonly archive: string;
  /** When it was written. */
  readonly mtimeMs: number;
  /** When it was last read as a whole; undefined: not since it was written. */
  readonly verifiedAtMs: number | undefined;
}

/** What lies ahead of the clock proves nothing: the clock was wrong, then or now. */
export function lastReadMs({ mtimeMs, verifiedAtMs }: ScrubCandidate, nowMs: number): number {
  const readMs = verifiedAtMs ?? mtimeMs;
  return readMs > nowMs ? Number.NEGATIVE_INFINITY : readMs;
}

export function planScrub<T extends ScrubCandidate>(archives: readonly T[], unreadMs: number, nowMs: number): T[] {
  return archives
    .map((archive) => ({ archive, readMs: lastReadMs(archive, nowMs) }))
    .filter(({ readMs }) => nowMs - readMs >= unreadMs)
    .toSorted((a, b) => compare(a.readMs, b.readMs) || compare(a.archive.archive, b.archive.archive))
    .map(({ archive }) => archive);
}

function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
