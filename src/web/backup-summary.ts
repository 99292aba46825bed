/** A backup entry as lists of a thousand show it: a fifth of what is known of it, and its sizes as a curve only. Pure. */
import type { BackupRow, BackupSummary, SizePoint } from "./api-archives.ts";

const TREND_MAX = 12;

export function backupSummary(row: BackupRow): BackupSummary {
  const { agent, backup, storage, state, reason, lastSuccessWallMs, lastBytes, lastWarnings, lastOutcome } = row;
  const { lastEndWallMs, everyMs, everyFrom, nextWallMs, running, damagedCount, sizes } = row;
  return {
    ...{ agent, backup, storage, state, reason, lastSuccessWallMs, lastBytes, lastWarnings, lastOutcome },
    ...{ lastEndWallMs, everyMs, everyFrom, nextWallMs, running, damagedCount, trend: trendOf(sizes) },
  };
}

function trendOf(sizes: readonly SizePoint[]): readonly number[] {
  const newest = sizes.slice(-TREND_MAX).map(({ bytes }) => bytes);
  const largest = Math.max(...newest);
  return largest <= 0 ? newest.map(() => 0) : newest.map((bytes) => Math.round((100 * bytes) / largest));
}
