/** What `index rebuild` prints. */
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import { EXIT } from "./exit-codes.ts";
import { grouped } from "./once-report.ts";

export interface IndexReport {
  readonly archive: string;
  /** The index's file. */
  readonly index: string;
  /** `kept`: there is a good one. */
  readonly result: "rebuilt" | "kept";
  readonly entries: number;
  readonly indexBytes: number;
  /** The first ones, in words. */
  readonly damages: readonly string[];
  readonly damageCount: number;
  readonly durationMs: number;
}

export function indexExit({ damageCount }: IndexReport): number {
  return damageCount > 0 ? EXIT.partial : EXIT.done;
}

export function indexText(report: IndexReport): string {
  const { archive, index, entries, indexBytes, damageCount, durationMs } = report;
  const holds = `${grouped(entries)} entries, ${formatSize(indexBytes)}`;
  if (report.result === "kept") {
    return `${safeText(archive)}: has a good index already (${holds}); --force replaces it\n`;
  }
  const damaged = damageCount === 0 ? "" : `; of ${grouped(damageCount)} damaged places it knows nothing`;
  return `${safeText(archive)}: wrote ${safeText(index)} (${holds}, ${formatDuration(durationMs)})${damaged}\n`;
}

export function indexJson(report: IndexReport): string {
  return `${JSON.stringify({ ...report, durationMs: Math.round(report.durationMs) })}\n`;
}
