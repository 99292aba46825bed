/**
 * Which archives of an agent and backup entry go, as a pure function. `Good` is an archive that was committed and has
 * not been found damaged. It touches no disk: rotate.ts removes what this plans.
 */

export interface RotationCandidate {
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string;
  /** The time in its name. */
  readonly timeMs: number;
  /** Found damaged: it counts for nothing, but goes only when enough good ones are newer. */
  readonly damaged: boolean;
  /** In use as the base of another archive: it stays. */
  readonly pinned: boolean;
}

export interface RotationRule {
  /** Good archives that stay; at least 1. */
  readonly maxBackups: number;
  /** Nothing younger goes. */
  readonly minAgeMs: number;
}

/**
 * The archives to remove, oldest first: those with at least `maxBackups` good ones newer than themselves, that are old
 * enough and not pinned. So the newest always stays, and so do the newest `maxBackups` good ones.
 */
export function planRotation<T extends RotationCandidate>(
  archives: readonly T[],
  rule: RotationRule,
  nowMs: number,
): T[] {
  const newestFirst = archives.toSorted(
    (a, b) => b.timeMs - a.timeMs || (a.archive < b.archive ? 1 : a.archive > b.archive ? -1 : 0),
  );
  const removals: T[] = [];
  let goodNewer = 0;
  for (const archive of newestFirst) {
    // Without a minimum age the clock does not matter: it may have been set back since the archive was named.
    const old = rule.minAgeMs === 0 || nowMs - archive.timeMs >= rule.minAgeMs;
    if (goodNewer >= Math.max(1, rule.maxBackups) && old && !archive.pinned) removals.push(archive);
    if (!archive.damaged) goodNewer += 1;
  }
  return removals.reverse();
}
