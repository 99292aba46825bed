/**
 * The files of this machine as a FileSource: exact times, names of any bytes, paths of any length, nothing followed below a
 * source root, access times left alone where the kernel allows it. Decides nothing about what is backed up.
 */
import { readFileSync } from "node:fs";
import { keepLight } from "#base/light-code.ts";
import { KiB } from "#base/units.ts";
import { parseIdNames } from "./id-names.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  EINTR,
  ENXIO,
  EPERM,
  errnoText,
  type Libc,
  libc,
  O_CLOEXEC,
  O_NOATIME,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDONLY,
  Scratch,
  SEEK_DATA,
  SEEK_HOLE,
  STATX_BASIC_STATS,
  throwErrno,
} from "./linux-libc.ts";
import { LinuxDirectories } from "./linux-directories.ts";
import { isPseudoMagic } from "./linux-pseudo.ts";
import { STATX_BYTES, StatReader } from "./linux-stat.ts";
import { LinuxXattrs } from "./linux-xattrs.ts";
import {
  dispensable,
  failedCall,
  type FileSource,
  type OnName,
  type OnRange,
  type OpenFile,
  type Stat,
  type Xattrs,
} from "./source.ts";

/** Names are read from the kernel in batches of this size: large enough to be cheap, small enough to stay in the cache. */
const LISTING_BYTES = 64 * KiB;
/** A link's target is at most a page less one. */
const LINK_BYTES_MAX = 4096;
/**
 * Half a second of asking. A file with more holes has small ones, most of them not worth a place in the map; what lies behind is
 * read as data.
 */
const DATA_RANGES_MAX = 500_000;
/** sizeof(struct statfs) is 120. */
const STATFS_BYTES = 256;
/** Where the name begins in struct linux_dirent64, and where its length stands. */
const DIRENT_NAME = 19;
const DIRENT_LENGTH = 16;

export interface LinuxSourceOptions {
  /** Absolute paths of the sources, none inside another: links are followed above them, never below. */
  readonly roots: readonly Uint8Array[];
}

export class LinuxSource implements FileSource {
  readonly #c: Libc;
  readonly #directories: LinuxDirectories;
  readonly #statx = new Scratch(STATX_BYTES);
  readonly #stats = new StatReader(this.#statx.bytes.buffer);
  readonly #listing = new Scratch(LISTING_BYTES);
  readonly #link = new Scratch(LINK_BYTES_MAX);
  readonly #statfs = new Scratch(STATFS_BYTES);
  readonly #empty = new Scratch(1);
  readonly #xattrs: LinuxXattrs;
  #users: ReadonlyMap<number, string> | undefined;
  #groups: ReadonlyMap<number, string> | undefined;

