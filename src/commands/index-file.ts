/**
 * A new index beside its archive. It is written under a hidden name and takes its place in one step when it is complete; it belongs to the owner
 * of the directory, as everything does that a server makes there.
 */
import * as fs from "node:fs";
import path from "node:path";
import { errnoName, Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { fileAccess } from "#restore/file-access.ts";
import type { CommandContext } from "./command-context.ts";
import { writeAll } from "./temporary-index.ts";

/** As the server's archives: for the group to read, for nobody else. */
const MODE = 0o640;

export interface NewIndexFile {
  write(stored: Uint8Array): Promise<void>;
  /** What was written so far. */
  readonly access: ArchiveAccess;
  /** Throws Failure E_ARCHIVE_UNKNOWN when the archive is gone meanwhile, E_WRITE when the disk refuses. */
  putInPlace(): void;
  /** Removes it unless it was put in its place. */
  close(): void;
}

/** Throws Failure E_WRITE. */
export function newIndexFile(archiveFile: string, indexFile: string, context: CommandContext): NewIndexFile {
  const directory = path.dirname(indexFile);
  const suffix = Buffer.from(context.random.bytes(4)).toString("hex");
  // A kill leaves it behind; nothing reads hidden names, and rotation takes it for nobody's.
  const hidden = path.join(directory, `.${path.basename(indexFile)}.${suffix}.new`);
  const archive = identity(archiveFile);
  const fd = attempt(directory, () => create(hidden, directory, context.user.uid === 0));
  let placed = false;
  return {
    write: (stored) => writeAll(fd, stored),
    get access() {
      return fileAccess(fd);
    },
    putInPlace: () => {
      attempt(indexFile, () => {
        // Complete on the disk before it has its name: a crash leaves the old index, or this one.
        fs.fsyncSync(fd);
        // Rotated away while it was read: its index would lie there for ever.
        if (archive === undefined || identity(archiveFile) !== archive) {
          throw new Failure("E_ARCHIVE_UNKNOWN", `${archiveFile} was removed or changed meanwhile`);
        }
        fs.renameSync(hidden, indexFile);
        placed = true;
        syncDirectory(directory);
      });
    },
    close: () => {
      fs.closeSync(fd);
      if (!placed) fs.rmSync(hidden, { force: true });
    },
  };
}

function create(hidden: string, directory: string, privileged: boolean): number {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;
  const fd = fs.openSync(hidden, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
  try {
    if (privileged) {
      const { uid, gid } = fs.statSync(directory);
      fs.fchownSync(fd, uid, gid);
    }
    fs.fchmodSync(fd, MODE);
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    fs.rmSync(hidden, { force: true });
    throw error;
  }
}

function syncDirectory(directory: string): void {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Which file it is, and how much is in it. */
function identity(file: string): string | undefined {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}`;
}

function attempt<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw error instanceof Failure ? error : unwritten(what, error);
  }
}

function unwritten(what: string, cause: unknown): Failure {
  return new Failure("E_WRITE", `${what}: it cannot be written (${errnoName(cause) ?? String(cause)})`, { cause });
}
