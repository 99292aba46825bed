/**
 * Makes what is no directory: files, symbolic links, fifos, devices. Each is made under the run's temporary name, gets its metadata, and
 * takes its place by rename: what was there is replaced as a whole or not at all. Nothing that was there is ever opened.
 */
import { equalBytes } from "#archive/bytes.ts";
import { errnoText, O_CLOEXEC, O_PATH, Scratch } from "#archive/linux-libc.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { must } from "#base/assert.ts";
import type { Level } from "./directory-stack.ts";
import type { Directories, Duty } from "./directories.ts";
import type { MetadataWriter } from "./metadata.ts";
import { nameStart } from "./safe-path.ts";
import type { TreeCounts, TreeOptions } from "./tree-options.ts";
import * as os from "./write-calls.ts";
import { WriteError } from "./write-error.ts";

/** A file between its creation and its place. */
export interface OpenedFile {
  readonly entry: ReadEntry;
  readonly path: Uint8Array;
  readonly local: Uint8Array;
  readonly level: Level<Duty>;
  fd: number;
  /** Up to where data has been written. */
  end: number;
  lostBytes: number;
}

const DAMAGED_SUFFIX = ".damaged";
/** Names tried for a damaged file: `.damaged`, `.damaged.2` and so on. */
const DAMAGED_NAMES_MAX = 9;
const NAME_BYTES_MAX = 255;
const LINK_BYTES_MAX = 4095;

export class FileMaker {
  readonly #w: os.WriteCalls;
  readonly #options: TreeOptions;
  readonly #directories: Directories;
  readonly #metadata: MetadataWriter;
  readonly #counts: TreeCounts;
  readonly #temp: Scratch;
  /** The last directory in which something under the temporary name stays, as where names can only be added: it takes no other file. */
  #stuck: { readonly directory: Uint8Array; readonly errno: number } | undefined;
  readonly #link = new Scratch(LINK_BYTES_MAX + 1);

