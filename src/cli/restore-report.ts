/** How `restore`, `verify` and `cat` report: sentences for people, one JSON object for programs, an exit status. */
import { Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import { damagedPlaces, type DamageReport, damageJson, damageText } from "./damage-text.ts";
import { EXIT } from "./exit-codes.ts";
import { grouped } from "./once-report.ts";

export interface RestoreReport {
  readonly archive: string;
  /** undefined when it went to standard output. */
  readonly target: string | undefined;
  readonly dryRun: boolean;
  readonly interrupted: boolean;
  readonly restored: number;
  readonly kept: number;
  readonly deleted: number;
  readonly bytes: number;
  /** The first ones by name, and all of them counted. */
  readonly problems: readonly {
    readonly path: Uint8Array;
    readonly reason: string;
    readonly errno: string | undefined;
  }[];
  readonly problemCount: number;
  readonly damages: readonly DamageReport[];
  readonly damageCount: number;
  /** Symbolic links in whose place a directory of the archive came: the first ones by name, and all of them counted. */
  readonly replacedLinks: readonly Uint8Array[];
  readonly replacedLinkCount: number;
  /** Without an index all of the archive was read, and its SHA-256 is not the one beside it. */
  readonly sumDiffers: boolean;
  readonly durationMs: number;
}

export interface VerifyReport {
  readonly archive: string;
  readonly interrupted: boolean;
  /** Of the archive; what is wrong with its index does not count. */
  readonly ok: boolean;
  readonly index: {
    readonly state: "none" | "agrees" | "damaged" | "unchecked";
    readonly message?: string;
  };
  readonly chunks: number;
  readonly entries: number;
  readonly archiveBytes: number;
  readonly damaged: readonly DamageReport[];
  readonly damagedCount: number;
  readonly sha256: string;
  readonly sha256Expected: string | undefined;
  readonly durationMs: number;
}

/** Names printed for people; the JSON object has all that were kept. */
const PRINTED_MAX = 100;

const REASONS: Readonly<Record<string, string>> = {
  outside: "its name leads out of the target; not restored",
  "not-created": "could not be restored",
  blocked: "something that is no directory, or a symbolic link, stands in its way; not restored",
  "directory-in-the-way": "a directory with something in it stands in its place; not restored",
  "device-needs-root": "is a device, which only root may make; not restored",
  unsupported: "is of a kind that only the program that wrote it knows; not restored",
  "link-without-target": "is a hard link to something that is not in the archive; not restored",
  owner: "restored, but not its owner",
  mode: "restored, but not its mode",
  attributes: "restored, but not all of its extended attributes",
  acl: "restored, but not all of its access control list",
  time: "restored, but not its time",
  damaged: "is damaged in the archive: what is left of it is beside its place as .damaged",
  "not-deleted": "could not be deleted",
  "left-behind": "is a temporary file of this restore, which could not be removed: it is left there",
  "not-in-archive": "is not in the archive",
  superseded: "is in the archive more than once, and what was written is not the last of them",
};

export function restoreExit(report: RestoreReport): number {
  if (report.interrupted) return EXIT.interrupted;
  return isPartial(report) ? EXIT.partial : EXIT.done;
}

function isPartial({ problemCount, damageCount, sumDiffers }: RestoreReport): boolean {
  return problemCount > 0 || damageCount > 0 || sumDiffers;
}

export function verifyExit(report: VerifyReport): number {
  if (report.interrupted) return EXIT.interrupted;
  return report.ok ? EXIT.done : EXIT.failed;
}

/** For standard error: each damage, and each name that is not as it should be. */
export function restoreProblemsText(report: RestoreReport): string {
  const problems = report.problems.slice(0, PRINTED_MAX).map(({ path, reason, errno }) => {
    const why = REASONS[reason] ?? reason;
    return `warning: ${pathText(path)}: ${why}${errno === undefined ? "" : ` (${errno})`}\n`;
  });
  const more = restText(report.problemCount - problems.length);
  const damages = damagesText(report.damages, report.damageCount);
  return `${linksText(report)}${damages}${problems.join("")}${more}${sumText(report)}`;
}

/** That the archive is not as it was written; where damage was found that says no more, and this is empty. */
export function sumText({
  archive,
  damageCount,
  sumDiffers,
}: Pick<RestoreReport, "archive" | "damageCount" | "sumDiffers">): string {
  if (!sumDiffers || damageCount > 0) return "";
  return `warning: ${safeText(archive)}: its SHA-256 is not the one beside it: it is not as it was written, and what came out of it may not be what was backed up\n`;
}

/** It is as the archive has it; but what lies where the link led is not there any more for who goes by this name. */
function linksText({ dryRun, replacedLinks, replacedLinkCount }: RestoreReport): string {
  const did = dryRun ? "would be replaced" : "was replaced";
  const texts = replacedLinks
    .slice(0, PRINTED_MAX)
    .map(
      (path) => `warning: ${pathText(path)}: a symbolic link stood there, and ${did} by the directory of the archive\n`,
    );
  return `${texts.join("")}${restText(replacedLinkCount - texts.length)}`;
}

export function restoreText(report: RestoreReport): string {
  const { restored, kept, deleted, bytes, durationMs } = report;
  const seconds = Math.max(durationMs, 1) / 1000;
  const to = report.target === undefined ? "" : ` to ${safeText(report.target)}`;
  const did = report.dryRun ? "would restore" : report.interrupted ? "interrupted after" : "restored";
  const parts = [
    `${did} ${grouped(restored)} entries${to}`,
    kept > 0 ? `${grouped(kept)} kept as they ${report.dryRun ? "are" : "were"}` : "",
    deleted > 0 ? `${grouped(deleted)} deleted` : "",
    report.dryRun ? "" : `${formatSize(bytes)} in ${formatDuration(durationMs)}, ${formatSize(bytes / seconds)}/s`,
    report.damageCount > 0 ? `${damagedPlaces(report.damageCount)} in the archive` : "",
    report.problemCount > 0 ? `${grouped(report.problemCount)} not as they should be` : "",
  ];
  return `${parts.filter((part) => part !== "").join("; ")}\n`;
}

export function restoreJson(report: RestoreReport): string {
  const result = report.interrupted ? "interrupted" : isPartial(report) ? "partial" : "done";
  const { archive, dryRun, restored, kept, deleted, bytes, problemCount, damageCount } = report;
  return `${JSON.stringify({
    ...{ archive, target: report.target ?? null, result, dryRun, restored, kept, deleted, bytes },
    problems: report.problems.map(({ path, reason, errno }) => ({
      path: pathText(path),
      reason,
      ...(errno === undefined ? {} : { errno }),
    })),
    problemCount,
    damaged: report.damages.map(damageJson),
    damagedCount: damageCount,
    replacedLinks: report.replacedLinks.map(pathText),
    replacedLinkCount: report.replacedLinkCount,
    sha256Differs: report.sumDiffers,
    durationMs: Math.round(report.durationMs),
  })}\n`;
}

const INDEX_TEXTS: Readonly<Record<VerifyReport["index"]["state"], string>> = {
  ...{ none: "; no index", agrees: "", damaged: "; its index is damaged", unchecked: "; its index was not compared" },
};

export function verifyText(report: VerifyReport): string {
  const seconds = Math.max(report.durationMs, 1) / 1000;
  const size = `${grouped(report.entries)} entries, ${formatSize(report.archiveBytes)}`;
  const speed = `${formatDuration(report.durationMs)}, ${formatSize(report.archiveBytes / seconds)}/s`;
  const archive = safeText(report.archive);
  if (report.interrupted) return `${archive}: interrupted before it was read to its end\n`;
  const sum = report.sha256Expected === undefined ? "; no .sha256 to compare with" : "";
  if (report.ok) return `${archive}: whole (${size}, ${speed}${sum}${INDEX_TEXTS[report.index.state]})\n`;
  const differs = report.sha256Expected !== undefined && report.sha256Expected !== report.sha256;
  const places = report.damagedCount === 0 ? "" : `, ${damagedPlaces(report.damagedCount)}`;
  return `${archive}: damaged${places}${differs ? ", its SHA-256 is not the one beside it" : ""} (${size}, ${speed})\n`;
}

export function verifyJson(report: VerifyReport): string {
  return `${JSON.stringify(verifyFields(report))}\n`;
}

/** The object that `verify --json` prints. */
export function verifyFields(report: VerifyReport): Readonly<Record<string, unknown>> {
  const { archive, ok, chunks, entries, archiveBytes, sha256, sha256Expected, damagedCount } = report;
  return {
    ...{ archive, ok: ok && !report.interrupted, chunks, entries, archiveBytes },
    ...{ sha256, sha256Expected: sha256Expected ?? null },
    index: report.index.state,
    indexDamage: report.index.message ?? null,
    damaged: report.damaged.map(damageJson),
    damagedCount,
    durationMs: Math.round(report.durationMs),
  };
}

/** For standard error: what is wrong with the index of an archive, and that it is no harm to the archive. */
export function indexDamageText({ archive, index }: Pick<VerifyReport, "archive" | "index">): string {
  if (index.state !== "damaged") return "";
  const what = safeText(index.message ?? "it cannot be read");
  return `warning: ${safeText(archive)}: ${what}\nHINT: ${new Failure("E_INDEX_DAMAGED", "").hint}\n`;
}

/** For standard error. */
export function damagesText(damages: readonly DamageReport[], count: number): string {
  const texts = damages.slice(0, PRINTED_MAX).map((damage) => `warning: ${damageText(damage)}\n`);
  return `${texts.join("")}${restText(count - texts.length)}`;
}

function restText(rest: number): string {
  return rest > 0 ? `warning: and ${grouped(rest)} more\n` : "";
}
