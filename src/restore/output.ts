/** Writes to a descriptor from a thread of its own: waits while a pipe is full, and says when nobody reads it any more. */
import { errnoText } from "#archive/linux-libc.ts";
import { Failure } from "#base/errors.ts";
import { EINTR, type WriteCalls } from "./write-calls.ts";

const EAGAIN = 11;
const EPIPE = 32;
/** Of a pipe that does not block by itself. */
const FULL_WAIT_MS = 1;

export class Output {
  readonly #w: WriteCalls;
  readonly #fd: number;
  readonly #never = new Int32Array(new SharedArrayBuffer(4));

  constructor(w: WriteCalls, fd: number) {
    this.#w = w;
    this.#fd = fd;
  }

  write(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const rest = bytes.subarray(at);
      const written = this.#w.write(this.#fd, rest, rest.length);
      if (written >= 0) {
        at += written;
        continue;
      }
      const errno = this.#w.c.errno();
      if (errno === EAGAIN) Atomics.wait(this.#never, 0, 0, FULL_WAIT_MS);
      else if (errno === EPIPE) throw new Failure("E_OUTPUT_CLOSED", "nobody reads the output");
      else if (errno !== EINTR) throw new Failure("E_TARGET", `the output cannot be written: ${errnoText(errno)}`);
    }
  }

  zeros(count: number): void {
    for (let left = count; left > 0; left -= ZEROS.length) this.write(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
  }
}

const ZEROS = new Uint8Array(64 * 1024);
