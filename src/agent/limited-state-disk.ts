/**
 * A state disk that is waited for so long and no longer: one that hangs must cost neither backups nor the daemon's stop, which
 * systemd ends after a minute. While a call hangs nothing more is asked of it, so that the threads that make calls do not
 * all hang there, and so that what comes late writes over nothing newer.
 */
import type { Clock } from "#base/clock.ts";
import type { StateDisk } from "./state-store.ts";

/** Longer than a disk takes that spins up; a stop has also hooks to wait for. */
export const STATE_CALL_MS_MAX = 10_000;

export class LimitedStateDisk implements StateDisk {
  readonly #disk: StateDisk;
  readonly #clock: Clock;
  /** Calls that were given up and have not come back. */
  #hangingCount = 0;

  constructor(disk: StateDisk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
  }

  read(path: string, bytesMax: number): Promise<Uint8Array | undefined> {
    return this.#within(() => this.#disk.read(path, bytesMax));
  }

  replace(path: string, bytes: Uint8Array): Promise<void> {
    return this.#within(() => this.#disk.replace(path, bytes));
  }

  /** Rejects with an error like the system's, ETIMEDOUT, when the call does not come back. */
  #within<T>(call: () => Promise<T>): Promise<T> {
    if (this.#hangingCount > 0) return Promise.reject(hangs());
    return new Promise((resolve, reject) => {
      let late = false;
      const timer = this.#clock.after(STATE_CALL_MS_MAX, () => {
        late = true;
        this.#hangingCount += 1;
        reject(hangs());
      });
      const back = (): void => {
        timer.cancel();
        if (late) this.#hangingCount -= 1;
      };
      call().then(
        (value) => {
          back();
          resolve(value);
        },
        (error: unknown) => {
          back();
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }
}

function hangs(): Error {
  const text = `the disk of the state directory has not answered for ${STATE_CALL_MS_MAX / 1000} s`;
  return Object.assign(new Error(text), { code: "ETIMEDOUT" });
}
