/**
 * The directory of one session, `.nbackup/sessions/<uuid>/`: the part files, the checksum in the making and the journal.
 * Nothing of a session lies anywhere else until it is committed. This file makes and removes them, and writes no content.
 */
import { Failure } from "#base/errors.ts";
import type { ChunkPlacement } from "./chunk-placement.ts";
import type { DiskFile } from "./disk.ts";
import { EagerPlacement } from "./eager-placement.ts";
import { encodeDocument } from "./journal-format.ts";
import { JournalWriter } from "./journal-writer.ts";
import type { JournalHead } from "./records.ts";
import { ARCHIVE_MODE, CONTROL_DIRECTORY, PRIVATE_MODE, type StorageRoot } from "./storage-root.ts";

export const SESSIONS_DIRECTORY = `${CONTROL_DIRECTORY}/sessions`;

/** By file number. */
const PART_NAMES = ["archive.part", "index.part"] as const;
const CHECKSUM_NAME = "checksum.part";
const JOURNAL_NAME = "journal";

export interface SessionPaths {
  readonly directory: string;
  readonly archive: string;
  readonly index: string;
  readonly checksum: string;
  readonly journal: string;
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
  };
}

/** The open files of a session. */
export interface SessionFiles {
  readonly placement: ChunkPlacement;
  readonly journal: JournalWriter;
}

/**
 * Makes the directory and its files; their names and the journal's head are on the disk when it resolves. Rejects with
 * what the disk throws, after removing what it had made, or with E_STORAGE_FAILED when the directory is there already.
 */
export async function createSessionFiles(root: StorageRoot, head: JournalHead): Promise<SessionFiles> {
  const paths = sessionPaths(head.session);
  // Another session's directory must not be taken for ours, least of all by the cleaning up below.
  if (!(await root.makeDirectory(paths.directory, 0o700))) {
    throw new Failure("E_STORAGE_FAILED", `${root.path(paths.directory)} exists already`);
  }
  const opened: DiskFile[] = [];
  try {
    // The parts have the mode of archives from the start, so that nothing is left to do between the last sync and the
    // commit; until then the directory above keeps everybody out.
    for (const path of [paths.archive, paths.index]) opened.push(await root.createFile(path, ARCHIVE_MODE));
    const placement = new EagerPlacement([...opened]);
    const journalFile = await root.createFile(paths.journal, PRIVATE_MODE);
    opened.push(journalFile);
    const journal = await JournalWriter.begin(journalFile, encodeDocument("session", head));
    // A crash before this leaves a directory without a readable journal: nothing was acknowledged, it is removed.
    await root.sync(paths.directory);
    return { placement, journal };
  } catch (error) {
    for (const file of opened) await file.close();
    await removeSessionFiles(root, head.session);
    throw error;
  }
}

/**
 * Opens what a dead server left. What stands in the journal behind its `wholeBytes` is cut off. Rejects with what the disk
 * throws, ENOENT when a file is missing.
 */
export async function openSessionFiles(root: StorageRoot, session: string, wholeBytes: number): Promise<SessionFiles> {
  const paths = sessionPaths(session);
  const opened: DiskFile[] = [];
  try {
    for (const path of [paths.archive, paths.index]) opened.push(await root.openFile(path, "read-write"));
    const placement = new EagerPlacement([...opened]);
    const journalFile = await root.openFile(paths.journal, "read-write");
    opened.push(journalFile);
    if ((await journalFile.size()) > wholeBytes) {
      // Torn records must not follow on new ones. A crash here leaves them torn, as they were.
      await journalFile.truncate(wholeBytes);
      await journalFile.fdatasync();
    }
    return { placement, journal: new JournalWriter(journalFile, wholeBytes) };
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
 * disk throws; what is left is removed at the next start.
 */
export async function removeSessionFiles(root: StorageRoot, session: string): Promise<void> {
  const paths = sessionPaths(session);
  if (!(await root.isDirectory(paths.directory))) return;
  // The journal goes first: a crash from here on leaves a directory that nobody can take for a session to go on with.
  if (await root.unlink(paths.journal)) await root.sync(paths.directory);
  for (const name of await root.list(paths.directory)) await root.unlink(`${paths.directory}/${name}`);
  await root.rmdir(paths.directory);
  await root.sync(SESSIONS_DIRECTORY);
}
