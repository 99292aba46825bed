/**
 * The disk as the store sees it: few, plain, asynchronous file calls that never follow a symbolic link in the last
 * component. The real one is linux-disk.ts; tests and the simulator pass one that can fail, fill up and forget what
 * was not synced. Paths are absolute text. What goes wrong is thrown as an object with the errno name in `code`.
 * This file decides nothing about when to sync: that is the caller's business.
 */
import { AssertionError } from "#base/assert.ts";
import { errnoName, Failure, toFailure } from "#base/errors.ts";

export type DiskEntryType = "file" | "directory" | "symlink" | "other";

export interface DiskStat {
  readonly type: DiskEntryType;
  /** Permission bits, 12 of them. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  /** Device and inode together, as text: equal for two names of one file. */
  readonly identity: string;
  /** Names that the file has. */
  readonly links: number;
  readonly mtimeMs: number;
}

export interface DiskSpace {
  /** Of the whole filesystem. */
  readonly totalBytes: number;
  /** What this process may still use. */
  readonly freeBytes: number;
}

/** An open regular file. Calls on one file may overlap; `close` only after the last one has returned. */
export interface DiskFile {
  /** Writes all of `bytes` at `offset`, however many calls that takes. `bytes` must not change until it resolves. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /** Reads up to `into.length` bytes at `offset`; the number read is smaller only at the end of the file. */
  read(into: Uint8Array, offset: number): Promise<number>;
  /** Everything written before the call is on the disk when it resolves, and the length that reaches it. */
  fdatasync(): Promise<void>;
  /** Bytes. */
  size(): Promise<number>;
  truncate(length: number): Promise<void>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  close(): Promise<void>;
}

/** A lock that ends with `release`, or with the process. */
export interface DiskLock {
  release(): Promise<void>;
}

/** The filesystem that a directory lies on, as long as it is held. */
export interface DiskFilesystem {
  /**
   * All that was written to the filesystem before the call, names too, is on the disk when it resolves. Rejects also for
   * what failed to get there by itself since it was opened, or since the last call.
   */
  sync(): Promise<void>;
  /**
   * Appends whole files of this filesystem, in order, to an existing one at an offset: the first, and as many more as fit
   * into `bytesMax`. Resolves with the lengths of those that were appended. Rejects when none was, with what was wrong with
   * the first; ENOENT when it is missing.
   */
  append(paths: readonly string[], into: string, offset: number, bytesMax: number): Promise<readonly number[]>;
  close(): Promise<void>;
}

export interface Disk {
  /** True where files made here must be given away to the owner of the storage: the process is root. */
  readonly privileged: boolean;
  /** A new file for reading and writing with exactly this mode; EEXIST when there is one. */
  create(path: string, mode: number): Promise<DiskFile>;
  /** An existing regular file; ELOOP for a symbolic link, EINVAL for anything else. */
  open(path: string, access: "read" | "read-write"): Promise<DiskFile>;
  /** One directory with exactly this mode; EEXIST when there is anything of that name. */
  mkdir(path: string, mode: number): Promise<void>;
  rmdir(path: string): Promise<void>;
  /** A second name for a file; EEXIST when the name is taken: nothing is ever overwritten. */
  link(from: string, to: string): Promise<void>;
  /** Replaces `to` in one step. */
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Names without `.` and `..`, in any order. */
  readdir(path: string): Promise<string[]>;
  /** Does not follow a symbolic link. */
  lstat(path: string): Promise<DiskStat>;
  chown(path: string, uid: number, gid: number): Promise<void>;
  /** The path without any symbolic link in it. */
  realpath(path: string): Promise<string>;
  space(path: string): Promise<DiskSpace>;
  /** Rejects with EROFS or EACCES when nothing may be written there. Writes nothing. */
  writable(path: string): Promise<void>;
  /** The names in the directory, as they are now, are on the disk when it resolves. */
  syncDirectory(path: string): Promise<void>;
  /** Holds the filesystem of a directory; before the first write whose loss its `sync` must tell of. */
  openFilesystem(path: string): Promise<DiskFilesystem>;
  /** Locks a file (made if missing) against other processes; EWOULDBLOCK when one has it. */
  lock(path: string): Promise<DiskLock>;
}

/** Not a fault of the disk but of what stands, or does not stand, in the directory's place: it may be well again later. */
const UNUSABLE: ReadonlySet<string> = new Set([
  ...["EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "ELOOP", "ENODEV", "ENXIO", "ESTALE", "EMFILE", "ENFILE"],
]);

/** Space ran out. */
export function isDiskFull(error: unknown): boolean {
  const errno = errnoName(error);
  return errno === "ENOSPC" || errno === "EDQUOT";
}

/**
 * What the error of a file call means for a session: E_DISK_FULL when space ran out, E_STORAGE_FAILED when the directory
 * cannot be used, else E_DISK. A bug stays one.
 */
export function diskFailure(error: unknown, doing: string): Failure {
  if (error instanceof Failure || error instanceof AssertionError) return toFailure(error);
  const errno = errnoName(error);
  const unusable = errno !== undefined && UNUSABLE.has(errno);
  const code = isDiskFull(error) ? "E_DISK_FULL" : unusable ? "E_STORAGE_FAILED" : "E_DISK";
  return new Failure(code, `${doing}: ${errno ?? String(error)}`, { cause: error });
}

/** The value of a file call, or undefined when what it names does not exist. */
export async function orMissing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (errnoName(error) === "ENOENT") return undefined;
    throw error;
  }
}
