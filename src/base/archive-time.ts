/** The time in an archive's file name, for whoever has no more of it than that. Names are made by #store/archive-names.ts. */

const ARCHIVE = /^(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)-(\d{3})Z\.(tar\.gz|tar\.zst)$/;

/** `2026-02-12T02-00-00-123Z` */
export function archiveTimeText(timeMs: number): string {
  return new Date(timeMs).toISOString().replaceAll(/[:.]/g, "-");
}

/** The time in an archive's file name in wall milliseconds; undefined for any other name. */
export function timeOfArchive(fileName: string): number | undefined {
  const match = ARCHIVE.exec(fileName);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, milli] = match;
  const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${milli}Z`);
  // Date.parse takes 30 February for 2 March: only a name that comes out again is one of ours.
  if (Number.isNaN(timeMs) || !fileName.startsWith(archiveTimeText(timeMs))) return undefined;
  return timeMs;
}
