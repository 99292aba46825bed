/**
 * The step that makes an archive visible. It is carried out from an intent alone, so that the next start can carry it out
 * again from any point at which a crash stopped it: every action here is either not done, or done and recognised.
 *
 * It begins when all bytes are durable, the proofs are equal and the intent record is synced, and ends when the archive's
 * name is: then the session is committed. The commit record and the session's removal follow (storage.ts).
 */
import { must } from "#base/assert.ts";
import { errnoName, Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { companions } from "./archive-names.ts";
import type { CommitIntent } from "./records.ts";
import { sessionPaths } from "./session-files.ts";
import { ARCHIVE_DIRECTORY_MODE, ARCHIVE_MODE, type StorageRoot } from "./storage-root.ts";

/** Takes one action back; must not mind when the action was not done after all. */
type Undo = () => Promise<unknown>;

/**
 * Links the session's files to their final names. Resolves when they are on the disk. Rejects with what the disk throws or
 * E_STORAGE_FAILED, after taking back what it did: then nothing is visible, or the log says what is.
 */
export async function placeArchive(root: StorageRoot, intent: CommitIntent, log: Logger): Promise<void> {
  const undo: Undo[] = [];
  try {
    await place(root, intent, undo);
  } catch (error) {
    for (const step of undo.reverse()) {
      await step().catch((problem: unknown) => {
        log.error("a commit that failed could not be taken back", {
          archive: intent.archive,
          error: String(problem),
        });
      });
    }
    throw error;
  }
}

async function place(root: StorageRoot, intent: CommitIntent, undo: Undo[]): Promise<void> {
  const paths = sessionPaths(intent.session);
  const directory = `${intent.agent}/${intent.backup}`;
  const names = companions(intent.archive.slice(directory.length + 1));
  // A crash here leaves the session's directory with the intent: the next start begins this function anew.
  await writeChecksum(root, intent, paths.checksum, names.archive);
  // Without this a crash could keep the checksum's final name and lose this one, and the next start would find its own
  // file in its way.
  await root.sync(paths.directory);
  // A crash here: as above; the checksum is made anew.
  for (const relative of [intent.agent, directory]) {
    if (!(await root.isDirectory(relative))) undo.push(() => root.removeIfEmpty(relative));
    await root.makeDirectory(relative, ARCHIVE_DIRECTORY_MODE);
    // A crash here leaves an empty directory, which the next start finds made.
  }
  const links: [string, string][] = [[paths.checksum, `${directory}/${names.checksum}`]];
  if (intent.files.length > 1) links.unshift([paths.index, `${directory}/${names.index}`]);
  links.push([paths.archive, `${directory}/${names.archive}`]);
  // A sync that fails may have put the names on the disk all the same: taken away, they must not come back after a crash.
  undo.push(() => root.sync(directory));
  for (const [from, to] of links) {
    if (await linkOnce(root, from, to)) undo.push(() => root.unlink(to));
    // A crash here leaves some of the names, the archive's never without the others unless the disk reorders them; in
    // the session's directory all of them still stand, and the next start adds what is missing.
  }
  await root.sync(directory);
  // From here on the archive stands. A crash leaves the session's directory too: the next start finds every name made,
  // writes the commit record and removes the directory.
}

/** The line that sha256sum writes, so that `sha256sum -c` in the archive's directory checks it. */
async function writeChecksum(
  root: StorageRoot,
  intent: CommitIntent,
  path: string,
  archiveName: string,
): Promise<void> {
  const archive = must(intent.files[0], "the archive of an intent");
  const existing = await root.stat(path);
  // More than one name: a crash came after it was linked, so it is whole.
  if (existing !== undefined && existing.links > 1) return;
  if (existing !== undefined) await root.unlink(path);
  const file = await root.createFile(path, ARCHIVE_MODE);
  try {
    await file.write(Buffer.from(`${archive.sha256}  ${archiveName}\n`), 0);
    await file.fdatasync();
  } finally {
    await file.close();
  }
}

/** Gives a file its final name; false when it has it already. Never overwrites. */
async function linkOnce(root: StorageRoot, from: string, to: string): Promise<boolean> {
  const taken = await root.link(from, to).then(
    () => false,
    (error: unknown) => {
      if (errnoName(error) === "EEXIST") return true;
      throw error;
    },
  );
  if (!taken) return true;
  const [ours, there] = [await root.stat(from), await root.stat(to)];
  if (ours !== undefined && ours.identity === there?.identity) return false;
  throw new Failure("E_STORAGE_FAILED", `${root.path(to)} exists already and is not this session's`, {
    hint: "nbackup overwrites nothing: move the file away and run the backup again.",
  });
}
