/** What `diff` prints: one line or one JSON object per path. */
import { formatSize } from "#base/units.ts";
import { factsJson, fileName, type ListedFile, modeText, mtimeText, nameJson, targetText } from "./file-report.ts";
import { grouped } from "./once-report.ts";

/** As #archive/index-diff.ts gives it. */
export type ListedDifference =
  | { readonly change: "added"; readonly after: ListedFile }
  | { readonly change: "removed"; readonly before: ListedFile }
  | {
      readonly change: "changed";
      readonly before: ListedFile;
      readonly after: ListedFile;
      readonly what: readonly string[];
    };

export interface DiffCounts {
  added: number;
  removed: number;
  changed: number;
}

/** `+ path`, `- path`, `M path  (size 12 B to 14 B, mtime)` */
export function diffLine(item: ListedDifference): string {
  switch (item.change) {
    case "added":
      return `+ ${fileName(item.after.path)}${targetText(item.after)}\n`;
    case "removed":
      return `- ${fileName(item.before.path)}${targetText(item.before)}\n`;
    case "changed":
      return `M ${fileName(item.after.path)}  (${item.what.map((what) => differenceText(what, item)).join(", ")})\n`;
  }
}

function differenceText(
  what: string,
  { before, after }: { readonly before: ListedFile; readonly after: ListedFile },
): string {
  switch (what) {
    case "type":
      return `${before.type} to ${after.type}`;
    case "size":
      return `size ${bytesText(before.size)} to ${bytesText(after.size)}`;
    case "mtime":
      return `time ${mtimeText(before)} to ${mtimeText(after)}`;
    case "mode":
      return `mode ${modeText(before.type, before.mode).slice(1)} to ${modeText(after.type, after.mode).slice(1)}`;
    case "owner":
      return `owner ${before.uid}/${before.gid} to ${after.uid}/${after.gid}`;
    case "target":
      return `target${targetText(after)}`;
    default:
      return what;
  }
}

function bytesText(bytes: number): string {
  return bytes < 1_000_000 ? `${bytes} B` : formatSize(bytes);
}

export function diffJson(item: ListedDifference): string {
  const file = item.change === "removed" ? item.before : item.after;
  return `${JSON.stringify({
    change: item.change,
    ...nameJson("path", file.path),
    what: item.change === "changed" ? item.what : [],
    before: item.change === "added" ? null : factsJson(item.before),
    after: item.change === "removed" ? null : factsJson(item.after),
  })}\n`;
}

export function diffSummary({ added, removed, changed }: DiffCounts): string {
  if (added + removed + changed === 0) return "no differences\n";
  return `${grouped(added)} added, ${grouped(removed)} removed, ${grouped(changed)} changed\n`;
}
