/** An archive as the page shows it: what its storage was found to hold, and what is remembered of the session that made it. */
import type { SessionRecord } from "#observe/records.ts";
import type { ScannedArchive } from "#observe/storage-scans.ts";
import type { ArchiveSummary } from "./api-archives.ts";

export function archiveSummary(row: ScannedArchive, end?: SessionRecord): ArchiveSummary {
  const { storage, agent, backup, name, timeMs, archiveBytes, hasIndex } = row;
  return {
    ...{ storage, agent, backup, name, timeWallMs: timeMs, bytes: archiveBytes, hasIndex },
    rawBytes: row.rawBytes ?? end?.rawBytes ?? null,
    entries: row.entries ?? end?.entries ?? null,
    durationMs: row.durationMs ?? end?.durationMs ?? null,
    problems: row.problems ?? end?.problems ?? null,
    sha256: row.sha256 ?? end?.sha256 ?? null,
    damage: row.damage ?? null,
  };
}
