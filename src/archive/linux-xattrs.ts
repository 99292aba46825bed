/**
 * Extended attributes of files on this machine. Those of an open file are asked for by its descriptor. There is no such call for a
 * name in an open directory that every kernel in use has, so other entries are reached through the directory's descriptor in
 * /proc: not bound to PATH_MAX, and no link on the way can be swapped in. Filesystems that have none are asked once.
 */
import { Failure } from "#base/errors.ts";
import { keepLight } from "#base/light-code.ts";
import {
  AT_FDCWD,
  ENODATA,
  ENOENT,
  EOPNOTSUPP,
  ERANGE,
  errnoText,
  type Libc,
  O_CLOEXEC,
  O_PATH,
  Scratch,
  throwErrno,
} from "./linux-libc.ts";
import { failedCall, type Stat, type Xattrs } from "./source.ts";

/** XATTR_LIST_MAX and XATTR_SIZE_MAX of the kernel: no list and no value is longer. */
const XATTR_BYTES_MAX = 65_536;
/** Tried first: the kernel allocates, and clears, as much as it is asked for, and hardly any list or value is longer. */
const BYTES_FIRST = 1024;
const NAME_BYTES_MAX = 255;
const PROC_DIRECTORY = "/proc/self/fd";
/** That, a descriptor, and a name of 4095 bytes. */
const PROC_PATH_BYTES_MAX = PROC_DIRECTORY.length + 12 + 4096;
const NOTHING = new Uint8Array(0);

export class LinuxXattrs implements Xattrs {
  readonly #c: Libc;
  readonly #into = new Scratch(XATTR_BYTES_MAX);
  readonly #name = new Scratch(NAME_BYTES_MAX + 1);
  readonly #path = new Scratch(PROC_PATH_BYTES_MAX);
  /** The descriptor that the beginning of `#path` was written for, and where that beginning ends. */
  #directory = -1;
  #directoryEnd = 0;
  /** Devices whose filesystem knows no extended attributes. */
  readonly #unsupported = new Set<string>();
  #procChecked = false;
  /** Of the file in hand: its descriptor, or -1 when `#path` names it. */
  #fd = -1;
  #dev = "";

  constructor(c: Libc) {
    this.#c = c;
    keepLight(this.ofFile, this.ofName, this.names, this.#list);
  }

  /** The open file. */
  ofFile(fd: number, stat: Stat): Xattrs {
    this.#fd = fd;
    this.#dev = stat.dev;
    return this;
  }

  /** What is called `name` (ended by a NUL) in the directory open as `directory`. Throws Failure when /proc is not there. */
  ofName(directory: number, name: Uint8Array, stat: Stat): Xattrs {
    this.#fd = -1;
    this.#dev = stat.dev;
    if (this.#unsupported.has(stat.dev)) return this;
    this.#checkProc();
    if (directory !== this.#directory) this.#setDirectory(directory);
    const path = this.#path.bytes;
    const start = this.#directoryEnd;
    let length = 0;
    for (; name[length] !== 0; length += 1) path[start + length] = name[length] ?? 0;
    path[start + length] = 0;
    return this;
  }

  names(): Uint8Array {
    if (this.#unsupported.has(this.#dev)) return NOTHING;
    let length = this.#list(BYTES_FIRST);
    if (length < 0 && this.#c.errno() === ERANGE) length = this.#list(XATTR_BYTES_MAX);
    if (length >= 0) return length === 0 ? NOTHING : this.#into.bytes.subarray(0, length);
    const errno = this.#c.errno();
    if (errno === EOPNOTSUPP) {
      this.#unsupported.add(this.#dev);
      return NOTHING;
    }
    // Whoever looked at it a moment ago will find out that it is gone, if that matters.
    if (errno === ENOENT) return NOTHING;
    return throwErrno(this.#c, "listxattr");
  }

  value(name: Uint8Array): Uint8Array | undefined {
    this.#name.bytes.set(name);
    this.#name.bytes[name.length] = 0;
    let length = this.#get(BYTES_FIRST);
    if (length < 0 && this.#c.errno() === ERANGE) length = this.#get(XATTR_BYTES_MAX);
    if (length >= 0) return this.#into.bytes.subarray(0, length);
    const errno = this.#c.errno();
    if (errno === ENODATA || errno === ENOENT) return undefined;
    return throwErrno(this.#c, "getxattr");
  }

  #get(length: number): number {
    const { pointer } = this.#into;
    const name = this.#name.pointer;
    if (this.#fd >= 0) return this.#c.fgetxattr(this.#fd, name, pointer, length);
    return this.#c.lgetxattr(this.#path.pointer, name, pointer, length);
  }

  #list(length: number): number {
    const { pointer } = this.#into;
    if (this.#fd >= 0) return this.#c.flistxattr(this.#fd, pointer, length);
    return this.#c.llistxattr(this.#path.pointer, pointer, length);
  }

  #setDirectory(directory: number): void {
    const text = `${PROC_DIRECTORY}/${directory}/`;
    this.#directoryEnd = new TextEncoder().encodeInto(text, this.#path.bytes).written;
    this.#directory = directory;
  }

  #checkProc(): void {
    if (this.#procChecked) return;
    new TextEncoder().encodeInto(`${PROC_DIRECTORY}\0`, this.#path.bytes);
    const fd = this.#c.openat(AT_FDCWD, this.#path.pointer, O_PATH | O_CLOEXEC, 0);
    if (fd < 0) {
      const error = failedCall(errnoText(this.#c.errno()), "open");
      if (error instanceof Failure) throw error;
      throw new Failure("E_SOURCE_MISSING", "/proc is not mounted, and extended attributes are read through it", {
        hint: "Mount /proc where the agent runs.",
        cause: error,
      });
    }
    this.#c.close(fd);
    this.#procChecked = true;
  }
}
