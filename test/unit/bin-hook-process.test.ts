/** Hooks as real processes: output line by line, and nothing left of them when time is up or the agent is told to end. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { HookOutcome } from "#agent/hooks.ts";
import { runHookProcess } from "#bin/hook-process.ts";

interface Ran {
  readonly outcome: HookOutcome;
  readonly lines: readonly string[];
}

async function run(
  command: string,
  options: {
    readonly env?: Record<string, string>;
    readonly timeoutMs?: number;
    readonly onLine?: (line: string, stop: () => void) => void;
  } = {},
): Promise<Ran> {
  const stop = new AbortController();
  const lines: string[] = [];
  const outcome = await runHookProcess({
    command,
    env: options.env ?? {},
    timeoutMs: options.timeoutMs ?? 60_000,
    signal: stop.signal,
    line: (line) => {
      lines.push(line);
      options.onLine?.(line, () => stop.abort());
    },
  });
  return { outcome, lines };
}

/** False when no process has that number, or it is a zombie that nobody has waited for yet. */
function alive(pid: string | undefined): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid ?? ""}/stat`, "utf8"));
  } catch {
    return false;
  }
}

describe("a hook", () => {
  test("gets its facts as environment, and says what it prints line by line", async () => {
    process.env["NBACKUP_SECRET_OF_BEFORE"] = "1";
    const { outcome, lines } = await run('echo "$NBACKUP_BACKUP"; echo two >&2; printf three; env | grep -c NBACKUP_', {
      env: { NBACKUP_BACKUP: "home" },
    });
    delete process.env["NBACKUP_SECRET_OF_BEFORE"];
    expect(outcome).toEqual({ kind: "exited", code: 0 });
    expect([...lines].sort()).toEqual(["home", "three1", "two"]);
  });

  test("that fails is known by its exit code or signal", async () => {
    expect((await run("exit 7")).outcome).toEqual({ kind: "exited", code: 7 });
    expect((await run("kill -9 $$")).outcome).toEqual({ kind: "killed", signal: "SIGKILL" });
    expect((await run("no-such-program-here")).outcome).toEqual({ kind: "exited", code: 127 });
  });

  test("that takes too long is ended with all that it started, even what ignores SIGTERM", async () => {
    const { outcome, lines } = await run("trap '' TERM; sleep 600 & echo $!; echo $$; while :; do sleep 600; done", {
      timeoutMs: 300,
    });
    expect(outcome).toEqual({ kind: "timeout" });
    expect(lines).toHaveLength(2);
    expect(lines.map(alive)).toEqual([false, false]);
  }, 30_000);

  test("that is ended leaves what it started the time to tidy up", async () => {
    const inner = "trap 'sleep 1; echo tidied; exit' TERM; echo ready; while :; do sleep 0.1; done";
    const { outcome, lines } = await run(`sh -c "${inner}" & wait`, {
      onLine: (line, stop) => (line === "ready" ? stop() : undefined),
    });
    expect(outcome).toEqual({ kind: "stopped" });
    // A shell may say which of its own commands the signal ended.
    expect(lines.filter((line) => line !== "Terminated")).toEqual(["ready", "tidied"]);
  }, 30_000);

  test("ends with the agent that is told to end", async () => {
    const { outcome, lines } = await run("echo $$; sleep 600", { onLine: (_line, stop) => stop() });
    expect(outcome).toEqual({ kind: "stopped" });
    expect(alive(lines[0])).toBe(false);
    const stopped = AbortSignal.abort();
    const hook = { command: "true", env: {}, timeoutMs: 1000, signal: stopped, line: () => undefined };
    expect(await runHookProcess(hook)).toEqual({ kind: "stopped" });
  }, 30_000);

  test("may leave a program behind that holds its output, and is not waited for", async () => {
    const { outcome, lines } = await run("echo $$; exec 3>&1; sleep 600 & echo $!");
    expect(outcome).toEqual({ kind: "exited", code: 0 });
    expect(alive(lines[1])).toBe(true);
    process.kill(Number(lines[1]), "SIGKILL");
  });

  test("that prints a line without end costs the memory of a line", async () => {
    const { lines } = await run("head -c 10000000 /dev/zero | tr '\\0' x; echo; echo end");
    expect(lines.map((line) => line.length)).toEqual([4096, 3]);
  }, 30_000);
});
