/**
 * Gives back what a backup needed and an idle daemon does not: garbage at once instead of some day, and the mapped pages of the
 * executable, most of which only run while something is backed up. Those stay in the kernel's page cache, from where the next
 * call fetches them, for as long as the machine has no better use for the memory.
 */
import { dlopen, FFIType } from "bun:ffi";
import { readFileSync, realpathSync } from "node:fs";
import { errnoName } from "#base/errors.ts";

const MADV_DONTNEED = 4;

/** Opened once: every opening would stay. */
let libc: ReturnType<typeof openLibc> | undefined;

/** Tens of milliseconds: for a process that has nothing to do. */
export function releaseMemory(): void {
  Bun.gc(true);
  libc ??= openLibc();
  for (const { start, end } of codeMappings()) libc.madvise(start, end - start, MADV_DONTNEED);
}

function openLibc() {
  return dlopen("libc.so.6", {
    madvise: { args: [FFIType.u64, FFIType.u64, FFIType.i32], returns: FFIType.i32 },
  }).symbols;
}

/** Code of this executable: mapped privately, never written, so that the file always has what is dropped. */
function codeMappings(): { readonly start: bigint; readonly end: bigint }[] {
  try {
    const executable = realpathSync("/proc/self/exe");
    return readFileSync("/proc/self/maps", "utf8")
      .split("\n")
      .flatMap((line) => {
        const match = /^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ \S+ +(.*)$/.exec(line);
        if (match === null || match[3] !== executable) return [];
        return [{ start: BigInt(`0x${match[1] ?? "0"}`), end: BigInt(`0x${match[2] ?? "0"}`) }];
      });
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return []; // No /proc here: only the garbage goes.
  }
}
