/**
 * The archives in storages of this machine, for the commands and for agents that read: only looks, takes no lock, and wants neither
 * configuration nor state, so that it works while a server runs and after everything but the disk is lost.
 */
import { IndexReader } from "#archive/index-reader.ts";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type {
  ArchiveFilter,
  ArchiveListing,
  ArchiveRow,
  ArchiveStock,
  InTurn,
  OpenedArchive,
} from "#restore/archive-stock.ts";
import { indexSource } from "#restore/index-source.ts";
import { parseSum } from "#restore/verify.ts";
import { type Entry, listArchives, type ListedArchive, listEntries } from "#store/archive-list.ts";
import { companions } from "#store/archive-names.ts";
import { type CommitFacts, readCommitFacts } from "#store/commit-facts.ts";
import { readDamage } from "#store/damage-mark.ts";
import { type Disk, diskFailure, type DiskFile, orMissing } from "#store/disk.ts";
import { StorageRoot } from "#store/storage-root.ts";
import { PacedDisk } from "./paced-disk.ts";

export interface StorageDirectory {
  readonly name: string;
  readonly baseDir: string;
}

/** Each row takes a few calls of a disk, which do not wait for each other. */
const ROWS_TOGETHER = 16;
/** Longer ones are no checksum. */
const SUM_BYTES_MAX = 4096;

export class StorageStock implements ArchiveStock {
  readonly #disk: Disk;
  readonly #storages: readonly StorageDirectory[];

  constructor(disk: Disk, storages: readonly StorageDirectory[]) {
    this.#disk = disk;
    this.#storages = storages;
  }

  async list(filter: ArchiveFilter, inTurn?: InTurn): Promise<ArchiveListing> {
    const disk = inTurn === undefined ? this.#disk : new PacedDisk(this.#disk, inTurn);
    const rows: ArchiveRow[] = [];
    const failures: Failure[] = [];
    for (const storage of this.#selected(filter.storage)) {
      try {
        rows.push(...(await rowsOf(disk, storage, filter)));
      } catch (error) {
        failures.push(storageFailure(storage, error));
      }
    }
    return { rows: rows.sort(compareRows), failures };
  }

  async agents(name: string): Promise<readonly string[]> {
    const agents = new Set<string>();
    for (const storage of this.#selected(name)) {
      try {
        const root = await StorageRoot.look(this.#disk, storage.baseDir);
        for (const { agent } of await listEntries(root, {})) agents.add(agent);
      } catch (error) {
        throw storageFailure(storage, error);
      }
    }
    return [...agents].sort();
  }

  async recorded(name: string, rows: readonly ArchiveRow[], inTurn?: InTurn): Promise<readonly ArchiveRow[]> {
    const disk = inTurn === undefined ? this.#disk : new PacedDisk(this.#disk, inTurn);
    const found: ArchiveRow[] = [];
    for (const storage of this.#selected(name)) {
      try {
        const root = await StorageRoot.look(disk, storage.baseDir);
        const known = await readCommitFacts(root, new Set(rows.map(archiveOf)));
        found.push(...rows.map((one) => ({ ...one, ...recordedFacts(one, known.get(archiveOf(one))) })));
      } catch (error) {
        throw storageFailure(storage, error);
      }
    }
    return found;
  }

  async open(row: ArchiveRow): Promise<OpenedArchive> {
    const archive = await this.#openFile(row, row.name);
    if (archive === undefined) throw gone(row);
    try {
      const index = await this.openIndex(row);
      return { ...{ archive, index }, close: () => closeBoth(archive, index) };
    } catch (error) {
      await archive.close();
      throw error;
    }
  }

  /** One that cannot be opened is none: it keeps nobody from the archive. */
  async openIndex(row: ArchiveRow): Promise<ArchiveAccess | undefined> {
    try {
      return await this.#openFile(row, companions(row.name).index);
    } catch (error) {
      if (toFailure(error).code !== "E_ARCHIVE_READ") throw error;
      return undefined;
    }
  }

  fileOf(row: ArchiveRow): string {
    return this.#pathOf(row, row.name);
  }

  async close(): Promise<void> {
    // Nothing is kept open between calls.
  }

  #selected(name: string | undefined): readonly StorageDirectory[] {
    const selected = this.#storages.filter((storage) => name === undefined || storage.name === name);
    if (selected.length > 0) return selected;
    throw new Failure("E_STORAGE_UNKNOWN", `storage ${name ?? ""} is not known here`, {
      hint: `The storages are ${this.#storages.map((storage) => storage.name).join(", ")}.`,
    });
  }

