/**
 * Descriptors of the directories on the way to the path in hand, below the target. Each is opened by one name in the one above it and
 * never through a symbolic link, so nothing an archive plants, and nobody who moves directories meanwhile, leads out of the
 * target. Missing directories are made. What is to be done to a directory once all of its contents are there is called when the
 * walk leaves it: memory is bounded by depth, whatever the number of directories.
 */
import { hasPrefix, SLASH } from "#archive/bytes.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_PATH,
  O_RDONLY,
  Scratch,
  STATX_BASIC_STATS,
} from "#archive/linux-libc.ts";
import { STATX_BYTES, StatReader } from "#archive/linux-stat.ts";
import type { Stat } from "#archive/source.ts";
import { assert, must } from "#base/assert.ts";
import { EACCES, EEXIST, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, type WriteCalls } from "./write-calls.ts";
import { WriteError } from "./write-error.ts";

/** Longer than any name a filesystem takes: those fail with ENAMETOOLONG. */
const NAME_BYTES_MAX = 4095;
/** Directories kept open besides the target; those above are opened again on the way back. */
const OPEN_DIRECTORIES_MAX = 64;
/** Of a directory that a dry run would make. */
export const ABSENT = -2;
const CLOSED = -1;

export interface Level<T> {
  /** The directory is the first `end` bytes of the path in hand; 0 for the target. */
  readonly end: number;
  /** CLOSED when it must be opened again, ABSENT in a dry run. */
  fd: number;
  /** Made by this run, so nothing of before lies in it. */
  readonly fresh: boolean;
  /** What is made in it takes access control lists from it. */
  inherits: boolean;
  /** What is to be done on leaving it. */
  duty: T | undefined;
}

export interface StackHooks<T> {
  /** A directory that was there is entered, before anything in it is touched. Not called for fresh ones, nor for the target. */
  entered(level: Level<T>): void;
  /** All that comes of it has come. The level is open. Called again when it has thrown and the stack is closed. */
  leave(level: Level<T>, path: Uint8Array): void;
  /** The directory cannot be opened again to be left: somebody took it away meanwhile. */
  gone(path: Uint8Array, error: WriteError): void;
}

export class DirectoryStack<T> {
  readonly #w: WriteCalls;
  readonly #hooks: StackHooks<T>;
  readonly #dry: boolean;
  /** The name handed to a call, with its NUL. */
  readonly name = new Scratch(NAME_BYTES_MAX + 1);
  readonly #statx = new Scratch(STATX_BYTES);
  readonly #stats = new StatReader(this.#statx.bytes.buffer);
  #path: Uint8Array = new Uint8Array(256);
  readonly #levels: Level<T>[] = [];
  #oldest = 1;

  /** `fd` is the target, open for reading; ABSENT in a dry run when it is not there. It is closed by `close`. */
  constructor(w: WriteCalls, fd: number, hooks: StackHooks<T>, dry: boolean) {
    this.#w = w;
    this.#hooks = hooks;
    this.#dry = dry;
    this.#levels.push({ end: 0, fd, fresh: fd === ABSENT, inherits: false, duty: undefined });
  }

