/**
 * The system calls that write a tree, which Bun's fs lacks or cannot make by descriptor, by FFI on the C library. All name their
 * place by the descriptor of a directory and one name in it, so nothing on the way is ever resolved again. Opened on first use.
 * Needs glibc 2.17: what came later goes through `syscall()`.
 */
import { dlopen, FFIType, type Pointer } from "bun:ffi";
import { type Libc, libc } from "#archive/linux-libc.ts";
import { Failure } from "#base/errors.ts";

export const O_WRONLY = 1;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const AT_REMOVEDIR = 0x200;
export const RENAME_NOREPLACE = 1;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;

export const ENOENT = 2;
export const EINTR = 4;
export const EACCES = 13;
export const EEXIST = 17;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const ENOSPC = 28;
export const EROFS = 30;
export const ENAMETOOLONG = 36;
export const ENOSYS = 38;
export const ENOTEMPTY = 39;
export const ELOOP = 40;
export const EDQUOT = 122;

/** `time` is a struct timespec[2]. Everything gives 0 or more, or -1 and an errno. */
export interface WriteCalls {
  readonly c: Libc;
  mkdirat(fd: number, name: Pointer, mode: number): number;
  unlinkat(fd: number, name: Pointer, flags: number): number;
  renameat(fromFd: number, from: Pointer, toFd: number, to: Pointer): number;
  /** With RENAME_NOREPLACE; ENOSYS and EINVAL where kernel or filesystem do not know it. */
  renameat2(fromFd: number, from: Pointer, toFd: number, to: Pointer, flags: number): number;
  linkat(fromFd: number, from: Pointer, toFd: number, to: Pointer, flags: number): number;
  symlinkat(target: Pointer, fd: number, name: Pointer): number;
  mknodat(fd: number, name: Pointer, mode: number, device: number): number;
  fchown(fd: number, uid: number, gid: number): number;
  fchownat(fd: number, name: Pointer, uid: number, gid: number, flags: number): number;
  fchmod(fd: number, mode: number): number;
  /** Follows links: only for paths below /proc/self/fd. */
  chmod(path: Pointer, mode: number): number;
  futimens(fd: number, time: Pointer): number;
  utimensat(fd: number, name: Pointer, time: Pointer, flags: number): number;
  ftruncate(fd: number, length: number): number;
  pwrite(fd: number, from: Uint8Array, length: number, offset: number): number;
  write(fd: number, from: Uint8Array, length: number): number;
  fsetxattr(fd: number, name: Pointer, value: Uint8Array, length: number, flags: number): number;
  /** Follows no link at the end of the path. */
  lsetxattr(path: Pointer, name: Pointer, value: Uint8Array, length: number, flags: number): number;
  setxattr(path: Pointer, name: Pointer, value: Uint8Array, length: number, flags: number): number;
  fremovexattr(fd: number, name: Pointer): number;
  syncfs(fd: number): number;
}

interface Numbers {
  readonly mknodat: number;
  readonly renameat2: number;
}

const NUMBERS: Readonly<Record<string, Numbers>> = {
  x64: { mknodat: 259, renameat2: 316 },
  arm64: { mknodat: 33, renameat2: 276 },
};

let opened: WriteCalls | undefined;

/** The calls of this process. Throws Failure E_INTERNAL on a system they are not known for. */
export function writeCalls(): WriteCalls {
  opened ??= open();
  return opened;
}

function open(): WriteCalls {
  const numbers = NUMBERS[process.arch];
  if (numbers === undefined) throw new Failure("E_INTERNAL", `no system call numbers for ${process.arch}`);
  const library = "libc.so.6";
  const mknod = dlopen(library, { syscall: { args: ["u32", "i32", "ptr", "u32", "u64"], returns: FFIType.i64_fast } });
  const rename = dlopen(library, {
    syscall: { args: ["u32", "i32", "ptr", "i32", "ptr", "u32"], returns: FFIType.i64_fast },
  });
  const { symbols } = dlopen(library, {
    mkdirat: { args: ["i32", "ptr", "u32"], returns: "i32" },
    unlinkat: { args: ["i32", "ptr", "i32"], returns: "i32" },
    renameat: { args: ["i32", "ptr", "i32", "ptr"], returns: "i32" },
    linkat: { args: ["i32", "ptr", "i32", "ptr", "i32"], returns: "i32" },
    symlinkat: { args: ["ptr", "i32", "ptr"], returns: "i32" },
    fchown: { args: ["i32", "u32", "u32"], returns: "i32" },
    fchownat: { args: ["i32", "ptr", "u32", "u32", "i32"], returns: "i32" },
    fchmod: { args: ["i32", "u32"], returns: "i32" },
    chmod: { args: ["ptr", "u32"], returns: "i32" },
    futimens: { args: ["i32", "ptr"], returns: "i32" },
    utimensat: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
    ftruncate64: { args: ["i32", "i64"], returns: "i32" },
    pwrite64: { args: ["i32", "ptr", "u64", "i64"], returns: FFIType.i64_fast },
    write: { args: ["i32", "ptr", "u64"], returns: FFIType.i64_fast },
    fsetxattr: { args: ["i32", "ptr", "ptr", "u64", "i32"], returns: "i32" },
    lsetxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
    setxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
    fremovexattr: { args: ["i32", "ptr"], returns: "i32" },
    syncfs: { args: ["i32"], returns: "i32" },
  });
  const { mknodat, renameat2 } = numbers;
  return {
    ...symbols,
    c: libc(),
    ftruncate: symbols.ftruncate64,
    // These give -1 or a number far below 2^53, so i64_fast never gives a bigint.
    pwrite: symbols.pwrite64 as WriteCalls["pwrite"],
    write: symbols.write as WriteCalls["write"],
    mknodat: (fd, name, mode, device) => Number(mknod.symbols.syscall(mknodat, fd, name, mode, device)),
    renameat2: (fromFd, from, toFd, to, flags) =>
      Number(rename.symbols.syscall(renameat2, fromFd, from, toFd, to, flags)),
  };
}

/** The kernel's encoding of a device number, as glibc's makedev gives it; undefined when a part does not fit. */
export function makeDevice(major: number, minor: number): number | undefined {
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) return undefined;
  // Below 2^32, as mknod's argument in the kernel is.
  return (minor & 0xff) + (major & 0xfff) * 2 ** 8 + (minor & 0xfff00) * 2 ** 12;
}
