/**
 * Looks at every storage once a minute: whether what was opened is still there, may be written and has room, and whether
 * one that could not be opened can be now; then what could not be removed before is removed. Without that a look writes
 * nothing, so that idle disks may sleep. What is found goes to storage-conditions.ts.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { StorageConditions } from "./storage-conditions.ts";
import type { StorageShelf } from "./storage-shelf.ts";

const LOOK_PERIOD_MS = 60_000;

export interface StorageWatchOptions {
  readonly shelf: StorageShelf;
  readonly conditions: StorageConditions;
  readonly clock: Clock;
}

export class StorageWatch {
  readonly #options: StorageWatchOptions;
  /** Looks that have not come back: a network disk may hang for hours. */
  readonly #underWay = new Set<string>();
  #timer: Timer | undefined;

  constructor(options: StorageWatchOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, shelf } = this.#options;
    this.#timer = every(clock, LOOK_PERIOD_MS, () => {
      for (const name of shelf.names()) void this.look(name);
    });
    // Those that could not be opened have just been tried; one that is still being opened is told of when it takes too long.
    for (const { config, failure } of shelf.states()) if (failure === undefined) void this.look(config.name);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Never rejects. */
  async look(name: string): Promise<void> {
    const { shelf, conditions } = this.#options;
    if (this.#underWay.has(name)) {
      conditions.failed(name, new Failure("E_TIMEOUT", `the disk has not answered for ${LOOK_PERIOD_MS / 1000} s`));
      return;
    }
    this.#underWay.add(name);
    try {
      // The shelf tells by itself when it cannot.
      const storage = await shelf.open(name).catch(() => undefined);
      if (storage === undefined) return;
      await storage.writable();
      await storage.tidy();
      const space = await storage.space();
      if (this.#timer !== undefined) conditions.works(name, space);
    } catch (error) {
      if (this.#timer !== undefined) conditions.failed(name, toFailure(error));
    } finally {
      this.#underWay.delete(name);
    }
  }
}
