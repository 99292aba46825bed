/**
 * An archive of a storage as its verification reads it: one read at a time, and while sessions run with as long a rest after each as it
 * took. So of a disk that is busy a verification never has more than half, whatever else the disk does.
 */
import { type Clock, sleep } from "#base/clock.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { DiskFile } from "#store/disk.ts";

/** A read that took longer than that stood behind something else, which gains nothing by waiting. */
const REST_MS_MAX = 1_000;

export interface VerifyAccessOptions {
  readonly file: DiskFile;
  readonly size: number;
  readonly clock: Clock;
  /** Sessions run. */
  readonly busy: () => boolean;
  readonly signal: AbortSignal;
}

export class VerifyAccess implements ArchiveAccess {
  readonly size: number;
  readonly #options: VerifyAccessOptions;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: VerifyAccessOptions) {
    this.size = options.size;
    this.#options = options;
  }

  read(into: Uint8Array, offset: number): Promise<number> {
    const done = this.#last.then(() => this.#read(into, offset));
    // The next one begins whatever became of this one.
    this.#last = done.then(
      (result) => result.rest,
      () => undefined,
    );
    return done.then(({ length }) => length);
  }

  /** The file is closed by who opened it. */
  async close(): Promise<void> {
    await this.#last;
  }

  async #read(into: Uint8Array, offset: number): Promise<{ readonly length: number; readonly rest: Promise<void> }> {
    const { file, clock, busy, signal } = this.#options;
    const startedAtMs = clock.now();
    const length = await file.read(into, offset);
    const tookMs = Math.min(REST_MS_MAX, clock.now() - startedAtMs);
    return { length, rest: busy() && tookMs > 0 ? sleep(clock, tookMs, signal) : Promise.resolve() };
  }
}
