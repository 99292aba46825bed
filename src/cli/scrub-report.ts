/** How `scrub` reports: a line or an object for each archive, and at the end what it comes to. Values in, text out. */
import { formatDuration, formatSize } from "#base/units.ts";
import { grouped } from "./once-report.ts";
import { verifyFields, type VerifyReport, verifyText } from "./restore-report.ts";

export interface ScrubbedArchive extends VerifyReport {
  readonly storage: string;
  /** The result was kept; false: the file was removed or replaced meanwhile, or it could not be kept. */
  readonly recorded: boolean;
}

export interface ScrubTotals {
  readonly archives: number;
  readonly damaged: number;
  /** Those that could not be read, or whose result could not be kept. */
  readonly failed: number;
  readonly bytes: number;
  readonly durationMs: number;
  /** What is due and was not begun: a limit, or an interruption. */
  readonly left: number;
  readonly leftBytes: number;
}

export function scrubbedText(archive: ScrubbedArchive): string {
  return verifyText({ ...archive, archive: `${archive.storage}: ${archive.archive}` });
}

export function scrubbedJson(archive: ScrubbedArchive): string {
  const { storage, recorded } = archive;
  return `${JSON.stringify({ storage, ...verifyFields(archive), recorded })}\n`;
}

export function scrubTotalsText(totals: ScrubTotals): string {
  const { archives, damaged, failed, bytes, durationMs, left, leftBytes } = totals;
  if (archives + failed + left === 0) return "nothing is due\n";
  const what = archives === 1 ? "1 archive" : `${grouped(archives)} archives`;
  const parts = [
    `${what} read, ${formatSize(bytes)} in ${formatDuration(durationMs)}`,
    damaged === 0 ? "all whole" : `${grouped(damaged)} damaged`,
    failed === 0 ? "" : `${grouped(failed)} not read to the end or not recorded`,
    left === 0 ? "" : `${grouped(left)} more due (${formatSize(leftBytes)})`,
  ];
  return `${parts.filter((part) => part !== "" && (archives > 0 || part !== "all whole")).join("; ")}\n`;
}
