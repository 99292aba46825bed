/** What `list` prints: a table for people, one JSON object per archive for programs. */
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import type { ArchiveScope } from "./archive-arguments.ts";
import { grouped } from "./once-report.ts";
import { type Column, textTable } from "./text-table.ts";
import { timeText } from "./time-text.ts";

/** As #restore/archive-stock.ts gives it; the fields are explained there. */
export interface ListedArchive {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  readonly name: string;
  readonly timeMs: number;
  readonly archiveBytes: number;
  readonly entries: number | undefined;
  readonly rawBytes: number | undefined;
  readonly durationMs: number | undefined;
  readonly problems: number | undefined;
  readonly sha256: string | undefined;
  readonly hasIndex: boolean;
  readonly damage: string | undefined;
}

export function listJson(row: ListedArchive): string {
  return `${JSON.stringify({
    archive: `${row.agent}/${row.backup}/${row.name}`,
    storage: row.storage,
    agent: row.agent,
    backup: row.backup,
    time: new Date(row.timeMs).toISOString(),
    archiveBytes: row.archiveBytes,
    entries: row.entries ?? null,
    rawBytes: row.rawBytes ?? null,
    durationMs: row.durationMs ?? null,
    problems: row.problems ?? null,
    sha256: row.sha256 ?? null,
    index: row.hasIndex,
    damage: row.damage ?? null,
  })}\n`;
}

const COLUMNS: readonly Column[] = [
  ...[{ heading: "AGENT" }, { heading: "BACKUP" }, { heading: "TIME" }, { heading: "STORAGE" }],
  ...[
    { heading: "SIZE", right: true },
    { heading: "HOLDS", right: true },
    { heading: "ENTRIES", right: true },
    { heading: "TOOK", right: true },
  ],
  { heading: "RESULT" },
];

/** TIME is what stands in the file's name, so that it can be copied to name the archive. */
export function listText(rows: readonly ListedArchive[], scope: Pick<ArchiveScope, "agent" | "backup">): string {
  if (rows.length === 0) return nothingText(scope);
  return textTable(
    COLUMNS,
    rows.map((row) => [
      ...[row.agent, row.backup, timeName(row), safeText(row.storage)],
      formatSize(row.archiveBytes),
      row.rawBytes === undefined ? "-" : formatSize(row.rawBytes),
      row.entries === undefined ? "-" : grouped(row.entries),
      row.durationMs === undefined ? "-" : formatDuration(row.durationMs),
      resultText(row),
    ]),
  );
}

/** What was asked for is named: it may be a slip of the pen in a storage that is full of others. */
function nothingText({ agent, backup }: Pick<ArchiveScope, "agent" | "backup">): string {
  const asked = [agent, backup].filter((name) => name !== undefined).join("/");
  const of = asked === "" ? "" : ` of ${safeText(asked)}`;
  return `no archives${of} (they are called AGENT/BACKUP/TIME.tar.gz or .tar.zst in a storage)\n`;
}

function timeName({ name, timeMs }: ListedArchive): string {
  return /^([^.]+)\.tar\./.exec(name)?.[1] ?? timeText(timeMs);
}

function resultText({ damage, problems, hasIndex }: ListedArchive): string {
  const index = hasIndex ? "" : ", no index";
  if (damage !== undefined) return `damaged: ${safeText(damage)}${index}`;
  if (problems === undefined) return `-${index}`;
  return problems === 0 ? `good${index}` : `${grouped(problems)} not read as they were${index}`;
}