  constructor(
    w: os.WriteCalls,
    options: TreeOptions,
    directories: Directories,
    metadata: MetadataWriter,
    counts: TreeCounts,
  ) {
    this.#w = w;
    this.#options = options;
    this.#directories = directories;
    this.#metadata = metadata;
    this.#counts = counts;
    this.#temp = new Scratch(options.temporaryName.length + 1);
    new TextEncoder().encodeInto(options.temporaryName, this.#temp.bytes);
  }

  get temp(): Scratch {
    return this.#temp;
  }

  /** `level` is where `locate(local)` led; its name is still in hand. */
  open(entry: ReadEntry, path: Uint8Array, local: Uint8Array, level: Level<Duty>): OpenedFile {
    this.#mustTake(local);
    const flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_CLOEXEC | this.#w.c.numbers.O_NOFOLLOW;
    const fd = this.#w.c.openat(level.fd, this.#temp.pointer, flags, 0o600);
    if (fd < 0) this.#throwErrno("open");
    return { entry, path, local, level, fd, end: 0, lostBytes: 0 };
  }

  write(file: OpenedFile, bytes: Uint8Array, offset: number): void {
    let at = 0;
    while (at < bytes.length) {
      const rest = at === 0 ? bytes : bytes.subarray(at);
      const written = this.#w.pwrite(file.fd, rest, rest.length, offset + at);
      if (written >= 0) at += written;
      else if (this.#w.c.errno() !== os.EINTR) this.#throwErrno("write");
    }
    file.end = offset + bytes.length;
    this.#counts.bytes += bytes.length;
  }

  /** The file is complete, or as complete as it gets. True when it is in its place; else what is left of it is to be discarded. */
  finish(file: OpenedFile): boolean {
    const { entry, path, level, fd, local } = file;
    // Holes at the end are no data.
    if (file.end !== entry.size && this.#w.ftruncate(fd, entry.size) < 0) this.#throwErrno("ftruncate");
    this.#metadata.apply({ kind: "open", fd }, entry, level.inherits, this.#report(path));
    file.fd = -1;
    // Network filesystems keep their errors for this moment.
    if (this.#w.c.close(fd) < 0) this.#throwErrno("close");
    if (file.lostBytes === 0) return this.replace(level, path);
    this.#options.problem(path, "damaged");
    this.#setAside(level, local);
    return false;
  }

  discard(file: OpenedFile): void {
    if (file.fd >= 0) this.#w.c.close(file.fd);
    file.fd = -1;
    this.removeTemp(file.level, file.local);
  }

  /** A symbolic link, fifo or device, to be `local` in `level`. True when it is in its place. */
  special(entry: ReadEntry, path: Uint8Array, local: Uint8Array, level: Level<Duty>): boolean {
    this.#mustTake(local);
    this.#makeSpecial(entry, level);
    let placed = false;
    try {
      this.#specialMetadata(entry, path, level);
      placed = this.replace(level, path);
    } finally {
      if (!placed) this.removeTemp(level, local);
    }
    return placed;
  }

  /** Gives what was made under the temporary name the name in hand. False when something stays in its place, which was reported. */
  replace(level: Level<Duty>, path: Uint8Array): boolean {
    let result = this.#rename(level);
    if (result === os.EISDIR || result === os.ENOTEMPTY || result === os.EEXIST) {
      if (this.#options.overwrite === "never") {
        this.#counts.kept += 1;
        return false;
      }
      const { pointer } = this.#directories.stack.name;
      if (this.#w.unlinkat(level.fd, pointer, os.AT_REMOVEDIR) < 0) {
        this.#options.problem(path, "directory-in-the-way", errnoText(this.#w.c.errno()));
        return false;
      }
      result = this.#rename(level);
    }
    if (result !== 0) throw new WriteError(result, "rename");
    this.#counts.restored += 1;
    return true;
  }

  /** Removes what was made to become `local` and did not, if there is something. What cannot be removed is reported by its name. */
  removeTemp(level: Level<Duty>, local: Uint8Array): void {
    if (level.fd < 0 || this.#w.unlinkat(level.fd, this.#temp.pointer, 0) === 0) return;
    const errno = this.#w.c.errno();
    if (errno === os.ENOENT) return;
    const directory = local.slice(0, nameStart(local));
    this.#stuck = { directory, errno };
    const left = Buffer.concat([directory, Buffer.from(this.#options.temporaryName)]);
    this.#options.problem(left, "left-behind", errnoText(errno));
  }

  #mustTake(local: Uint8Array): void {
    if (this.#stuck === undefined) return;
    const { directory, errno } = this.#stuck;
    if (equalBytes(directory, local.subarray(0, nameStart(local)))) throw new WriteError(errno, "rename");
  }

  #makeSpecial(entry: ReadEntry, level: Level<Duty>): void {
    const { pointer } = this.#temp;
    let result = 0;
    if (entry.type === "symlink") {
      const target = must(entry.linkTarget, "a link's target");
      if (target.length > LINK_BYTES_MAX) throw new WriteError(os.ENAMETOOLONG, "symlink");
      this.#link.bytes.set(target);
      this.#link.bytes[target.length] = 0;
      result = this.#w.symlinkat(this.#link.pointer, level.fd, pointer);
    } else if (entry.type === "fifo") {
      result = this.#w.mknodat(level.fd, pointer, os.S_IFIFO | 0o600, 0);
    } else {
      const device = os.makeDevice(entry.deviceMajor, entry.deviceMinor);
      if (device === undefined) throw new WriteError(os.EINVAL, "mknod");
      const type = entry.type === "char" ? os.S_IFCHR : os.S_IFBLK;
      result = this.#w.mknodat(level.fd, pointer, type | 0o600, device);
    }
    if (result < 0) this.#throwErrno("create");
  }

  #specialMetadata(entry: ReadEntry, path: Uint8Array, level: Level<Duty>): void {
    const report = this.#report(path);
    if (entry.type === "symlink") {
      this.#metadata.apply({ kind: "link", directory: level.fd, name: this.#temp }, entry, false, report);
      return;
    }
    // Opening a device or fifo for real would do something.
    const flags = O_PATH | O_CLOEXEC | this.#w.c.numbers.O_NOFOLLOW;
    const fd = this.#w.c.openat(level.fd, this.#temp.pointer, flags, 0);
    if (fd < 0) this.#throwErrno("open");
    this.#metadata.apply({ kind: "path", fd }, entry, false, report);
    this.#w.c.close(fd);
  }

  /** 0 or an errno. What was looked for and not there must not be replaced if it came meanwhile. */
  #rename(level: Level<Duty>): number {
    const { pointer } = this.#temp;
    const name = this.#directories.stack.name.pointer;
    if (this.#options.overwrite === "never") {
      if (this.#w.renameat2(level.fd, pointer, level.fd, name, os.RENAME_NOREPLACE) === 0) return 0;
      const errno = this.#w.c.errno();
      // Kernels and filesystems that do not know it.
      if (errno !== os.ENOSYS && errno !== os.EINVAL) return errno;
    }
    return this.#w.renameat(level.fd, pointer, level.fd, name) === 0 ? 0 : this.#w.c.errno();
  }

  /** Gives a damaged file a name beside its own that nothing has: what was kept from an earlier run, or is a user's, stays. */
  #setAside(level: Level<Duty>, local: Uint8Array): void {
    for (let number = 1; number <= DAMAGED_NAMES_MAX; number += 1) {
      this.#setDamagedName(local, number === 1 ? DAMAGED_SUFFIX : `${DAMAGED_SUFFIX}.${number}`);
      const errno = this.#renameToFree(level);
      if (errno === 0) return;
      if (errno !== os.EEXIST) throw new WriteError(errno, "rename");
    }
    throw new WriteError(os.EEXIST, "rename");
  }

  /** 0 or an errno; EEXIST when something has the name in hand. */
  #renameToFree(level: Level<Duty>): number {
    const { stack } = this.#directories;
    const { pointer } = this.#temp;
    const name = stack.name.pointer;
    if (this.#w.renameat2(level.fd, pointer, level.fd, name, os.RENAME_NOREPLACE) === 0) return 0;
    const errno = this.#w.c.errno();
    if (errno !== os.ENOSYS && errno !== os.EINVAL) return errno;
    // Kernels and filesystems that do not know it: a look before is the best there is.
    if (stack.statName(level.fd) !== undefined) return os.EEXIST;
    return this.#w.renameat(level.fd, pointer, level.fd, name) === 0 ? 0 : this.#w.c.errno();
  }

  #setDamagedName(local: Uint8Array, suffix: string): void {
    const start = nameStart(local);
    const name = local.subarray(start, Math.min(local.length, start + NAME_BYTES_MAX - suffix.length));
    const damaged = Buffer.concat([name, Buffer.from(suffix)]);
    this.#directories.stack.setName(damaged, 0, damaged.length);
  }

  #report(path: Uint8Array): (reason: "owner" | "mode" | "attributes" | "acl" | "time", errno: string) => void {
    return (reason, errno) => this.#options.problem(path, reason, errno);
  }

  #throwErrno(call: string): never {
    throw new WriteError(this.#w.c.errno(), call);
  }
}
