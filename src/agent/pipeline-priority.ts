/**
 * Makes the calling thread as urgent as the configuration says: `resources.nice` and `resources.io_class`. On Linux both belong to the
 * thread, so the main thread, which answers the server, stays as it is.
 */
import { dlopen, FFIType } from "bun:ffi";
import { must } from "#base/assert.ts";
import type { IoClass } from "#config/types.ts";
import type { ThreadPriority } from "./pipeline-messages.ts";

const PRIO_PROCESS = 0;
const IOPRIO_WHO_PROCESS = 1;
const IOPRIO_CLASS_SHIFT = 13;
/** The thread that calls. */
const THIS_THREAD = 0;
const IOPRIO_SET: Readonly<Record<string, number>> = { x64: 251, arm64: 30 };
const IO_CLASSES: Readonly<Record<IoClass["kind"], number>> = { none: 0, realtime: 1, "best-effort": 2, idle: 3 };

/** The number that ioprio_set takes. */
export function ioPriorityNumber(ioClass: IoClass): number {
  const priority = "priority" in ioClass ? ioClass.priority : 0;
  return (IO_CLASSES[ioClass.kind] << IOPRIO_CLASS_SHIFT) | priority;
}

/** True when the system took both. A refusal (a negative nice without the right to it) leaves the thread as it was. */
export function applyPriority(priority: ThreadPriority): boolean {
  const libc = dlopen("libc.so.6", {
    setpriority: { args: [FFIType.i32, FFIType.u32, FFIType.i32], returns: FFIType.i32 },
    syscall: { args: [FFIType.u32, FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i64_fast },
  });
  try {
    const { setpriority, syscall } = libc.symbols;
    let taken = true;
    if (priority.nice !== 0) taken = setpriority(PRIO_PROCESS, THIS_THREAD, priority.nice) === 0;
    if (priority.ioClass.kind !== "none") {
      const number = must(IOPRIO_SET[process.arch], "number of ioprio_set");
      taken = syscall(number, IOPRIO_WHO_PROCESS, THIS_THREAD, ioPriorityNumber(priority.ioClass)) === 0 && taken;
    }
    return taken;
  } finally {
    libc.close();
  }
}
