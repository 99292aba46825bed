/** Runs other programs for the scripts: to the end with their output kept, or on this terminal. No shells. */
import { inProject, ROOT } from "./project.ts";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Kills the program after this long; none when absent. */
  readonly timeoutMs?: number;
  /** Ends the program by SIGTERM. */
  readonly signal?: AbortSignal;
}

export interface RunResult {
  /** 128 + number when a signal ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a person needs to see, without a stack trace. */
export class Sentence extends Error {
  override readonly name = "Sentence";
}

function environment(extra: Record<string, string> | undefined): Record<string, string | undefined> {
  return { ...process.env, ...extra };
}

/** The ways to end a program early, in the form Bun.spawn takes them. */
function limits(options: RunOptions): { timeout?: number; killSignal?: NodeJS.Signals; signal?: AbortSignal } {
  if (options.timeoutMs !== undefined) return { timeout: options.timeoutMs, killSignal: "SIGKILL" };
  return options.signal === undefined ? {} : { signal: options.signal };
}

/** Runs a program to its end and keeps what it printed. A failure is a result, not an error. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd ?? ROOT,
    env: environment(options.env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    ...limits(options),
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

/** Runs a program to its end on this terminal and returns its exit code. */
export async function runVisibly(command: readonly string[], options: RunOptions = {}): Promise<number> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd ?? ROOT,
    env: environment(options.env),
    stdio: ["ignore", "inherit", "inherit"],
    ...limits(options),
  });
  return await child.exited;
}

/** Runs a program that must succeed and returns its standard output; its last lines are the error otherwise. */
export async function mustRun(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(command, options);
  if (result.exitCode === 0) return result.stdout;
  const tail = `${result.stdout}\n${result.stderr}`.trim().split("\n").slice(-15).join("\n");
  throw new Sentence(`${command.join(" ")} ended with ${result.exitCode}:\n${tail}`);
}

/** This Bun, and a program of node_modules run by it. */
export const BUN = process.execPath;

export function nodeModulesBin(name: string): string {
  return inProject("node_modules", ".bin", name);
}

/** Runs a script's main function; a Sentence is printed alone, anything else with its stack. Sets the exit code. */
export async function runMain(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error instanceof Sentence ? error.message : error);
    process.exitCode = 1;
  }
}