  /** Undefined when there is no such file. */
  async #openFile(row: ArchiveRow, name: string): Promise<ArchiveAccess | undefined> {
    const path = this.#pathOf(row, name);
    try {
      const file = await orMissing(this.#disk.open(path, "read"));
      return file === undefined ? undefined : await accessOrClosed(file);
    } catch (error) {
      throw unreadable(path, error);
    }
  }

  #pathOf({ storage, agent, backup }: ArchiveRow, name: string): string {
    return `${this.#selected(storage)[0]?.baseDir ?? ""}/${agent}/${backup}/${name}`;
  }
}

const NONE: ReadonlyMap<string, CommitFacts> = new Map();

async function fileAccess(file: DiskFile): Promise<ArchiveAccess> {
  const size = await file.size();
  return { size, read: (into, offset) => file.read(into, offset), close: () => file.close() };
}

/** The file is closed when nothing can be said of it. */
async function accessOrClosed(file: DiskFile): Promise<ArchiveAccess> {
  try {
    return await fileAccess(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function closeBoth(archive: ArchiveAccess, index: ArchiveAccess | undefined): Promise<void> {
  try {
    await archive.close();
  } finally {
    await index?.close();
  }
}

function unreadable(path: string, cause: unknown): Failure {
  return new Failure("E_ARCHIVE_READ", diskFailure(cause, path).message, { cause });
}

function gone(row: ArchiveRow): Failure {
  return new Failure(
    "E_ARCHIVE_UNKNOWN",
    `${row.agent}/${row.backup}/${row.name} is gone: rotation may have removed it`,
  );
}

function storageFailure({ name, baseDir }: StorageDirectory, cause: unknown): Failure {
  const { code, message } = errnoName(cause) === "ENOENT" ? missing(baseDir) : diskFailure(cause, baseDir);
  const hint = "Check that the directory is there, that its disk is mounted, and that this user may read it.";
  // A storage without a name is called by its directory.
  const text = name === baseDir || message.startsWith(name) ? message : `storage ${name}: ${message}`;
  return new Failure(code, text, { hint, cause });
}

function missing(baseDir: string): Failure {
  return new Failure("E_STORAGE_FAILED", `${baseDir}: there is no such directory`);
}

async function rowsOf(
  disk: Disk,
  storage: StorageDirectory,
  { agent, backup, facts }: ArchiveFilter,
): Promise<ArchiveRow[]> {
  const root = await StorageRoot.look(disk, storage.baseDir);
  const entries = (await listEntries(root, { agent, backup })).filter(
    (entry) => backup === undefined || entry.backup === backup,
  );
  const listed: { readonly entry: Entry; readonly archive: ListedArchive }[] = [];
  for (const entry of entries) {
    for (const archive of await listArchives(root, entry)) listed.push({ entry, archive });
  }
  const known = facts === true ? await readCommitFacts(root, new Set(listed.map((one) => one.archive.archive))) : NONE;
  const rows: ArchiveRow[] = [];
  for (let at = 0; at < listed.length; at += ROWS_TOGETHER) {
    const some = listed.slice(at, at + ROWS_TOGETHER).map(({ entry, archive }) => {
      return row(root, storage.name, { entry, archive, known: known.get(archive.archive), facts });
    });
    rows.push(...(await Promise.all(some)));
  }
  return rows;
}

function archiveOf({ agent, backup, name }: ArchiveRow): string {
  return `${agent}/${backup}/${name}`;
}

type Recorded = Pick<ArchiveRow, "entries" | "rawBytes" | "durationMs" | "problems" | "unread">;

/** Undefined where a file of another size took its place: what was recorded is not of it. */
function recordedFacts(
  { archiveBytes, timeMs }: Pick<ArchiveRow, "archiveBytes" | "timeMs">,
  known: CommitFacts | undefined,
): Recorded | undefined {
  if (known?.archiveBytes !== archiveBytes) return undefined;
  const { entries, rawBytes, problems, unread, committedWallMs } = known;
  return { entries, rawBytes, problems, unread, durationMs: Math.max(0, committedWallMs - timeMs) };
}

interface Found {
  readonly entry: Entry;
  readonly archive: ListedArchive;
  readonly known: CommitFacts | undefined;
  readonly facts: boolean | undefined;
}

async function row(root: StorageRoot, storage: string, { entry, archive, known, facts }: Found): Promise<ArchiveRow> {
  const { agent, backup } = entry;
  const { index, checksum } = companions(archive.archive);
  const hasIndex = (await root.stat(index))?.type === "file";
  const recorded = recordedFacts({ archiveBytes: archive.bytes, timeMs: archive.timeMs }, known);
  const totals =
    facts === true && recorded === undefined && hasIndex ? await indexTotals(root, index, archive.bytes) : undefined;
  return {
    ...{ storage, agent, backup, name: archive.archive.slice(`${agent}/${backup}/`.length) },
    ...{ timeMs: archive.timeMs, archiveBytes: archive.bytes, hasIndex },
    entries: recorded?.entries ?? totals?.entries,
    rawBytes: recorded?.rawBytes ?? totals?.rawBytes,
    durationMs: recorded?.durationMs,
    problems: recorded?.problems,
    unread: recorded?.unread,
    sha256: await storedSum(root, checksum),
    damage: archive.marked ? await readDamage(root.disk, root.path(archive.archive), archive) : undefined,
  };
}

/** What an index says of its archive; undefined when it cannot be read, or is of an archive of another length: then the archive itself has to be read. */
async function indexTotals(
  root: StorageRoot,
  index: string,
  archiveBytes: number,
): Promise<{ readonly entries: number; readonly rawBytes: number } | undefined> {
  const file = await readable(root, index);
  if (file === undefined) return undefined;
  try {
    const { totals } = await IndexReader.open(indexSource(await fileAccess(file)));
    return totals.storedBytes === archiveBytes ? totals : undefined;
  } catch (error) {
    // Of this archive less is known then, and the others are listed all the same; whoever reads it is told.
    if (diskFailure(error, index).code === "E_INTERNAL") throw error;
    return undefined;
  } finally {
    await file.close();
  }
}

async function storedSum(root: StorageRoot, checksum: string): Promise<string | undefined> {
  const file = await readable(root, checksum);
  if (file === undefined) return undefined;
  try {
    const bytes = Buffer.alloc(SUM_BYTES_MAX);
    return parseSum(bytes.subarray(0, await file.read(bytes, 0)).toString("utf8"));
  } finally {
    await file.close();
  }
}

/** Undefined when it is missing or cannot be opened: a listing goes on without it. */
async function readable(root: StorageRoot, file: string): Promise<DiskFile | undefined> {
  try {
    return await root.openFile(file, "read");
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
}

/** By agent and backup, the newest first. */
function compareRows(a: ArchiveRow, b: ArchiveRow): number {
  return (
    compareText(a.agent, b.agent) ||
    compareText(a.backup, b.backup) ||
    b.timeMs - a.timeMs ||
    compareText(a.storage, b.storage)
  );
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
