/** A pipe of the operating system: a thread that writes to descriptors on one end, a stream on the other. node:fs has no call for it. */
import { read } from "node:fs";
import { close as closeFd } from "node:fs";
import { dlopen } from "bun:ffi";
import { promisify } from "node:util";
import { Failure } from "#base/errors.ts";

const O_CLOEXEC = 0o2000000;
const readFd = promisify(read);
const closeAsync = promisify(closeFd);

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

  /** Once; nobody writes any more. */
  async closeWriting(): Promise<void> {
    if (!this.#isWriting) return;
    this.#isWriting = false;
    await closeAsync(this.writeFd);
  }

  /** Whoever still writes hears that nobody reads. Not while a read is under way. */
  async closeReading(): Promise<void> {
    if (!this.#isReading) return;
    this.#isReading = false;
    await closeAsync(this.#readFd);
  }
}
