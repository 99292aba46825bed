/**
 * The system calls the file source needs and Bun's fs lacks or cannot make exact, by FFI on the C library. Opened on first
 * use, so that importing this costs nothing. Needs glibc 2.17: statx and getdents64 go through `syscall()`, which has been
 * there always. Numbers and flags are those of Linux on x86-64 and arm64.
 */
import { dlopen, FFIType, type Pointer, ptr, read } from "bun:ffi";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { failedCall } from "./source.ts";

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
/** An automount point is looked at, never triggered, as lstat does. */
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;
export const STATX_BASIC_STATS = 0x7ff;

export const O_RDONLY = 0;
export const O_NOCTTY = 0x100;
export const O_NONBLOCK = 0x800;
export const O_NOATIME = 0x40000;
export const O_CLOEXEC = 0x80000;
export const O_PATH = 0x200000;

export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const ENXIO = 6;
export const ERANGE = 34;
export const ENODATA = 61;
export const EOPNOTSUPP = 95;

/** What differs between the architectures. */
interface Numbers {
  readonly statx: number;
  readonly getdents64: number;
  readonly O_DIRECTORY: number;
  readonly O_NOFOLLOW: number;
}

const NUMBERS: Readonly<Record<string, Numbers>> = {
  x64: { statx: 332, getdents64: 217, O_DIRECTORY: 0x10000, O_NOFOLLOW: 0x20000 },
  arm64: { statx: 291, getdents64: 61, O_DIRECTORY: 0x4000, O_NOFOLLOW: 0x8000 },
};

/** The errno values that file calls give; others are shown as E followed by the number. */
const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  7: "E2BIG",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  16: "EBUSY",
  17: "EEXIST",
  18: "EXDEV",
  19: "ENODEV",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  26: "ETXTBSY",
  27: "EFBIG",
  28: "ENOSPC",
  30: "EROFS",
  31: "EMLINK",
  34: "ERANGE",
  36: "ENAMETOOLONG",
  38: "ENOSYS",
  39: "ENOTEMPTY",
  40: "ELOOP",
  61: "ENODATA",
  71: "EPROTO",
  74: "EBADMSG",
  75: "EOVERFLOW",
  95: "EOPNOTSUPP",
  107: "ENOTCONN",
  110: "ETIMEDOUT",
  112: "EHOSTDOWN",
  113: "EHOSTUNREACH",
  116: "ESTALE",
  117: "EUCLEAN",
  121: "EREMOTEIO",
  122: "EDQUOT",
};

export function errnoText(errno: number): string {
  return ERRNO_NAMES[errno] ?? `E${errno}`;
}

export interface Libc {
  readonly numbers: Numbers;
  statx(number: number, fd: number, path: Pointer, flags: number, mask: number, into: Pointer): number;
  getdents64(number: number, fd: number, into: Pointer, length: number): number;
  /** Tried again when a signal interrupts it, which network filesystems and FUSE let happen. */
  openat(fd: number, path: Pointer, flags: number, mode: number): number;
  pread(fd: number, into: Uint8Array, length: number, offset: number): number;
  readlinkat(fd: number, path: Pointer, into: Pointer, length: number): number;
  fstatfs(fd: number, into: Pointer): number;
  close(fd: number): number;
  /** With SEEK_DATA or SEEK_HOLE; files are read by pread, which the position does not matter to. */
  lseek(fd: number, offset: number, whence: number): number;
  /** The `l` calls follow no symbolic link at the end of the path, but those on the way. */
  flistxattr(fd: number, into: Pointer, length: number): number;
  llistxattr(path: Pointer, into: Pointer, length: number): number;
  fgetxattr(fd: number, name: Pointer, into: Pointer, length: number): number;
  lgetxattr(path: Pointer, name: Pointer, into: Pointer, length: number): number;
  /** Of the last call that failed; asked right after it, before anything else happens in this thread. */
  errno(): number;
}

let opened: Libc | undefined;

/** The C library of this process. Throws Failure E_INTERNAL where it is not the one described above. */
export function libc(): Libc {
  opened ??= open();
  return opened;
}

function open(): Libc {
  const numbers = NUMBERS[process.arch];
  if (numbers === undefined || process.platform !== "linux") {
    throw new Failure("E_INTERNAL", `no system call numbers for ${process.platform} on ${process.arch}`);
  }
  const library = "libc.so.6";
  const statx = dlopen(library, {
    syscall: { args: ["u32", "i32", "ptr", "i32", "u32", "ptr"], returns: FFIType.i64_fast },
  });
  const getdents = dlopen(library, { syscall: { args: ["u32", "i32", "ptr", "u64"], returns: FFIType.i64_fast } });
  const { symbols } = dlopen(library, {
    openat: { args: ["i32", "ptr", "i32", "u32"], returns: "i32" },
    pread64: { args: ["i32", "ptr", "u64", "i64"], returns: FFIType.i64_fast },
    readlinkat: { args: ["i32", "ptr", "ptr", "u64"], returns: FFIType.i64_fast },
    fstatfs: { args: ["i32", "ptr"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    lseek64: { args: ["i32", "i64", "i32"], returns: FFIType.i64_fast },
    flistxattr: { args: ["i32", "ptr", "u64"], returns: FFIType.i64_fast },
    llistxattr: { args: ["ptr", "ptr", "u64"], returns: FFIType.i64_fast },
    fgetxattr: { args: ["i32", "ptr", "ptr", "u64"], returns: FFIType.i64_fast },
    lgetxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: FFIType.i64_fast },
    __errno_location: { args: [], returns: "ptr" },
  });
  const errno = (): number => read.i32(must(symbols.__errno_location(), "errno"), 0);
  return {
    numbers,
    // Every one of these gives -1 or a number far below 2^53, so i64_fast never gives a bigint.
    statx: statx.symbols.syscall as Libc["statx"],
    getdents64: getdents.symbols.syscall as Libc["getdents64"],
    openat: (fd, path, flags, mode) => {
      for (;;) {
        const opened = symbols.openat(fd, path, flags, mode);
        if (opened >= 0 || errno() !== EINTR) return opened;
      }
    },
    pread: symbols.pread64 as Libc["pread"],
    readlinkat: symbols.readlinkat as Libc["readlinkat"],
    fstatfs: symbols.fstatfs,
    close: symbols.close,
    lseek: symbols.lseek64 as Libc["lseek"],
    flistxattr: symbols.flistxattr as Libc["flistxattr"],
    llistxattr: symbols.llistxattr as Libc["llistxattr"],
    fgetxattr: symbols.fgetxattr as Libc["fgetxattr"],
    lgetxattr: symbols.lgetxattr as Libc["lgetxattr"],
    errno,
  };
}

/** Throws the error of the system call that just failed, as failedCall has it. */
export function throwErrno(c: Libc, call: string): never {
  const errno = c.errno();
  throw failedCall(errnoText(errno), call);
}

/** Memory that stays at one address for as long as it is referenced, to pass to calls again and again. */
export class Scratch {
  readonly bytes: Uint8Array;
  readonly pointer: Pointer;

  constructor(length: number) {
    // Backed by a buffer of its own: the address of a small typed array could change.
    this.bytes = new Uint8Array(new ArrayBuffer(length));
    this.pointer = must(ptr(this.bytes), "scratch memory");
  }
}
