/**
 * The files to back up, as the scan and the tar writer see them: synchronous, because they run in a thread of their
 * own. The real one (linux-source.ts) makes system calls; tests and the simulator pass their own. Paths are absolute
 * raw bytes without NUL, of any length. Failures are thrown as objects with an errno name in `code` (SourceError), those of
 * the machine as Failure E_EXHAUSTED (failedCall): who reports what is wrong with a file lets that pass, and the run fails.
 */
import { errnoName, Failure } from "#base/errors.ts";

export type EntryType = "file" | "directory" | "symlink" | "fifo" | "char" | "block" | "socket";

/** What lstat says, exact: times are seconds and nanoseconds because a double cannot hold them. */
export interface Stat {
  readonly type: EntryType;
  /** Permission bits, setuid, setgid and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** What the file takes on the disk: less than its size says that there may be holes in it. */
  readonly allocatedBytes: number;
  /** May be negative: before 1970. */
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly ctimeSeconds: number;
  readonly ctimeNanos: number;
  /** Device and inode as decimal text: they identify hard links. */
  readonly dev: string;
  readonly ino: string;
  readonly nlink: number;
  /** Of a char or block device. */
  readonly rdevMajor: number;
  readonly rdevMinor: number;
}

/** The extended attributes of one file, asked for one after another. Names are raw bytes without NUL. */
export interface Xattrs {
  /** The names in any order, each ended by a NUL; empty when there are none. Valid until the next call. */
  names(): Uint8Array;
  /** Valid until the next call; undefined when there is none of that name any more. */
  value(name: Uint8Array): Uint8Array | undefined;
}

/** Gets a stretch of a file that holds data. */
export type OnRange = (start: number, end: number) => void;

/** An open regular file. */
export interface OpenFile {
  readonly stat: Stat;
  /** Valid until something else is asked of the source. */
  readonly xattrs: Xattrs;
  /** Reads up to `into.length` bytes at `offset`; 0 at the end. */
  read(into: Uint8Array, offset: number): number;
  /**
   * The stretches with data, in order and apart from each other, that begin before the size in `stat`; between them are holes.
   * False when the filesystem cannot tell, or there are too many: what comes behind the last one given is all data then.
   */
  dataRanges(onRange: OnRange): boolean;
  close(): void;
}

/** Gets a name as `bytes[start..end)`, valid during the call: no object per name. */
export type OnName = (bytes: Uint8Array, start: number, end: number) => void;

export interface FileSource {
  /** Without following a symbolic link. */
  lstat(path: Uint8Array): Stat;
  /** Names in a directory, without `.` and `..`, in any order. `onName` must not use the source; it may end it by throwing. */
  names(path: Uint8Array, onName: OnName): void;
  readlink(path: Uint8Array): Uint8Array;
  /** The extended attributes of what lies at `path`, not followed; `stat` is of it. Valid until something else is asked. */
  xattrs(path: Uint8Array, stat: Stat): Xattrs;
  /** Opens with O_NOFOLLOW | O_NONBLOCK | O_NOCTTY (and O_NOATIME where allowed), then fstat. */
  open(path: Uint8Array): OpenFile;
  /** True when the directory is the root of a pseudo-filesystem (proc, sysfs, cgroup …, by statfs). */
  isPseudo(path: Uint8Array): boolean;
  /** Names of a user or group id; undefined when there is none. One snapshot per run. */
  userName(uid: number): string | undefined;
  groupName(gid: number): string | undefined;
  /** Gives up what is held open; the source can still be used. */
  close(): void;
}

/** A failed call on a source. `code` is an errno name: ENOENT, EACCES, EIO … */
export class SourceError extends Error {
  readonly code: string;
  /** The system call that failed. */
  readonly call: string;

  constructor(code: string, call: string) {
    super(`${call}: ${code}`);
    this.name = "SourceError";
    this.code = code;
    this.call = call;
  }
}

/** Errors that tell of this process or its machine and nothing of the file: as problems of files they would make an archive of the rest. */
const EXHAUSTED: ReadonlyMap<string, readonly [what: string, hint: string]> = new Map([
  ["EMFILE", ["this process may open no more files", "Raise LimitNOFILE of the service, or ulimit -n of the shell."]],
  ["ENFILE", ["this machine can open no more files", "Raise the sysctl fs.file-max, or end what has so many open."]],
  ["ENOMEM", ["this machine has no memory left", "Free memory there, or lower resume.buffer_size of the agent."]],
]);

/** What a failed call is thrown as: SourceError, or Failure E_EXHAUSTED when it says nothing of the file. `errno` is a name. */
export function failedCall(errno: string, call: string): SourceError | Failure {
  return exhaustedBy(errno, call) ?? new SourceError(errno, call);
}

/** Failure E_EXHAUSTED of a failed call that says nothing of the file; undefined for any other. `then` is a sentence behind its hint. */
export function exhaustedBy(errno: string, call: string, then?: string): Failure | undefined {
  const exhausted = EXHAUSTED.get(errno);
  if (exhausted === undefined) return undefined;
  const [what, hint] = exhausted;
  return new Failure("E_EXHAUSTED", `${what} (${call}: ${errno})`, {
    hint: then === undefined ? hint : `${hint} ${then}`,
  });
}

/** The errno of an error of the system that somebody can do without; throws any other, and Failure E_EXHAUSTED as failedCall has it. */
export function dispensable(error: unknown, call: string): string {
  const errno = errnoName(error);
  if (errno === undefined) throw error;
  const failed = failedCall(errno, call);
  if (failed instanceof Failure) throw failed;
  return errno;
}
