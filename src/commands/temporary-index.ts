/**
 * An index for one command, made by reading the archive once, for archives that have none or a damaged one. It lies in a file without a name in the
 * directory for temporary files, because it may be larger than memory.
 */
import * as fs from "node:fs";
import path from "node:path";
import { errnoName, Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { fileAccess } from "#restore/file-access.ts";
import { rebuildIndex } from "#restore/rebuild.ts";
import { withReadingProgress } from "./archive-jobs.ts";
import type { CommandContext } from "./command-context.ts";

const PRIVATE_MODE = 0o600;

/** Gives the index, which is gone when it is closed. `onDamage`: what cannot be in it. */
export async function temporaryIndex(
  archive: ArchiveAccess,
  context: CommandContext,
  onDamage: (failure: Failure) => void,
): Promise<ArchiveAccess> {
  const { signal, stderr } = context;
  const fd = unnamedFile(context);
  try {
    await withReadingProgress(stderr.isTTY === true, "reading", archive, context, (access) =>
      rebuildIndex({
        ...{ access, archive: undefined, signal, onDamage, plain: true },
        write: (stored) => writeAll(fd, stored),
      }),
    );
    return fileAccess(fd);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function unnamedFile({ temporaryDirectory, random }: CommandContext): number {
  const name = `nbackup-${Buffer.from(random.bytes(8)).toString("hex")}.idx`;
  const file = path.join(temporaryDirectory, name);
  try {
    const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL, PRIVATE_MODE);
    fs.unlinkSync(file);
    return fd;
  } catch (error) {
    throw unwritten(temporaryDirectory, error);
  }
}

function unwritten(directory: string, cause: unknown): Failure {
  const errno = errnoName(cause) ?? String(cause);
  return new Failure("E_WRITE", `${directory}: no file can be made there (${errno})`, {
    hint: "Name another directory for temporary files in TMPDIR.",
    cause,
  });
}

/** At the end of the file. */
export async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await writeSome(fd, bytes.subarray(at));
}

function writeSome(fd: number, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, (error, written) => {
      if (error === null) resolve(written);
      else reject(new Failure("E_WRITE", `the index cannot be written: ${errnoName(error) ?? String(error)}`));
    });
  });
}
