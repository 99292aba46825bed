/** An archive in a file of this machine. */
import * as fs from "node:fs";
import { exhaustedBy } from "#archive/source.ts";
import { Failure, errnoName } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";

/** Throws Failure E_ARCHIVE_READ when the file is missing, no file, or may not be read, and E_EXHAUSTED. */
export function openArchiveFile(path: string): ArchiveAccess {
  let fd: number;
  try {
    // A fifo would wait for a writer.
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch (error) {
    throw unopened(path, error);
  }
  const stat = fs.fstatSync(fd);
  if (!stat.isFile()) {
    fs.closeSync(fd);
    throw new Failure("E_ARCHIVE_READ", `${path}: it is no file`);
  }
  return new FileAccess(fd, stat.size);
}

/** A file that is open; closed with the access. */
export function fileAccess(fd: number): ArchiveAccess {
  return new FileAccess(fd, fs.fstatSync(fd).size);
}

function unopened(path: string, cause: unknown): Failure {
  const errno = errnoName(cause) ?? String(cause);
  const exhausted = exhaustedBy(errno, "open");
  if (exhausted !== undefined) return exhausted;
  const what = errno === "ENOENT" ? "there is no such file" : `it cannot be opened (${errno})`;
  return new Failure("E_ARCHIVE_READ", `${path}: ${what}`, { cause });
}

class FileAccess implements ArchiveAccess {
  readonly size: number;
  readonly #fd: number;

  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.size = size;
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    let at = 0;
    while (at < into.length) {
      const length = await this.#once(into, at, offset + at);
      if (length === 0) break;
      at += length;
    }
    return at;
  }

  #once(into: Uint8Array, at: number, offset: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#fd, into, at, into.length - at, offset, (error, length) => {
        if (error === null) resolve(length);
        else reject(error);
      });
    });
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => fs.close(this.#fd, () => resolve()));
  }
}
