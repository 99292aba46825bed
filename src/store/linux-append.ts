/**
 * Appends whole files to another by synchronous calls, in the thread of a disk (disk-thread.ts). The kernel copies the bytes
 * (copy_file_range); where it cannot, they are read and written.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { MiB } from "#base/units.ts";
import type { AppendQuestion } from "./disk-thread.ts";
import { copyFileRange } from "./linux-libc.ts";

const OPEN_FLAGS = constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
const READ_BYTES = MiB;
const EINVAL = 22;
/** The filesystem or the kernel has no copy_file_range, or not between these two: EXDEV, EINVAL, ENOSYS, EOPNOTSUPP. */
const UNABLE: ReadonlySet<number> = new Set([18, EINVAL, 38, 95]);

export interface Appended {
  /** Of the files that were appended, in order. */
  readonly lengths: readonly number[];
  /** Of the next one, or of all; 0: there was no error. */
  readonly errno: number;
}

/** At least one file is appended, and as many more as fit into `bytesMax`. Never throws. */
export function appendFiles(question: AppendQuestion): Appended {
  const lengths: number[] = [];
  try {
    const into = openSync(question.into, constants.O_WRONLY | OPEN_FLAGS);
    try {
      appendEach(question, into, lengths);
    } finally {
      closeSync(into);
    }
    return { lengths, errno: 0 };
  } catch (error) {
    return { lengths, errno: errnoOf(error) };
  }
}

function appendEach({ paths, offset, bytesMax }: AppendQuestion, into: number, lengths: number[]): void {
  let at = offset;
  for (const path of paths) {
    const left = lengths.length === 0 ? Number.POSITIVE_INFINITY : bytesMax - (at - offset);
    const length = appendFile(path, into, at, left);
    if (length === undefined) return;
    lengths.push(length);
    at += length;
  }
}

/** The length of the file, or undefined when it does not fit. */
function appendFile(path: string, into: number, offset: number, bytesMax: number): number | undefined {
  const fd = openSync(path, constants.O_RDONLY | OPEN_FLAGS);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new CallError(EINVAL);
    if (stat.size > bytesMax) return undefined;
    const copied = copyRange(fd, into, offset, stat.size);
    return copied + copyByHand(fd, into, { from: copied, to: offset + copied, length: stat.size - copied });
  } finally {
    closeSync(fd);
  }
}

/** How many bytes the kernel copied: fewer when it is not able to. */
function copyRange(from: number, into: number, offset: number, length: number): number {
  let done = 0;
  while (done < length) {
    const result = copyFileRange(from, done, into, offset + done, length - done);
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

function copyByHand(fd: number, into: number, { from, to, length }: Range): number {
  if (length === 0) return 0;
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, length));
  let done = 0;
  while (done < length) {
    const got = readSync(fd, buffer, 0, Math.min(buffer.length, length - done), from + done);
    if (got === 0) break; // It shrank, or the disk has lost its end: who asked compares lengths.
    for (let written = 0; written < got;)
      written += writeSync(into, buffer, written, got - written, to + done + written);
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
  return Number.isInteger(errno) && errno !== 0 ? Math.abs(errno) : 5;
}
