/**
 * Descriptors of the directories on the way to the path in hand, so that each call resolves one name only: quicker than
 * whole paths, not bound to PATH_MAX, and nobody can swap a directory for a symbolic link below a source root and have
 * the backup read something else. Directories are opened with O_PATH, which needs only search permission.
 */
import { assert, must } from "#base/assert.ts";
import { keepLight } from "#base/light-code.ts";
import { hasPrefix, isBelow, SLASH } from "./bytes.ts";
import {
  AT_FDCWD,
  type Libc,
  O_CLOEXEC,
  O_NOCTTY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  Scratch,
  throwErrno,
} from "./linux-libc.ts";
import { SourceError } from "./source.ts";

/** NAME_MAX is 255; some filesystems allow more. A whole path fits too: source roots are opened by it. */
const NAME_BYTES_MAX = 4095;
/** Directories kept open besides the one above the source root; those above are opened again on the way back. */
const OPEN_DIRECTORIES_MAX = 64;

interface Level {
  /** The directory is the first `end` bytes of the current path (1 for the root directory). */
  readonly end: number;
  fd: number;
}

export class LinuxDirectories {
  readonly #c: Libc;
  readonly #roots: readonly Uint8Array[];
  /** The name handed to a call, with its NUL. */
  readonly name = new Scratch(NAME_BYTES_MAX + 1);
  #path: Uint8Array = new Uint8Array(256);
  /** From the directory above the source root downwards; those before `#oldest`, except the first, are closed. */
  readonly #levels: Level[] = [];
  #oldest = 1;

  /** Symbolic links are followed above each of the `roots`, and nowhere below. */
  constructor(c: Libc, roots: readonly Uint8Array[]) {
    this.#c = c;
    this.#roots = roots;
    keepLight(this.locate, this.#setName, this.#directory, this.#popUnshared, this.#descend);
  }

  /**
   * Prepares a call on `path`: gives the descriptor of the directory it lies in, and puts its last component into
   * `name`. Throws SourceError when a directory on the way is gone or is none any more.
   */
  locate(path: Uint8Array): number {
    const slash = path.lastIndexOf(SLASH);
    assert(slash >= 0 && path[0] === SLASH, "a source path is not absolute");
    if (path.length === 1) {
      this.#setName(new TextEncoder().encode("."), 0, 1);
      return this.#directory(path, 1);
    }
    const fd = this.#directory(path, Math.max(1, slash));
    this.#setName(path, slash + 1, path.length);
    return fd;
  }

  close(): void {
    while (this.#levels.length > 0) this.#pop();
  }

  #setName(bytes: Uint8Array, start: number, end: number): void {
    const name = this.name.bytes;
    const length = end - start;
    if (length > NAME_BYTES_MAX) throw new SourceError("ENAMETOOLONG", "open");
    for (let i = 0; i < length; i += 1) name[i] = bytes[start + i] ?? 0;
    name[length] = 0;
  }

  /** The descriptor of the directory that is the first `end` bytes of `path`. */
  #directory(path: Uint8Array, end: number): number {
    const top = this.#levels.at(-1);
    // It can be closed: on the way back up, when opening it again failed.
    if (top?.end === end && top.fd >= 0 && hasPrefix(this.#path, path, end)) return top.fd;
    this.#popUnshared(path, end);
    if (this.#levels.length === 0) this.#openFirst(path, end);
    this.#reopenTop();
    let level = must(this.#levels.at(-1), "a first directory");
    while (level.end < end) level = this.#descend(path, level, end);
    return level.fd;
  }

  /** Closes the directories that are not on the way to the first `end` bytes of `path`. */
  #popUnshared(path: Uint8Array, end: number): void {
    for (let top = this.#levels.at(-1); top !== undefined; top = this.#levels.at(-1)) {
      const onTheWay = top.end === end || (top.end < end && (top.end === 1 || path[top.end] === SLASH));
      if (onTheWay && hasPrefix(this.#path, path, top.end) && !this.#isOtherRoot(path, top)) return;
      this.#pop();
    }
  }

  /** True when the first level belongs to another source root: between the two, links have to be followed. */
  #isOtherRoot(path: Uint8Array, level: Level): boolean {
    return this.#levels.length === 1 && level.end !== this.#firstEnd(path, level.end);
  }

  /** Length of the directory above the source root `path` lies in; `otherwise` for a path in none. */
  #firstEnd(path: Uint8Array, otherwise: number): number {
    for (const root of this.#roots) {
      if (root.length !== path.length && !isBelow(root, path)) continue;
      if (hasPrefix(root, path, root.length)) return Math.max(1, root.lastIndexOf(SLASH));
    }
    return otherwise;
  }

  #openFirst(path: Uint8Array, end: number): void {
    const first = Math.min(end, this.#firstEnd(path, end));
    this.#setName(path, 0, first);
    const fd = this.#c.openat(AT_FDCWD, this.name.pointer, this.#flags(), 0);
    if (fd < 0) throwErrno(this.#c, "open");
    this.#remember(path, first);
    this.#levels.push({ end: first, fd });
    this.#oldest = 1;
  }

  /** Opens the next component of `path` below `level`. */
  #descend(path: Uint8Array, level: Level, end: number): Level {
    const start = level.end === 1 ? 1 : level.end + 1;
    const slash = path.indexOf(SLASH, start);
    const next = slash < 0 || slash > end ? end : slash;
    const fd = this.#openBelow(level.fd, path, start, next);
    this.#remember(path, next);
    const opened = { end: next, fd };
    this.#levels.push(opened);
    if (this.#levels.length - this.#oldest > OPEN_DIRECTORIES_MAX) {
      this.#closeLevel(must(this.#levels[this.#oldest], "the oldest open directory"));
      this.#oldest += 1;
    }
    return opened;
  }

  #openBelow(fd: number, path: Uint8Array, start: number, end: number): number {
    this.#setName(path, start, end);
    const opened = this.#c.openat(fd, this.name.pointer, this.#flags() | this.#c.numbers.O_NOFOLLOW, 0);
    if (opened < 0) throwErrno(this.#c, "open");
    return opened;
  }

  /** After a way back up of more than OPEN_DIRECTORIES_MAX: opens the deepest remaining level from the first one down. */
  #reopenTop(): void {
    const top = must(this.#levels.at(-1), "a first directory");
    if (top.fd >= 0) return;
    const last = this.#levels.length - 1;
    this.#oldest = Math.max(1, last - OPEN_DIRECTORIES_MAX + 1);
    for (let i = 1; i <= last; i += 1) {
      const above = must(this.#levels[i - 1], "a directory above");
      const level = must(this.#levels[i], "a directory");
      this.#closeLevel(level);
      level.fd = this.#openBelow(above.fd, this.#path, above.end === 1 ? 1 : above.end + 1, level.end);
      if (i > 1 && i - 1 < this.#oldest) this.#closeLevel(above);
    }
  }

  #pop(): void {
    const level = must(this.#levels.pop(), "an open directory");
    this.#closeLevel(level);
    this.#oldest = Math.max(1, Math.min(this.#oldest, this.#levels.length));
  }

  #closeLevel(level: Level): void {
    if (level.fd >= 0) this.#c.close(level.fd);
    level.fd = -1;
  }

  #remember(path: Uint8Array, end: number): void {
    if (end > this.#path.length) {
      const longer = new Uint8Array(Math.max(end, this.#path.length * 2));
      longer.set(this.#path);
      this.#path = longer;
    }
    this.#path.set(path.subarray(0, end));
  }

  #flags(): number {
    return O_RDONLY | O_PATH | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | this.#c.numbers.O_DIRECTORY;
  }
}
