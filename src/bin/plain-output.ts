/**
 * Standard output for what a command has to say at its end, and what becomes of a program whose standard streams cannot be written: nobody
 * reads the pipe, or the disk under a file is full. Nothing that was done is undone or cut short by that; the exit status tells it.
 */
import { writeSync } from "node:fs";
import { errnoName, type Failure, toFailure } from "#base/errors.ts";
import { failureText } from "#cli/failure-text.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { STDOUT_FD } from "#commands/command-context.ts";
import { FULL_WAIT_MS, unwritten } from "./standard-output.ts";

export class PlainOutput {
  #failure: Failure | undefined;

  /** Waits until the text is out. Never throws: what comes after a text that was lost is lost too. */
  write(text: string): void {
    if (this.#failure !== undefined) return;
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length;) at += writeSome(bytes.subarray(at));
    } catch (error) {
      this.#failure = toFailure(error);
    }
  }

  /** The exit status of a program that would have exited with `code`; tells, to `stderr`, why a text was lost. */
  exitCode(code: number, stderr: (text: string) => void): number {
    if (this.#failure === undefined) return code;
    if (this.#failure.code !== "E_OUTPUT_CLOSED") stderr(failureText(this.#failure));
    return code === EXIT.done ? this.#failure.exitCode : code;
  }
}

/** Throws Failure E_OUTPUT_CLOSED or E_TARGET. */
function writeSome(bytes: Uint8Array): number {
  try {
    return writeSync(STDOUT_FD, bytes);
  } catch (error) {
    if (errnoName(error) !== "EAGAIN") throw unwritten(error);
    Bun.sleepSync(FULL_WAIT_MS);
    return 0;
  }
}

/** From now on a message that standard error does not take is lost, and no more than that. */
export function outliveStandardError(): void {
  process.stderr.on("error", () => undefined);
}
