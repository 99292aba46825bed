/**
 * The directory of one session, `.nbackup/sessions/<uuid>/`: the part files, the checksum in the making, the journal, and
 * with a lazy assembler the staged chunks.
 * Nothing of a session lies anywhere else until it is committed. This file makes and removes them, and writes no content.
 */
import { Failure } from "#base/errors.ts";
import type { ChunkPlacement } from "./chunk-placement.ts";
import type { DiskFile } from "./disk.ts";
import { EagerPlacement } from "./eager-placement.ts";
import { eachOf } from "./at-once.ts";
import type { AssembledPoint } from "./assembly.ts";
import { LazyPlacement, type StagingCounters } from "./lazy-placement.ts";
import { STAGING_DIRECTORY } from "./staging.ts";
import { encodeDocument } from "./journal-format.ts";
import { JournalWriter } from "./journal-writer.ts";
import type { JournalHead } from "./records.ts";
import { ARCHIVE_MODE, CONTROL_DIRECTORY, PRIVATE_MODE, type StorageRoot } from "./storage-root.ts";

export const SESSIONS_DIRECTORY = `${CONTROL_DIRECTORY}/sessions`;

/** By file number. */
const PART_NAMES = ["archive.part", "index.part"] as const;
const CHECKSUM_NAME = "checksum.part";
const JOURNAL_NAME = "journal";

/** Of a hundred thousand staged chunks each is a call that mostly waits. */
const REMOVALS_AT_ONCE = 8;

export interface SessionPaths {
  readonly directory: string;
  readonly archive: string;
  readonly index: string;
  readonly checksum: string;
  readonly journal: string;
  readonly staging: string;
}

/** Relative to the base directory. */
export function sessionPaths(session: string): SessionPaths {
  const directory = `${SESSIONS_DIRECTORY}/${session}`;
  return {
    directory,
    archive: `${directory}/${PART_NAMES[0]}`,
    index: `${directory}/${PART_NAMES[1]}`,
    checksum: `${directory}/${CHECKSUM_NAME}`,
    journal: `${directory}/${JOURNAL_NAME}`,
    staging: `${directory}/${STAGING_DIRECTORY}`,
  };
}

/** The open files of a session. */
export interface SessionFiles {
  readonly placement: ChunkPlacement;
  readonly journal: JournalWriter;
}

/** How chunks of lazy sessions are staged, beside what the journal's head says of each. */
export interface StagingOptions {
  /** Sync every chunk by itself instead of the whole filesystem. */
  readonly chunkFsync: boolean;
  readonly counters: StagingCounters;
  /** Bytes that are assembled at a time, for tests. */
  readonly batchBytes?: number;
}

/**
 * Makes the directory and its files; their names and the journal's head are on the disk when it resolves. Rejects with
 * what the disk throws, after having removed what it had made, or with E_STORAGE_FAILED when the directory is there already.
 */
export async function createSessionFiles(
  root: StorageRoot,
  head: JournalHead,
  staging: StagingOptions,
  removals: { remove(session: string): Promise<void> },
): Promise<SessionFiles> {
  const paths = sessionPaths(head.session);
  // Another session's directory must not be taken for ours, least of all by the cleaning up below.
  if (!(await root.makeDirectory(paths.directory, 0o700))) {
    throw new Failure("E_STORAGE_FAILED", `${root.path(paths.directory)} exists already`);
  }
  const opened: { close(): Promise<void> }[] = [];
  try {
    // The parts have the mode of archives from the start, so that nothing is left to do between the last sync and the
    // commit; until then the directory above keeps everybody out.
    const parts: DiskFile[] = [];
    for (const path of [paths.archive, paths.index]) {
      const part = await root.createFile(path, ARCHIVE_MODE);
      opened.push(part);
      parts.push(part);
    }
    const journalFile = await root.createFile(paths.journal, PRIVATE_MODE);
    opened.push(journalFile);
    const journal = await JournalWriter.begin(journalFile, encodeDocument("session", head));
    const placement = await placementOf(root, head, { parts, journal, staging, opened });
    // A crash before this leaves a directory without a readable journal: nothing was acknowledged, it is removed.
    await root.sync(paths.directory);
    return { placement, journal };
  } catch (error) {
    await Promise.allSettled(opened.map((file) => file.close()));
    await removals.remove(head.session);
    throw error;
  }
}

