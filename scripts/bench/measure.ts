/**
 * Runs processes and says what each cost: CPU seconds from the kernel's accounting (its own children included) and the
 * highest resident memory. Does not know what the processes do.
 */
import { dlopen } from "bun:ffi";
import { closeSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Sentence } from "#scripts/lib/run.ts";

export interface Usage {
  readonly name: string;
  /** User and system time together. */
  readonly cpuSeconds: number;
  /** The most that was resident at any moment. */
  readonly peakBytes: number;
}

export interface Measured {
  /** Resolves when it has ended; rejects when it ended with a code it should not. */
  readonly done: Promise<Usage>;
}

export interface MeasuredOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** File descriptors of pipes; this process's ends are closed once the child has them. */
  readonly stdin?: number;
  readonly stdout?: number;
  readonly exitCodes?: readonly number[];
}

const O_CLOEXEC = 0o2000000;
const libc = dlopen("libc.so.6", { pipe2: { args: ["buffer", "i32"], returns: "i32" } });

/** A kernel pipe, as a shell would make it: data between two children never passes through this process. */
export function makePipe(): { readonly read: number; readonly write: number } {
  const ends = new Int32Array(2);
  if (libc.symbols.pipe2(ends, O_CLOEXEC) !== 0) throw new Sentence("A pipe could not be made.");
  return { read: ends[0] ?? -1, write: ends[1] ?? -1 };
}

/**
 * Starts a program under GNU time, which tells its peak memory. The kernel's own number for a child of this process
 * would begin with this process's size, because it was forked from it.
 */
export async function startMeasured(
  name: string,
  command: readonly string[],
  options: MeasuredOptions = {},
): Promise<Measured> {
  const directory = await mkdtemp(path.join(tmpdir(), "nbackup-bench-"));
  const note = path.join(directory, "peak");
  const errors = path.join(directory, "stderr");
  const child = Bun.spawn(["time", "-q", "-o", note, "-f", "%M", ...command], {
    stdin: options.stdin ?? "ignore",
    stdout: options.stdout ?? "ignore",
    stderr: Bun.file(errors),
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  for (const fd of [options.stdin, options.stdout]) if (fd !== undefined) closeSync(fd);
  const finish = async (): Promise<Usage> => {
    try {
      const code = await child.exited;
      if (!(options.exitCodes ?? [0]).includes(code)) {
        const said = (await Bun.file(errors).text()).trim().split("\n").slice(-5).join("\n");
        throw new Sentence(`${name} ended with ${code}: ${command.join(" ")}\n${said}`);
      }
      const kilobytes = Number((await Bun.file(note).text()).trim().split("\n").at(-1));
      const cpuMicros = Number(child.resourceUsage()?.cpuTime.total ?? Number.NaN);
      return { name, cpuSeconds: cpuMicros / 1e6, peakBytes: kilobytes * 1024 };
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
  return { done: finish() };
}

/** The highest resident memory so far of a process that still runs. */
export function peakOfRunning(pid: number): number {
  return statusBytes(pid, "VmHWM");
}

/** What a running process holds now. */
export function residentOfRunning(pid: number): number {
  return statusBytes(pid, "VmRSS");
}

function statusBytes(pid: number, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) * 1024;
}

/** CPU seconds so far of a running process, in steps of 10 ms. */
export function cpuOfRunning(pid: number): number {
  const afterName = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  // Fields 14 and 15 of proc(5), the first here being field 3.
  return (Number(afterName[11]) + Number(afterName[12])) / 100;
}

/** Nanoseconds on a processor so far of the threads that a process has now: exact where steps of 10 ms are too coarse. */
export function cpuNanosecondsOfThreads(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  // The first of three numbers (Documentation/scheduler/sched-stats.rst).
  const spent = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  return spent.reduce((sum, nanoseconds) => sum + Number(nanoseconds), 0);
}

/** Whether somebody listens on a loopback port, seen without connecting: socat takes one connection only. */
export function isListening(port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = readFileSync("/proc/net/tcp", "utf8").split("\n");
  return lines.some((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    return local.endsWith(wanted) && state === "0A";
  });
}
