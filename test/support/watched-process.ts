/**
 * A program under test: what it prints is kept and can be waited for, and nothing waits without a deadline. It knows
 * nothing of nbackup.
 */
import { readFileSync } from "node:fs";

export interface WatchOptions {
  readonly cwd: string;
  readonly env?: Record<string, string>;
}

export interface ProcessEnd {
  /** 128 + number when a signal ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

const OUTPUT_SHOWN_CHARS = 4000;
/** Less than what a test gets, so that a test which waits in vain says for what. */
export const WAIT_MS = 60_000;

interface Waiter {
  readonly pattern: RegExp;
  readonly resolve: (match: RegExpExecArray) => void;
}

export class WatchedProcess {
  readonly #child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #name: string;
  readonly #startedAtMs = performance.now();
  readonly #end: Promise<ProcessEnd>;
  #stdout = "";
  #stderr = "";
  #waiters: Waiter[] = [];

  constructor(command: readonly string[], options: WatchOptions) {
    this.#name = command.join(" ");
    this.#child = Bun.spawn([...command], {
      cwd: options.cwd,
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", ...options.env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#end = this.#follow();
  }

  get pid(): number {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Both outputs, for a pattern that may be in either. */
  get output(): string {
    return `${this.#stdout}\n${this.#stderr}`;
  }

  kill(signal: "SIGTERM" | "SIGINT" | "SIGKILL" | "SIGHUP" | "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
  }

  /** Resolves when the output matches, at once when it does already; rejects when the program ends or time is up first. */
  async printed(pattern: RegExp, withinMs = WAIT_MS): Promise<RegExpExecArray> {
    const there = pattern.exec(this.output);
    if (there !== null) return there;
    const { promise, resolve } = Promise.withResolvers<RegExpExecArray>();
    this.#waiters.push({ pattern, resolve });
    const ended = this.#end.then(() => {
      const match = pattern.exec(this.output);
      if (match === null) throw new Error(`${this.#name} ended before it printed ${pattern}:\n${this.#tail()}`);
      return match;
    });
    return await this.#within(Promise.race([promise, ended]), withinMs, `did not print ${pattern}`);
  }

  /** Resolves when the program has ended; kills it and rejects when time is up first. */
  async end(withinMs = WAIT_MS): Promise<ProcessEnd> {
    return await this.#within(this.#end, withinMs, "did not end");
  }

  /** Asks it to end, insists when it does not. */
  async stop(withinMs = 20_000): Promise<ProcessEnd> {
    if (this.running) this.kill("SIGTERM");
    return await this.end(withinMs);
  }

  /** A line of /proc/PID/status in bytes, for instance VmRSS or VmHWM. */
  memoryBytes(field: "VmRSS" | "VmHWM" | "RssAnon"): number {
    const text = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
    if (kilobytes === undefined) throw new Error(`${this.#name} has no ${field}`);
    return Number(kilobytes) * 1024;
  }

  async #follow(): Promise<ProcessEnd> {
    const [exitCode] = await Promise.all([
      this.#child.exited,
      this.#collect(this.#child.stdout, (text) => {
        this.#stdout += text;
      }),
      this.#collect(this.#child.stderr, (text) => {
        this.#stderr += text;
      }),
    ]);
    return { exitCode, stdout: this.#stdout, stderr: this.#stderr, durationMs: performance.now() - this.#startedAtMs };
  }

  async #collect(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      add(decoder.decode(bytes, { stream: true }));
      this.#look();
    }
  }

  #look(): void {
    this.#waiters = this.#waiters.filter(({ pattern, resolve }) => {
      const match = pattern.exec(this.output);
      if (match !== null) resolve(match);
      return match === null;
    });
  }

  async #within<T>(wanted: Promise<T>, limitMs: number, what: string): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(new Error(`${this.#name} ${what} within ${limitMs} ms:\n${this.#tail()}`));
      if (this.running) this.kill("SIGKILL");
    }, limitMs);
    try {
      return await Promise.race([wanted, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #tail(): string {
    return this.output.slice(-OUTPUT_SHOWN_CHARS);
  }
}
