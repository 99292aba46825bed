/** What `find` prints: a path and below it its versions, the newest first; or one JSON object per version. */
import { formatSize } from "#base/units.ts";
import { factsJson, fileName, type ListedFile, modeText, mtimeText, nameJson, targetText } from "./file-report.ts";
import { columnsOf } from "./terminal-text.ts";

/** Archives that follow each other and have a file unchanged. */
export interface ListedVersion {
  /** As the newest of them has it. */
  readonly file: ListedFile;
  readonly storage: string;
  /** Names of the oldest and the newest. */
  readonly first: string;
  readonly last: string;
  readonly archiveCount: number;
  /** Against the version before; empty when there is none. */
  readonly changed: readonly string[];
}

export interface ListedHistory {
  readonly agent: string;
  readonly backup: string;
  readonly path: Uint8Array;
  /** The oldest first; at least one. */
  readonly versions: readonly ListedVersion[];
}

export function findText({ agent, backup, path, versions }: ListedHistory): string {
  const rows = versions.toReversed().map((version) => versionRow(version));
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => columnsOf(row[column] ?? ""))));
  const lines = rows.map((row) => {
    const cells = row.map((cell, column) => {
      const padding = " ".repeat(Math.max(0, (widths[column] ?? 0) - columnsOf(cell)));
      return column === 1 ? `${padding}${cell}` : `${cell}${padding}`;
    });
    return `  ${cells.join("  ").trimEnd()}\n`;
  });
  return `${agent}/${backup}: ${fileName(path)}\n${lines.join("")}`;
}

function versionRow({ file, first, last, archiveCount, changed }: ListedVersion): readonly string[] {
  const span = archiveCount === 1 ? timeName(last) : `${timeName(first)} to ${timeName(last)}`;
  const count = archiveCount === 1 ? "" : ` (${archiveCount} archives)`;
  const size = file.type === "file" ? formatSize(file.size) : "-";
  const what = changed.length === 0 ? "" : `changed: ${changed.join(", ")}`;
  const link = targetText(file);
  return [modeText(file.type, file.mode), size, mtimeText(file), `in ${span}${count}`, `${what}${link}`];
}

/** What an archive is called by on the command line: without `.tar.gz`. */
function timeName(name: string): string {
  return name.replace(/\.tar\.\w+$/, "");
}

export function findJson({ agent, backup, path, versions }: ListedHistory): string {
  return versions
    .toReversed()
    .map(({ file, storage, first, last, archiveCount, changed }) => {
      const facts = factsJson(file);
      return `${JSON.stringify({
        ...{ storage, agent, backup, ...nameJson("path", path), ...facts },
        ...{ first, last, archives: archiveCount, changed },
      })}\n`;
    })
    .join("");
}
