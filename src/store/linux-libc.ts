/**
 * The system calls that the store needs and node:fs lacks, by FFI on the C library. They run on the thread that calls
 * them. Opened on first use, so that importing this costs nothing.
 */
import { dlopen, read } from "bun:ffi";
import { must } from "#base/assert.ts";

function open() {
  return dlopen("libc.so.6", {
    flock: { args: ["i32", "i32"], returns: "i32" },
    syncfs: { args: ["i32"], returns: "i32" },
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

function errno(symbols: ReturnType<typeof open>): number {
  return read.i32(must(symbols.__errno_location(), "errno"), 0);
}