  /** The target itself. */
  get root(): Level<T> {
    return must(this.#levels[0], "the target");
  }

  /**
   * The directory that the entry at `path` lies in (safePath's form, not empty), made if it is missing; puts the entry's own name into
   * `name`. Throws WriteError when something is in the way.
   */
  locate(path: Uint8Array): Level<T> {
    const slash = path.lastIndexOf(SLASH);
    const level = this.directory(path, Math.max(0, slash));
    this.setName(path, slash + 1, path.length);
    return level;
  }

  /** The directory that is the first `end` bytes of `path`. */
  directory(path: Uint8Array, end: number): Level<T> {
    const top = must(this.#levels.at(-1), "the target");
    if (top.end === end && top.fd !== CLOSED && hasPrefix(this.#path, path, end)) return top;
    this.#popUnshared(path, end);
    this.#reopenTop();
    let level = must(this.#levels.at(-1), "the target");
    while (level.end < end) {
      const start = level.end === 0 ? 0 : level.end + 1;
      const slash = path.indexOf(SLASH, start);
      level = this.#descend(path, start, slash < 0 || slash > end ? end : slash);
    }
    return level;
  }

  /** Enters the directory that was just made or found as `path`; `fd` is open. `locate(path)` was called before. */
  push(path: Uint8Array, fd: number, fresh: boolean): Level<T> {
    const level: Level<T> = { end: path.length, fd, fresh, inherits: false, duty: undefined };
    this.#remember(path, path.length);
    this.#levels.push(level);
    if (this.#levels.length - this.#oldest > OPEN_DIRECTORIES_MAX) {
      this.#closeLevel(must(this.#levels[this.#oldest], "the oldest open directory"));
      this.#oldest += 1;
    }
    if (!fresh && fd !== ABSENT) this.#hooks.entered(level);
    return level;
  }

  /** Leaves every directory but the target. */
  leaveAll(): void {
    while (this.#levels.length > 1) this.#pop();
  }

  /** Leaves all, the target too, and closes it. */
  close(): void {
    while (this.#levels.length > 0) this.#pop();
  }

  setName(bytes: Uint8Array, start: number, end: number): void {
    const name = this.name.bytes;
    const length = end - start;
    if (length > NAME_BYTES_MAX) throw new WriteError(ENAMETOOLONG, "open");
    for (let i = 0; i < length; i += 1) name[i] = bytes[start + i] ?? 0;
    name[length] = 0;
  }

  /** What is called `name` in the directory; undefined when there is nothing. Not followed. */
  statName(directory: number, name: Scratch = this.name): Stat | undefined {
    const result = this.#statx2(directory, name, AT_SYMLINK_NOFOLLOW);
    if (result === 0) return this.#stats.read();
    return result === ENOENT ? undefined : this.#fail(result, "lstat");
  }

  /** What is open. */
  statOpen(fd: number): Stat {
    const result = this.#statx2(fd, EMPTY, AT_EMPTY_PATH);
    return result === 0 ? this.#stats.read() : this.#fail(result, "fstat");
  }

  /**
   * Opens the directory called `name` in another, not through a link. One that may not be read is opened by O_PATH: that is enough to pass
   * through it. Gives -errno when it cannot be.
   */
  openDirectory(directory: number): number {
    const { c } = this.#w;
    const flags = O_RDONLY | O_CLOEXEC | c.numbers.O_DIRECTORY | c.numbers.O_NOFOLLOW;
    const fd = c.openat(directory, this.name.pointer, flags, 0);
    if (fd >= 0) return fd;
    const errno = c.errno();
    if (errno !== EACCES) return -errno;
    const passed = c.openat(directory, this.name.pointer, flags | O_PATH, 0);
    return passed >= 0 ? passed : -c.errno();
  }

  /**
   * Opens the directory of `path` for a look or a link, without making or entering anything; puts the last name into `name`.
   * The caller closes it. Throws WriteError, ENOENT when a directory is missing.
   */
  openParent(path: Uint8Array): number {
    const slash = path.lastIndexOf(SLASH);
    const end = Math.max(0, slash);
    const { c } = this.#w;
    let at = 0;
    let fd = this.root.fd;
    for (const level of this.#levels) {
      const shared = level.end <= end && (level.end === 0 || level.end === end || path[level.end] === SLASH);
      if (!shared || level.fd < 0 || !hasPrefix(this.#path, path, level.end)) continue;
      at = level.end;
      fd = level.fd;
    }
    if (fd < 0) throw new WriteError(ENOENT, "open");
    let own = -1;
    while (at < end) {
      const start = at === 0 ? 0 : at + 1;
      const next = path.indexOf(SLASH, start);
      at = next < 0 || next > end ? end : next;
      this.setName(path, start, at);
      const opened = this.openDirectory(fd);
      if (own >= 0) c.close(own);
      if (opened < 0) throw new WriteError(-opened, "open");
      own = opened;
      fd = opened;
    }
    if (own < 0) own = this.#reopen(fd);
    this.setName(path, slash + 1, path.length);
    return own;
  }

  #reopen(fd: number): number {
    const { c } = this.#w;
    const flags = O_PATH | O_CLOEXEC | c.numbers.O_DIRECTORY;
    const own = c.openat(fd, DOT.pointer, flags, 0);
    return own >= 0 ? own : this.#fail(c.errno(), "open");
  }

  #descend(path: Uint8Array, start: number, end: number): Level<T> {
    const above = must(this.#levels.at(-1), "the target");
    this.setName(path, start, end);
    if (above.fd === ABSENT) return this.push(path.subarray(0, end), ABSENT, true);
    let opened = this.openDirectory(above.fd);
    let fresh = false;
    if (opened === -ENOENT) {
      if (this.#dry) return this.push(path.subarray(0, end), ABSENT, true);
      // Directories that the archive has no entry of: as anybody's mkdir makes them.
      fresh = this.#w.mkdirat(above.fd, this.name.pointer, 0o777) === 0;
      const errno = fresh ? 0 : this.#w.c.errno();
      if (errno !== 0 && errno !== EEXIST) throw new WriteError(errno, "mkdir");
      opened = this.openDirectory(above.fd);
    }
    if (opened < 0) throw new WriteError(-opened, "open");
    const level = this.push(path.subarray(0, end), opened, fresh);
    if (fresh) level.inherits = above.inherits;
    return level;
  }

  /** Leaves the directories that are not on the way to the first `end` bytes of `path`. */
  #popUnshared(path: Uint8Array, end: number): void {
    for (
      let top = must(this.#levels.at(-1), "the target");
      top.end > 0;
      top = must(this.#levels.at(-1), "the target")
    ) {
      const onTheWay = top.end === end || (top.end < end && path[top.end] === SLASH);
      if (onTheWay && hasPrefix(this.#path, path, top.end)) return;
      this.#pop();
    }
  }

  #pop(): void {
    try {
      this.#reopenTop();
    } catch (error) {
      if (!(error instanceof WriteError)) throw error;
      this.#hooks.gone(this.#path.subarray(0, this.#levels.at(-1)?.end), error);
      return;
    }
    const level = must(this.#levels.at(-1), "an open directory");
    this.#hooks.leave(level, this.#path.subarray(0, level.end));
    this.#levels.pop();
    this.#oldest = Math.max(1, Math.min(this.#oldest, this.#levels.length));
    this.#closeLevel(level);
  }

  /** After a way back up of more than OPEN_DIRECTORIES_MAX: opens the deepest remaining level from the target down. */
  #reopenTop(): void {
    const top = this.#levels.at(-1);
    if (top === undefined || top.fd !== CLOSED) return;
    const last = this.#levels.length - 1;
    this.#oldest = Math.max(1, last - OPEN_DIRECTORIES_MAX + 1);
    for (let i = 1; i <= last; i += 1) {
      const above = must(this.#levels[i - 1], "a directory above");
      const level = must(this.#levels[i], "a directory");
      this.#closeLevel(level);
      this.setName(this.#path, above.end === 0 ? 0 : above.end + 1, level.end);
      const opened = this.openDirectory(above.fd);
      if (i > 1 && i - 1 < this.#oldest) this.#closeLevel(above);
      if (opened < 0) {
        // Somebody took it away. What should have gone into it goes nowhere.
        this.#dropFrom(i);
        throw new WriteError(-opened, "open");
      }
      level.fd = opened;
    }
  }

  #dropFrom(index: number): void {
    for (const level of this.#levels.splice(index)) this.#closeLevel(level);
    this.#oldest = Math.max(1, Math.min(this.#oldest, this.#levels.length));
  }

  #closeLevel(level: Level<T>): void {
    if (level.fd >= 0) this.#w.c.close(level.fd);
    if (level.fd !== ABSENT) level.fd = CLOSED;
  }

  #remember(path: Uint8Array, end: number): void {
    if (end > this.#path.length) {
      const longer = new Uint8Array(Math.max(end, this.#path.length * 2));
      longer.set(this.#path);
      this.#path = longer;
    }
    this.#path.set(path.subarray(0, end));
  }

  #statx2(fd: number, name: Scratch, flags: number): number {
    const { c } = this.#w;
    const result = c.statx(c.numbers.statx, fd, name.pointer, flags, STATX_BASIC_STATS, this.#statx.pointer);
    return result < 0 ? c.errno() : 0;
  }

  #fail(errno: number, call: string): never {
    throw new WriteError(errno, call);
  }
}

const EMPTY = new Scratch(1);
const DOT = dot();

function dot(): Scratch {
  const name = new Scratch(2);
  name.bytes[0] = 0x2e;
  return name;
}

/** Opens the target: the only path that is resolved as a user wrote it, links and all. Gives -errno. */
export function openTarget(w: WriteCalls, path: Uint8Array): number {
  assert(path.length > 0, "a target without a name");
  const name = new Scratch(path.length + 1);
  name.bytes.set(path);
  const fd = w.c.openat(AT_FDCWD, name.pointer, O_RDONLY | O_CLOEXEC | w.c.numbers.O_DIRECTORY, 0);
  return fd >= 0 ? fd : -w.c.errno();
}

/** True for what openDirectory gives where there is something that is no directory, or a symbolic link. */
export function isBlocked(errno: number): boolean {
  return errno === ENOTDIR || errno === ELOOP;
}
