/**
 * The JSON of archives, backup entries and storages: the other half of api-types.ts, whose rules hold here too. Only types.
 */
import type { DiskForecast } from "#observe/forecast.ts";
import type { Outcome } from "#observe/records.ts";
import type { StorageView, VerifyingView } from "#observe/views.ts";

/** A part of a list. `next` goes into `after` of the next request, as it is; null: that was all. */
export interface Page<T> {
  readonly rows: readonly T[];
  readonly next: string | null;
  /** Of all pages with this filter; counts no further than what is kept in memory. */
  readonly total: number;
}

/** A part of what is read from an archive's index: to count it would mean to read it all. */
interface UncountedPage<T> extends Omit<Page<T>, "total"> {
  readonly total: null;
}

/**
 * How one backup entry of one agent stands. `late`: nothing newer than its schedule, or its habit, lets expect; `failing`: its last run
 * failed and no later one succeeded, or none of its archives is there any more; `never`: nothing of it ever succeeded; `unknown`: too few runs to tell what is late.
 */
export type BackupState = "ok" | "late" | "failing" | "never" | "unknown";

/** One archive's size, for the trend. */
export interface SizePoint {
  readonly wallMs: number;
  readonly bytes: number;
}

/** How one agent × backup entry × storage stands. */
export interface BackupStanding {
  readonly agent: string;
  readonly backup: string;
  readonly storage: string;
  readonly state: BackupState;
  /** Why, in a sentence; empty when ok. */
  readonly reason: string;
  /** The end of the last committed session whose archive is there, as far as its storage was looked at; null: never, or all of them are gone. */
  readonly lastSuccessWallMs: number | null;
  readonly lastBytes: number | null;
  /** Source files that the last archive does not have as they were. */
  readonly lastWarnings: number | null;
  /** The last end of any kind. */
  readonly lastOutcome: Outcome | null;
  readonly lastEndWallMs: number | null;
  /** What time passes between two runs, and how that is known. */
  readonly everyMs: number | null;
  readonly everyFrom: "agent" | "habit" | null;
  /** Told by the agent on its control channel. */
  readonly nextWallMs: number | null;
  /** Of the session that runs now. */
  readonly running: string | null;
  readonly damagedCount: number;
}

/** What lists of a thousand entries are made of. */
export interface BackupSummary extends BackupStanding {
  /** Sizes of the newest archives, oldest first, at most 12, in hundredths of the largest of them. */
  readonly trend: readonly number[];
}

/** With what its archives are. */
export interface BackupRow extends BackupStanding {
  readonly lastArchive: string | null;
  readonly lastRawBytes: number | null;
  readonly lastEntries: number | null;
  readonly lastDurationMs: number | null;
  /** The session of the last end: its id links to the detail. */
  readonly lastSession: string | null;
  readonly archiveCount: number;
  readonly archiveBytes: number;
  /** Of the archives that are there, oldest first, at most 60. */
  readonly sizes: readonly SizePoint[];
}

/** By the last scan of its storage. */
export interface ArchiveSummary {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  /** The file's name: `2026-02-12T02-00-00-123Z.tar.gz` */
  readonly name: string;
  readonly timeWallMs: number;
  readonly bytes: number;
  readonly rawBytes: number | null;
  readonly entries: number | null;
  readonly durationMs: number | null;
  readonly problems: number | null;
  readonly sha256: string | null;
  readonly hasIndex: boolean;
  /** In words; null: no verification found any. */
  readonly damage: string | null;
}

/** `GET /api/v1/archives?agent=&backup=&storage=&from=&to=&limit=&after=`: the newest first */
export interface ArchivesAnswer extends Page<ArchiveSummary> {
  /** Every agent × backup entry × storage that has archives or history. */
  readonly backups: readonly BackupRow[];
  readonly scannedWallMs: number | null;
}

/** An entry of an archive's index. Its path is bytes: `path` is for people, `key` (base64url of the bytes) goes into requests. */
export interface TreeEntry {
  readonly path: string;
  /** Last part of the path, for people. */
  readonly name: string;
  readonly key: string;
  readonly type: "file" | "directory" | "symlink" | "hardlink" | "fifo" | "character" | "block" | "other";
  readonly bytes: number;
  readonly mtimeWallMs: number | null;
  /** Permission bits. */
  readonly mode: number | null;
  readonly owner: string | null;
  readonly link: string | null;
  /** It changed while it was read, or was cut short. */
  readonly flags: readonly ("changed" | "short" | "racy")[];
  readonly downloadable: boolean;
}

/** `GET /api/v1/archives/tree?storage=&agent=&backup=&archive=&key=&limit=&after=`; without `key` the top. Directory order. */
export interface TreeAnswer extends UncountedPage<TreeEntry> {
  readonly archive: ArchiveSummary;
  /** Of the directory; null at the top. */
  readonly path: string | null;
  readonly key: string | null;
}

/** One state of a file over archives that follow each other. */
export interface FoundVersion {
  readonly storage: string;
  /** Archives' names: from the first to the last that has this state. */
  readonly first: string;
  readonly last: string;
  readonly archiveCount: number;
  readonly entry: TreeEntry;
}

export interface FoundFile {
  readonly path: string;
  readonly key: string;
  readonly agent: string;
  readonly backup: string;
  /** The oldest first. */
  readonly versions: readonly FoundVersion[];
}

/** `GET /api/v1/archives/find?agent=&backup=&storage=&pattern=&limit=&after=`: `agent` and `backup` are required. By path. */
export interface FindAnswer extends UncountedPage<FoundFile> {
  readonly archiveCount: number;
  /** Archives that could not be searched, and why. */
  readonly failures: readonly string[];
}

/** `GET /api/v1/archives/file?storage=&agent=&backup=&archive=&key=` answers with the file's bytes as an attachment. */
export interface DownloadQuery {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  readonly archive: string;
  readonly key: string;
}

/** When a disk is full if it goes on as it did. */
export type Forecast = DiskForecast;

export interface StorageRow extends StorageView {
  /** Of the last scan; null before the first. */
  readonly scan: StorageScanView | null;
  /** Null: looked at too few times to tell. */
  readonly forecast: Forecast | null;
  /** Free space, oldest first, at most 200. */
  readonly freeHistory: readonly SizePoint[];
  readonly verifying: VerifyingView | null;
}

export interface StorageScanView {
  readonly atWallMs: number;
  readonly durationMs: number;
  readonly archiveCount: number;
  readonly archiveBytes: number;
  readonly agentCount: number;
  readonly backupCount: number;
  readonly damagedCount: number;
  /** The scan failed, and the numbers are older. */
  readonly failure: string | null;
}

/** `GET /api/v1/storages?storage=&limit=&after=`: in the order of the configuration; all of them unless `limit` is told. */
export interface StoragesAnswer extends Page<StorageRow> {
  readonly nowWallMs: number;
}
