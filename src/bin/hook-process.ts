/**
 * Runs a hook's command with /bin/sh in a process group of its own, which is ended as a whole when time is up, when it is told to
 * stop, and when this process ends.
 */
import type { HookCommand, HookOutcome, RunCommand } from "#agent/hooks.ts";
import { sleep } from "#base/clock.ts";
import { errnoName } from "#base/errors.ts";
import { systemClock } from "./system.ts";

/** From SIGTERM to SIGKILL. */
const GRACE_MS = 5_000;
/** Between two looks whether a group that was ended is gone. */
const LOOK_MS = 50;
/** After the shell has ended: for output of what it left behind. */
const DRAIN_MS = 500;
/** Of a line; the rest of a longer one is dropped. */
const LINE_BYTES_MAX = 4_096;

/** Groups that are alive; a process that exits takes them along. */
const groups = new Set<number>();
process.on("exit", () => {
  for (const group of groups) signalGroup(group, "SIGKILL");
});

/** Of the agent's environment all but what systemd tells the agent itself. */
const KEPT_BACK = /^(?:NOTIFY_SOCKET|WATCHDOG_USEC|WATCHDOG_PID|LISTEN_.*|NBACKUP_.*)$/;

export const runHookProcess: RunCommand = async (hook) => {
  if (hook.signal.aborted) return { kind: "stopped" };
  const kept = Object.entries(process.env).filter(([name]) => !KEPT_BACK.test(name));
  try {
    const child = Bun.spawn(["/bin/sh", "-c", hook.command], {
      cwd: "/",
      env: { ...Object.fromEntries(kept), ...hook.env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      // A session and group of its own.
      detached: true,
    });
    return await follow(child, hook);
  } catch (error) {
    return { kind: "unstartable", reason: errnoName(error) ?? String(error) };
  }
};

async function follow(child: Bun.Subprocess<"ignore", "pipe", "pipe">, hook: HookCommand): Promise<HookOutcome> {
  const group = child.pid;
  groups.add(group);
  let ended: "timeout" | "stopped" | undefined;
  const end = (why: "timeout" | "stopped"): void => {
    if (ended !== undefined) return;
    ended = why;
    signalGroup(group, "SIGTERM");
    kill = systemClock.after(GRACE_MS, () => signalGroup(group, "SIGKILL"));
  };
  let kill = systemClock.after(hook.timeoutMs, () => end("timeout"));
  const timeout = kill;
  const stop = (): void => end("stopped");
  hook.signal.addEventListener("abort", stop, { once: true });
  const output = [collect(child.stdout, hook.line), collect(child.stderr, hook.line)];
  try {
    await child.exited;
    // The shell ends at once, what it started may still tidy up; `kill` ends its time.
    if (ended !== undefined) await untilGone(group);
    // What it started in the background may hold its output open for ever, and is not waited for.
    await within(DRAIN_MS, Promise.all(output.map(({ done }) => done)));
    if (ended !== undefined) return { kind: ended };
    if (child.signalCode !== null) return { kind: "killed", signal: String(child.signalCode) };
    return { kind: "exited", code: child.exitCode ?? 1 };
  } finally {
    for (const { stop: close } of output) close();
    timeout.cancel();
    kill.cancel();
    hook.signal.removeEventListener("abort", stop);
    // Of a group that was ended nothing stays; what a hook left behind on purpose may live on.
    if (ended !== undefined) signalGroup(group, "SIGKILL");
    groups.delete(group);
  }
}

/** Gives each line to `line`, as far as it is kept. */
function collect(
  stream: ReadableStream<Uint8Array>,
  line: (text: string) => void,
): { readonly done: Promise<void>; readonly stop: () => void } {
  const reader = stream.getReader();
  let rest: Buffer = Buffer.alloc(0);
  const tell = (bytes: Uint8Array): void => line(Buffer.from(bytes).toString("utf8").replace(/\r$/, ""));
  const take = (bytes: Uint8Array): void => {
    let from = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
      tell(kept(rest, bytes.subarray(from, at)));
      rest = Buffer.alloc(0);
      from = at + 1;
    }
    rest = kept(rest, bytes.subarray(from));
  };
  const read = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      take(value);
    }
    if (rest.length > 0) tell(rest);
  };
  const done = read().catch(() => undefined);
  return { done, stop: () => void reader.cancel().catch(() => undefined) };
}

function kept(rest: Buffer, more: Uint8Array): Buffer {
  const room = LINE_BYTES_MAX - rest.length;
  return room <= 0 ? rest : Buffer.concat([rest, more.subarray(0, room)]);
}

async function within(limitMs: number, wanted: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = systemClock.after(limitMs, late.resolve);
  await Promise.race([wanted, late.promise]);
  timer.cancel();
}

/** Resolves when the group is no more; for zombies that nobody waits for, not later than they were killed. */
async function untilGone(group: number): Promise<void> {
  const endMs = systemClock.now() + GRACE_MS;
  while (exists(group) && systemClock.now() < endMs) await sleep(systemClock, LOOK_MS);
}

function exists(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return false;
  }
}

function signalGroup(group: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    // Nothing of it is left, or it has become somebody else's process: both are no reason to fail a backup.
    if (errnoName(error) === undefined) throw error;
  }
}
