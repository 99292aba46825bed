/** What verifications tell the log and the event list, as values. */
import { formatDuration, formatSize } from "#base/units.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { Finding, VerifiedBy } from "#store/damage-mark.ts";

export interface VerifiedArchive {
  readonly storage: string;
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string;
  readonly by: VerifiedBy;
}

/** Lines of a damage in an event; the mark beside the archive has more. */
const DETAILS_MAX = 10;

export function archiveVerified(
  where: VerifiedArchive,
  finding: Finding,
  counts: { readonly archiveBytes: number; readonly durationMs: number | undefined },
): ObservedEvent {
  const { archive } = where;
  const { archiveBytes, durationMs } = counts;
  const fields = {
    ...placeOf(where),
    archiveBytes,
    ...(durationMs === undefined ? {} : { durationMs: Math.round(durationMs) }),
  };
  const took = durationMs === undefined ? "" : ` in ${formatDuration(durationMs)}`;
  if (finding.ok) {
    const message = `${archive} is whole: ${formatSize(archiveBytes)} read${took}`;
    return { kind: "archive.verified", level: "info", message, fields };
  }
  const { what, details } = finding;
  return {
    kind: "archive.damaged",
    level: "error",
    message: `${archive} is damaged: ${what}`,
    fields: {
      ...{ ...fields, code: "E_ARCHIVE_DAMAGED", what, details: details.slice(0, DETAILS_MAX) },
      hint: "It no longer counts as good. Check the disk, back this entry up again, and see what is hit with nbackup-server verify.",
    },
  };
}

/** Nobody knows: it could not be read, or the result not be kept. */
export function archiveUnverified(where: VerifiedArchive, reason: string): ObservedEvent {
  return {
    kind: "archive.unverified",
    level: "warn",
    message: `${where.archive} could not be verified: ${reason}`,
    fields: { ...placeOf(where), reason },
    repeatKey: `${where.storage} ${where.archive}`,
  };
}

/** The archive is what counts, and its index can be made again from it. */
export function indexDamaged(where: VerifiedArchive, reason: string): ObservedEvent {
  const archive = where.archive.replace(/\.tar\.(gz|zst)$/, "");
  return {
    kind: "index.damaged",
    level: "warn",
    message: `the index of ${where.archive} is damaged: ${reason}`,
    fields: {
      ...{ ...placeOf(where), code: "E_INDEX_DAMAGED", reason },
      hint: `Make it again from the archive: nbackup-server index rebuild --storage ${where.storage} ${archive}`,
    },
    repeatKey: `${where.storage} ${where.archive}`,
  };
}

function placeOf({ storage, archive, by }: VerifiedArchive): Record<string, unknown> {
  const [agent, backup] = archive.split("/");
  return { storage, agent, backup, archive, by };
}
