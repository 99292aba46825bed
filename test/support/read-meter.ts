/** How many bytes a process has read from files, as the kernel counts them: proof that no source is read twice. */
import { readFileSync } from "node:fs";
import { errnoName } from "#base/errors.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const LOOK_EVERY_MS = 20;

/** What the process has read through file descriptors so far (sockets are not counted); looked at until it is gone. */
export class ReadMeter {
  bytes = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(process: WatchedProcess) {
    this.#timer = setInterval(() => this.#look(process.pid), LOOK_EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(pid: number): void {
    try {
      this.bytes = Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1] ?? this.bytes);
    } catch (error) {
      if (errnoName(error) !== "ENOENT" && errnoName(error) !== "ESRCH") throw error;
      this.stop();
    }
  }
}
