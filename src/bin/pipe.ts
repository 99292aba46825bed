/**
 * A pipe of the operating system: a thread that writes to descriptors on one end, a stream on the other. node:fs has no call for it. A read
 * that waits holds one of the process's threads for file calls (FILE_THREADS), until the writing end is closed. So closing needs none of
 * them: where pipes hold them all it would wait for ever for what it is to end.
 */
import { closeSync, read } from "node:fs";
import { dlopen } from "bun:ffi";
import { promisify } from "node:util";
import { Failure } from "#base/errors.ts";

const O_CLOEXEC = 0o2000000;
const readFd = promisify(read);

let libc: ReturnType<typeof open> | undefined;

function open() {
  return dlopen("libc.so.6", { pipe2: { args: ["buffer", "i32"], returns: "i32" } }).symbols;
}

export class Pipe {
  readonly writeFd: number;
  readonly #readFd: number;
  #isWriting = true;
  #isReading = true;

  /** Throws Failure E_INTERNAL where there are no descriptors left. */
  constructor() {
    libc ??= open();
    const fds = new Int32Array(2);
    if (libc.pipe2(fds, O_CLOEXEC) !== 0) throw new Failure("E_INTERNAL", "no pipe could be made");
    [this.#readFd = -1, this.writeFd = -1] = fds;
  }

  /** Fills the beginning of `into`; 0 when the writing end is closed and all was read. One call at a time. */
  async read(into: Uint8Array): Promise<number> {
    const { bytesRead } = await readFd(this.#readFd, into, 0, into.length, null);
    return bytesRead;
  }

  /** Nobody writes any more; again it does nothing. */
  closeWriting(): void {
    if (!this.#isWriting) return;
    this.#isWriting = false;
    closeSync(this.writeFd);
  }

  /** Whoever still writes hears that nobody reads. Not while a read is under way. */
  closeReading(): void {
    if (!this.#isReading) return;
    this.#isReading = false;
    closeSync(this.#readFd);
  }
}
