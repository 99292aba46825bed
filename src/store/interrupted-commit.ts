/**
 * What becomes of a commit that failed and could not be taken back, because its disk was away by then: called when the disk is
 * back, before what is left of the session is removed. The session's end was told, so nobody waits for the archive. But all of
 * it is on the disk and proved, so where its name stands it stays; a name that a loss of power could still take is worth nothing.
 */
import { isLostBytes } from "#base/errors.ts";
import { companions } from "./archive-names.ts";
import { orMissing } from "./disk.ts";
import { readJournal } from "./journal-reader.ts";
import { type CommitIntent, parseIntent } from "./records.ts";
import { sessionPaths } from "./session-files.ts";
import type { StorageRoot } from "./storage-root.ts";

/** Rejects with what the disk throws; then it is to be called again. */
export async function settleCommit(root: StorageRoot, session: string): Promise<void> {
  const intent = await intentOf(root, session).catch((error: unknown) => {
    // Where nobody can read any more what it was about, its bytes must not stay on the disk for ever.
    if (isLostBytes(error)) return undefined;
    throw error;
  });
  if (intent === undefined) return;
  const directory = `${intent.agent}/${intent.backup}`;
  if (!(await root.isDirectory(directory))) return;
  const paths = sessionPaths(session);
  // Without its archive neither index nor checksum means anything.
  if ((await root.stat(intent.archive)) === undefined) {
    const names = companions(intent.archive.slice(directory.length + 1));
    await unlinkOwn(root, paths.index, `${directory}/${names.index}`);
    await unlinkOwn(root, paths.checksum, `${directory}/${names.checksum}`);
  }
  await root.sync(directory);
}

async function unlinkOwn(root: StorageRoot, from: string, to: string): Promise<void> {
  const [ours, there] = [await root.stat(from), await root.stat(to)];
  if (ours !== undefined && ours.identity === there?.identity) await root.unlink(to);
}

async function intentOf(root: StorageRoot, session: string): Promise<CommitIntent | undefined> {
  const file = await orMissing(root.openFile(sessionPaths(session).journal, "read"));
  if (file === undefined) return undefined;
  let intent: CommitIntent | undefined;
  try {
    await readJournal(file, (record) => {
      if (record.type === "intent") intent = parseIntent(record.body);
    });
  } finally {
    await file.close();
  }
  return intent?.session === session ? intent : undefined;
}
