/**
 * Standard output for much text: who writes faster than it is read waits, and learns when nobody reads any more. The writes themselves are done
 * off the main thread, so that a reader who takes his time (`… | less`) holds up nothing else.
 */
import { write } from "node:fs";
import { errnoName, Failure } from "#base/errors.ts";
import { STDOUT_FD, type TextOutput } from "#commands/command-context.ts";

/** Of a pipe that does not block by itself: how long until it is tried again. */
export const FULL_WAIT_MS = 5;

export class StandardOutput implements TextOutput {
  readonly #signal: AbortSignal;

  /** An aborted signal ends a wait for the reader with E_INTERRUPTED. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async write(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length;) at += await this.#interruptible(writeSome(bytes.subarray(at)));
  }

  #interruptible(writing: Promise<number>): Promise<number> {
    const signal = this.#signal;
    return new Promise((resolve, reject) => {
      const interrupt = (): void => reject(new Failure("E_INTERRUPTED", "interrupted"));
      if (signal.aborted) interrupt();
      signal.addEventListener("abort", interrupt, { once: true });
      writing.then(resolve, reject).finally(() => signal.removeEventListener("abort", interrupt));
    });
  }
}

async function writeSome(bytes: Uint8Array): Promise<number> {
  try {
    return await writeOnce(bytes);
  } catch (error) {
    if (errnoName(error) !== "EAGAIN") throw unwritten(error);
    await new Promise((resolve) => setTimeout(resolve, FULL_WAIT_MS));
    return 0;
  }
}

/** Why standard output was not written, as Failure E_OUTPUT_CLOSED or E_TARGET. */
export function unwritten(cause: unknown): Failure {
  const errno = errnoName(cause) ?? String(cause);
  if (errno === "EPIPE") return new Failure("E_OUTPUT_CLOSED", "nobody reads the output", { cause });
  return new Failure("E_TARGET", `the output cannot be written: ${errno}`, { cause });
}

function writeOnce(bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    write(STDOUT_FD, bytes, (error, written) => (error === null ? resolve(written) : reject(error)));
  });
}