  constructor(options: LinuxSourceOptions) {
    this.#c = libc();
    this.#directories = new LinuxDirectories(this.#c, options.roots);
    this.#xattrs = new LinuxXattrs(this.#c);
    keepLight(this.lstat, this.names, this.readlink, this.xattrs, this.open, this.#stat, this.#openName, eachName);
    const { read, close } = LinuxFile.prototype;
    keepLight(read, close);
  }

  lstat(path: Uint8Array): Stat {
    const directory = this.#directories.locate(path);
    const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    return this.#stat(directory, this.#directories.name, flags, "lstat");
  }

  names(path: Uint8Array, onName: OnName): void {
    const fd = this.#openName(path, this.#c.numbers.O_DIRECTORY);
    try {
      for (;;) {
        const { getdents64 } = this.#c.numbers;
        const length = this.#c.getdents64(getdents64, fd, this.#listing.pointer, LISTING_BYTES);
        if (length < 0) throwErrno(this.#c, "getdents64");
        if (length === 0) return;
        eachName(this.#listing.bytes, length, onName);
      }
    } finally {
      this.#c.close(fd);
    }
  }

  readlink(path: Uint8Array): Uint8Array {
    const directory = this.#directories.locate(path);
    const { pointer } = this.#directories.name;
    const length = this.#c.readlinkat(directory, pointer, this.#link.pointer, LINK_BYTES_MAX);
    if (length < 0) throwErrno(this.#c, "readlink");
    return this.#link.bytes.slice(0, length);
  }

  xattrs(path: Uint8Array, stat: Stat): Xattrs {
    const directory = this.#directories.locate(path);
    return this.#xattrs.ofName(directory, this.#directories.name.bytes, stat);
  }

  open(path: Uint8Array): OpenFile {
    const fd = this.#openName(path, O_NONBLOCK | O_NOCTTY);
    try {
      return new LinuxFile(this.#c, fd, this.#stat(fd, this.#empty, AT_EMPTY_PATH, "fstat"), this.#xattrs);
    } catch (error) {
      this.#c.close(fd);
      throw error;
    }
  }

  isPseudo(path: Uint8Array): boolean {
    const fd = this.#openName(path, this.#c.numbers.O_DIRECTORY);
    const failed = this.#c.fstatfs(fd, this.#statfs.pointer) < 0 ? this.#c.errno() : 0;
    this.#c.close(fd);
    if (failed !== 0) throw failedCall(errnoText(failed), "fstatfs");
    return isPseudoMagic(new DataView(this.#statfs.bytes.buffer).getUint32(0, true));
  }

  userName(uid: number): string | undefined {
    this.#users ??= readIdNames("/etc/passwd");
    return this.#users.get(uid);
  }

  groupName(gid: number): string | undefined {
    this.#groups ??= readIdNames("/etc/group");
    return this.#groups.get(gid);
  }

  close(): void {
    this.#directories.close();
  }

  #stat(fd: number, name: Scratch, flags: number, call: string): Stat {
    const { statx } = this.#c.numbers;
    const result = this.#c.statx(statx, fd, name.pointer, flags, STATX_BASIC_STATS, this.#statx.pointer);
    if (result < 0) throwErrno(this.#c, call);
    return this.#stats.read();
  }

  /** Only the owner and root may read without changing the access time; the others read all the same. */
  #openName(path: Uint8Array, extraFlags: number): number {
    const directory = this.#directories.locate(path);
    const flags = O_RDONLY | O_CLOEXEC | this.#c.numbers.O_NOFOLLOW | extraFlags;
    const { pointer } = this.#directories.name;
    let fd = this.#c.openat(directory, pointer, flags | O_NOATIME, 0);
    if (fd < 0 && this.#c.errno() === EPERM) fd = this.#c.openat(directory, pointer, flags, 0);
    if (fd < 0) throwErrno(this.#c, "open");
    return fd;
  }
}

class LinuxFile implements OpenFile {
  readonly stat: Stat;
  readonly #c: Libc;
  readonly #xattrs: LinuxXattrs;
  #fd: number;

  constructor(c: Libc, fd: number, stat: Stat, xattrs: LinuxXattrs) {
    this.#c = c;
    this.#fd = fd;
    this.stat = stat;
    this.#xattrs = xattrs;
  }

  get xattrs(): Xattrs {
    return this.#xattrs.ofFile(this.#fd, this.stat);
  }

  read(into: Uint8Array, offset: number): number {
    for (;;) {
      const length = this.#c.pread(this.#fd, into, into.length, offset);
      if (length >= 0) return length;
      const errno = this.#c.errno();
      if (errno !== EINTR) throwErrno(this.#c, "read");
    }
  }

  dataRanges(onRange: OnRange): boolean {
    const { size } = this.stat;
    let end = 0;
    for (let count = 0; count < DATA_RANGES_MAX; count += 1) {
      const start = this.#c.lseek(this.#fd, end, SEEK_DATA);
      // No data behind this: the rest is a hole, or the file became shorter.
      if (start < 0) return this.#c.errno() === ENXIO;
      if (start >= size) return true;
      end = this.#c.lseek(this.#fd, start, SEEK_HOLE);
      if (end <= start) return false;
      onRange(start, Math.min(end, size));
      if (end >= size) return true;
    }
    return false;
  }

  close(): void {
    if (this.#fd >= 0) this.#c.close(this.#fd);
    this.#fd = -1;
  }
}

/** Walks the records of struct linux_dirent64 in the first `length` bytes. */
function eachName(bytes: Uint8Array, length: number, onName: OnName): void {
  let at = 0;
  while (at < length) {
    const next = at + ((bytes[at + DIRENT_LENGTH] ?? 0) | ((bytes[at + DIRENT_LENGTH + 1] ?? 0) << 8));
    const start = at + DIRENT_NAME;
    const end = bytes.indexOf(0, start);
    if (!isDotName(bytes, start, end)) onName(bytes, start, end);
    at = next;
  }
}

/** `.` or `..` */
function isDotName(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes[start] !== 0x2e) return false;
  return end - start === 1 || (end - start === 2 && bytes[start + 1] === 0x2e);
}

/** A system without the file has no names, which is no reason to fail a backup: the numbers are stored in any case. */
function readIdNames(file: string): ReadonlyMap<number, string> {
  try {
    return parseIdNames(readFileSync(file, "utf8"));
  } catch (error) {
    dispensable(error, "open");
    return new Map();
  }
}
