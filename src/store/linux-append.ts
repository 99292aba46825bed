/**
 * Appends whole files to another by synchronous calls, in the thread of a disk (disk-thread.ts). The kernel copies the bytes
 * (copy_file_range); where it cannot, they are read and written. The next files are opened and the disk is asked for their
 * bytes while one is copied: else each would cost a disk that turns a whole wait.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { copyFileRange, willNeed } from "./linux-libc.ts";

const OPEN_FLAGS = constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
const READ_BYTES = MiB;
/** How far ahead the disk is asked, in bytes and in files: what it reads best in one go, and few open files. */
const AHEAD_BYTES = 16 * MiB;
const AHEAD_FILES = 64;
const EINVAL = 22;
const EIO = 5;
/** The filesystem or the kernel has no copy_file_range, or not between these two: EXDEV, EINVAL, ENOSYS, EOPNOTSUPP. */
const UNABLE: ReadonlySet<number> = new Set([18, EINVAL, 38, 95]);

/** Which files go behind one another into which, from which byte on. */
export interface AppendQuestion {
  readonly paths: readonly string[];
  readonly into: string;
  readonly offset: number;
  readonly bytesMax: number;
}

export interface Appended {
  /** Of the files that were appended, in order. */
  readonly lengths: readonly number[];
  /** Of the next one, or of all; 0: there was no error. */
  readonly errno: number;
}

/** At least one file is appended, and as many more as fit into `bytesMax`. Never throws. */
export function appendFiles({ paths, into, offset, bytesMax }: AppendQuestion): Appended {
  const lengths: number[] = [];
  const sources = new Sources(paths);
  try {
    const target = openSync(into, constants.O_WRONLY | OPEN_FLAGS);
    try {
      for (let at = offset; lengths.length < paths.length;) {
        const { fd, length } = sources.next();
        if (lengths.length > 0 && at - offset + length > bytesMax) break;
        lengths.push(copyFile(fd, target, at, length));
        sources.done();
        at += lengths.at(-1) ?? 0;
      }
    } finally {
      closeSync(target);
    }
    return { lengths, errno: 0 };
  } catch (error) {
    return { lengths, errno: errnoOf(error) };
  } finally {
    sources.close();
  }
}

interface Source {
  readonly fd: number;
  readonly length: number;
}

/** The files one after another, some of them opened before their turn. */
class Sources {
  readonly #paths: readonly string[];
  #nextOpen = 0;
  readonly #open: Source[] = [];
  #openBytes = 0;
  /** Why the one after those that are open cannot be. */
  #error: unknown;

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** The first that is not done; there must be one. Throws why it cannot be opened. */
  next(): Source {
    while (this.#error === undefined && this.#open.length < AHEAD_FILES && this.#openBytes < AHEAD_BYTES) {
      const path = this.#paths[this.#nextOpen];
      if (path === undefined) break;
      try {
        this.#add(path);
      } catch (error) {
        this.#error = error;
      }
    }
    const [first] = this.#open;
    if (first === undefined) throw this.#error;
    return first;
  }

  done(): void {
    const first = this.#open.shift();
    if (first === undefined) return;
    this.#openBytes -= first.length;
    closeSync(first.fd);
  }

  close(): void {
    for (const { fd } of this.#open.splice(0)) closeSync(fd);
  }

  #add(path: string): void {
    const fd = openSync(path, constants.O_RDONLY | OPEN_FLAGS);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw new CallError(EINVAL);
      willNeed(fd);
      this.#open.push({ fd, length: stat.size });
      this.#openBytes += stat.size;
      this.#nextOpen += 1;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }
}

/** How many bytes were copied: fewer when the file shrank meanwhile. */
function copyFile(fd: number, target: number, offset: number, length: number): number {
  const copied = copyRange(fd, target, offset, length);
  return copied + copyByHand(fd, target, { from: copied, to: offset + copied, length: length - copied });
}

/** How many bytes the kernel copied: fewer when it is not able to. */
function copyRange(from: number, target: number, offset: number, length: number): number {
  let done = 0;
  while (done < length) {
    const result = copyFileRange(from, done, target, offset + done, length - done);
    if (result < 0 && !UNABLE.has(-result)) throw new CallError(-result);
    if (result <= 0) break;
    done += result;
  }
  return done;
}

interface Range {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

function copyByHand(fd: number, target: number, { from, to, length }: Range): number {
  if (length === 0) return 0;
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, length));
  let done = 0;
  while (done < length) {
    const got = readSync(fd, buffer, 0, Math.min(buffer.length, length - done), from + done);
    if (got === 0) break;
    for (let written = 0; written < got;) {
      written += writeSync(target, buffer, written, got - written, to + done + written);
    }
    done += got;
  }
  return done;
}

class CallError extends Error {
  readonly errno: number;
  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

/** node:fs gives it as a negative number; EIO for what is no error of a call. */
function errnoOf(error: unknown): number {
  const errno = error instanceof Error && "errno" in error ? Number(error.errno) : Number.NaN;
  return Number.isInteger(errno) && errno !== 0 ? Math.abs(errno) : EIO;
}
