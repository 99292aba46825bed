/**
 * Which archives of an agent and backup entry go, as a pure function. It touches no disk: rotate.ts removes what this plans.
 */

/**
 * `good`: committed, and not found damaged. `pending`: it is to be verified, and until that was done nobody knows whether it may take the
 * place of another; it stays itself, since somebody waits for the result. `damaged`: a verification found it so.
 */
export type Standing = "good" | "pending" | "damaged";

export interface RotationCandidate {
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string;
  /** The time in its name. */
  readonly timeMs: number;
  readonly standing: Standing;
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
 * enough, not pinned and not pending. So the newest always stays, and so do the newest `maxBackups` good ones. A damaged one
 * counts for nothing and goes as any other does: never while fewer good ones than that are newer, because most of its
 * files can still be restored. If all are damaged none goes, until the disk is full: then its administrator is to decide.
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
    const stays = archive.pinned || archive.standing === "pending";
    if (goodNewer >= Math.max(1, rule.maxBackups) && old && !stays) removals.push(archive);
    if (archive.standing === "good") goodNewer += 1;
  }
  return removals.reverse();
}