interface PlacementNeeds {
  readonly parts: readonly DiskFile[];
  readonly journal: JournalWriter;
  readonly staging: StagingOptions;
  readonly assembled?: readonly AssembledPoint[];
  /** What is to be closed should anything fail; what is opened here is added. */
  readonly opened: { close(): Promise<void> }[];
}

/** Where the head says that the session's chunks go. */
async function placementOf(root: StorageRoot, head: JournalHead, needs: PlacementNeeds): Promise<ChunkPlacement> {
  const { parts, journal, staging, assembled = [], opened } = needs;
  if (head.staging === undefined) return new EagerPlacement(parts);
  const paths = sessionPaths(head.session);
  await root.makeDirectory(paths.staging, 0o700);
  const filesystem = await root.openFilesystem(paths.directory);
  opened.push(filesystem);
  return new LazyPlacement({
    ...{ root, directory: paths.directory, parts, journal, filesystem, assembled },
    partPaths: [paths.archive, paths.index],
    levels: head.staging.shardLevels,
    ...staging,
  });
}

/** What the journal of a dead server's session says, beside its head. */
export interface LeftJournal {
  /** What stands behind them is cut off. */
  readonly wholeBytes: number;
  /** By file number, of staged chunks. */
  readonly assembled: readonly AssembledPoint[];
}

/** Opens what a dead server left. Rejects with what the disk throws, ENOENT when a file is missing. */
export async function openSessionFiles(
  root: StorageRoot,
  head: JournalHead,
  left: LeftJournal,
  staging: StagingOptions,
): Promise<SessionFiles> {
  const paths = sessionPaths(head.session);
  const { wholeBytes, assembled } = left;
  const opened: { close(): Promise<void> }[] = [];
  try {
    const parts: DiskFile[] = [];
    for (const path of [paths.archive, paths.index]) {
      const part = await root.openFile(path, "read-write");
      opened.push(part);
      parts.push(part);
    }
    const journalFile = await root.openFile(paths.journal, "read-write");
    opened.push(journalFile);
    if ((await journalFile.size()) > wholeBytes) {
      // Torn records must not follow on new ones. A crash here leaves them torn, as they were.
      await journalFile.truncate(wholeBytes);
      await journalFile.fdatasync();
    }
    const journal = new JournalWriter(journalFile, wholeBytes);
    const placement = await placementOf(root, head, { parts, journal, staging, assembled, opened });
    return { placement, journal };
  } catch (error) {
    for (const file of opened) await file.close();
    throw error;
  }
}

/** Closes all; rejects with the first error after trying each. */
export async function closeSessionFiles(files: SessionFiles): Promise<void> {
  const results = await Promise.allSettled([files.placement.close(), files.journal.close()]);
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

/**
 * Removes the session's directory with everything in it. Nothing comes back when it has resolved. Rejects with what the
 * disk throws; what is left is no session that could go on once its journal is gone.
 */
export async function removeSessionFiles(root: StorageRoot, session: string): Promise<void> {
  const paths = sessionPaths(session);
  if (!(await root.isDirectory(paths.directory))) {
    // Whoever is told that it is gone forgets it: it would come to life again with its disk, which may have been away only just now.
    await root.checkPresent();
    if (!(await root.isDirectory(paths.directory))) return;
  }
  // The journal goes first: a crash from here on leaves a directory that nobody can take for a session to go on with.
  if (await root.unlink(paths.journal)) await root.sync(paths.directory);
  await removeTree(root, paths.directory);
  await root.sync(SESSIONS_DIRECTORY);
}

/** Through no symbolic link: what is one is unlinked like a file. */
async function removeTree(root: StorageRoot, directory: string): Promise<void> {
  await eachOf(await root.list(directory), REMOVALS_AT_ONCE, async (name) => {
    const path = `${directory}/${name}`;
    const stat = await root.stat(path);
    if (stat?.type === "directory") await removeTree(root, path);
    else await root.unlink(path);
  });
  await root.rmdir(directory);
}
