/** How `--once` reports the run of one backup entry: a few lines for people, one JSON object for programs, an exit status. */
import type { Problem, ProblemReason, SocketsLeftOut } from "#base/chunk.ts";
import type { Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import { EXIT } from "./exit-codes.ts";
import { failureText } from "./failure-text.ts";
import { safeText } from "#base/safe-text.ts";

/** The result of a run, as far as it is reported. */
export interface OnceReport {
  readonly backup: string;
  readonly storage: string;
  /** undefined when none was admitted. */
  readonly session: string | undefined;
  readonly result: "committed" | "failed";
  /** Path below the storage's base directory; undefined unless committed. */
  readonly archive: string | undefined;
  /** 64 hex digits; undefined unless committed. */
  readonly sha256: string | undefined;
  readonly entries: number;
  readonly rawBytes: number;
  readonly archiveBytes: number;
  readonly resentBytes: number;
  /** The first ones by name, as many as were kept. */
  readonly problems: readonly Problem[];
  /** All of them. */
  readonly problemCount: number;
  readonly sockets: SocketsLeftOut;
  /** What is known of the verification after the commit. */
  readonly verify: "none" | "pending" | "ok" | "damaged" | "unknown";
  readonly durationMs: number;
  /** Why it failed; of what was committed: what is wrong with it all the same. */
  readonly failure: Failure | undefined;
}

/** Names printed for people; the JSON object has all that were kept. */
const PRINTED_NAMES_MAX = 100;
const PRINTED_SOCKETS_MAX = 3;

export function onceExit(report: OnceReport): number {
  if (report.failure !== undefined) return report.failure.exitCode;
  if (report.result === "failed") return EXIT.failed;
  return report.problemCount > 0 ? EXIT.partial : EXIT.done;
}

/** One line of JSON. Paths are UTF-8 with the escapes of `pathText`; absent values are null. */
export function onceJson(report: OnceReport): string {
  const object = {
    backup: report.backup,
    storage: report.storage,
    session: report.session ?? null,
    result: report.result,
    archive: report.archive ?? null,
    sha256: report.sha256 ?? null,
    entries: report.entries,
    rawBytes: report.rawBytes,
    archiveBytes: report.archiveBytes,
    resentBytes: report.resentBytes,
    skipped: report.problems.map(({ path, reason, errno }) => ({
      path: pathText(path),
      reason,
      ...(errno === undefined ? {} : { errno }),
    })),
    sockets: report.sockets.paths.map(pathText),
    socketCount: report.sockets.count,
    durationMs: Math.round(report.durationMs),
    verify: report.verify,
  };
  return `${JSON.stringify(object)}\n`;
}

/** Nothing is said where nothing was asked for. */
const VERIFY_LINES: Readonly<Record<OnceReport["verify"], readonly string[]>> = {
  none: [],
  pending: ["  verify   pending: the server reads it again"],
  ok: ["  verify   ok: the server has read it again"],
  damaged: ["  verify   damaged"],
  unknown: ["  verify   unknown"],
};

/** For standard output, or with `--json` for nobody: the failure and the names go to standard error by problemsText. */
export function onceText(report: OnceReport): string {
  const seconds = Math.max(report.durationMs, 1) / 1000;
  const duration = formatDuration(report.durationMs);
  const head = `${safeText(report.backup)} → ${safeText(report.storage)}`;
  if (report.result === "failed") return `${head}: failed after ${duration}\n`;
  const ratio = report.archiveBytes > 0 ? `, ratio ${(report.rawBytes / report.archiveBytes).toFixed(2)}` : "";
  const resent = report.resentBytes > 0 ? `, ${formatSize(report.resentBytes)} sent again` : "";
  return [
    `${head}: committed in ${duration}`,
    `  archive  ${safeText(report.archive ?? "")}`,
    `  sha256   ${report.sha256 ?? ""}`,
    `  read     ${grouped(report.entries)} entries, ${formatSize(report.rawBytes)}, ${formatSize(report.rawBytes / seconds)}/s`,
    `  stored   ${formatSize(report.archiveBytes)}${ratio}${resent}`,
    ...socketLines(report.sockets),
    ...VERIFY_LINES[report.verify],
    "",
  ].join("\n");
}

/** Named beside what was stored, and not among the warnings: nothing is wrong with them. */
function socketLines({ count, paths }: SocketsLeftOut): readonly string[] {
  if (count === 0) return [];
  const named = paths.slice(0, PRINTED_SOCKETS_MAX).map(pathText).join(", ");
  const more = count > PRINTED_SOCKETS_MAX ? " and more" : "";
  return [`  not in   ${count === 1 ? "1 socket" : `${grouped(count)} sockets`}, which no tar holds: ${named}${more}`];
}

/** For standard error: why the run failed, and the names of what is not in the archive as it should be. */
export function problemsText(report: OnceReport): string {
  const named = report.problems.slice(0, PRINTED_NAMES_MAX).map((problem) => `warning: ${problemText(problem)}\n`);
  const rest = report.problemCount - named.length;
  const more = rest > 0 ? `warning: and ${grouped(rest)} more\n` : "";
  return `${named.join("")}${more}${report.failure === undefined ? "" : failureText(report.failure)}`;
}

/** For standard error, of a run that was to wait for a verification: that there was none. */
export function unverifiedText({ backup, storage, result, verify }: OnceReport): string {
  if (result === "failed" || verify !== "none") return "";
  return `warning: ${safeText(backup)}: storage ${safeText(storage)} has no verify_integrity: nothing was verified\n`;
}

const REASONS: Readonly<Record<ProblemReason, string>> = {
  vanished: "vanished before it was read; not in the archive",
  unreadable: "could not be read; not in the archive",
  "type-changed": "became something else while it was looked at; not in the archive",
  unsupported: "is of a kind that tar does not know; not in the archive",
  shrank: "became shorter while it was read; filled up with zeros",
  grew: "became longer while it was read; cut at the size it had",
  "read-error": "could not be read to its end; the rest is zeros",
  "links-forgotten": "is a hard link, stored as a file of its own",
  "xattrs-unreadable": "its extended attributes could not all be read; stored without them",
  "xattrs-too-large": "has more extended attributes than a tar header holds; stored without the largest",
};

function problemText({ path, reason, errno }: Problem): string {
  return `${pathText(path)}: ${REASONS[reason]}${errno === undefined ? "" : ` (${errno})`}`;
}

/** `1,204,311`. */
export function grouped(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",");
}
