/**
 * The system calls that the store needs and node:fs lacks, by FFI on the C library. They run on the thread that calls
 * them. Opened on first use, so that importing this costs nothing.
 */
import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { must } from "#base/assert.ts";

function open() {
  return dlopen("libc.so.6", {
    flock: { args: ["i32", "i32"], returns: "i32" },
    syncfs: { args: ["i32"], returns: "i32" },
    posix_fadvise: { args: ["i32", "i64", "i64", "i32"], returns: "i32" },
    setenv: { args: ["buffer", "buffer", "i32"], returns: "i32" },
    copy_file_range: { args: ["i32", "ptr", "i32", "ptr", "u64", "u32"], returns: FFIType.i64_fast },
    __errno_location: { args: [], returns: "ptr" },
  }).symbols;
}

let libc: ReturnType<typeof open> | undefined;

/** 0, or the errno. */
export function flock(fd: number, operation: number): number {
  libc ??= open();
  return libc.flock(fd, operation) === 0 ? 0 : errno(libc);
}

/** Syncs the filesystem that an open file lies on, and takes as long as that takes; 0, or the errno. */
export function syncfs(fd: number): number {
  libc ??= open();
  return libc.syncfs(fd) === 0 ? 0 : errno(libc);
}

const offsets = new BigInt64Array(2);

/**
 * Copies up to `length` bytes from one open file to another at these offsets, inside the kernel, and takes as long as the
 * disk takes. How many were copied, 0 at the end of the first file; below 0: minus the errno.
 */
export function copyFileRange(from: number, fromOffset: number, to: number, toOffset: number, length: number): number {
  libc ??= open();
  offsets[0] = BigInt(fromOffset);
  offsets[1] = BigInt(toOffset);
  const copied = Number(libc.copy_file_range(from, ptr(offsets), to, ptr(offsets, 8), length, 0));
  return copied < 0 ? -errno(libc) : copied;
}

const POSIX_FADV_WILLNEED = 3;

/** Has the disk read a file into memory, without waiting for it. Only advice: what becomes of it does not matter. */
export function willNeed(fd: number): void {
  libc ??= open();
  libc.posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
}

/** File calls that can be under way at a time: a few for each of several disks, some of which may hang. */
export const FILE_THREADS = 16;

/**
 * Makes FILE_THREADS threads for this process's asynchronous file calls, unless the environment says another number. Bun
 * takes as many as there are processors: on two of them two calls that hang, to a disk that does not answer, would stop
 * every other disk as well. Bun reads the C environment when it makes the first of them, and process.env is not that: so a
 * compiled executable calls this first of all. Run from its sources Bun has read it before, to load them.
 */
export function setFileThreads(): void {
  libc ??= open();
  libc.setenv(Buffer.from("UV_THREADPOOL_SIZE\0"), Buffer.from(`${FILE_THREADS}\0`), 0);
}

function errno(symbols: ReturnType<typeof open>): number {
  return read.i32(must(symbols.__errno_location(), "errno"), 0);
}
