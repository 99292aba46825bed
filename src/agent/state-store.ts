/**
 * Keeps the state of each entry in a file of its own, so that a damaged one costs no other entry anything. Every change reads
 * the file first: `--once` may have written it meanwhile (of two that write at the same moment the later one stands). Nothing
 * here rejects: a disk that refuses costs the memory of the next start, and no backup.
 */
import { errnoName } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { MiB } from "#base/units.ts";
import { emptyState, type EntryState, parseState } from "./entry-state.ts";

export interface StateDisk {
  /** The whole file, undefined when there is none. Rejects with what the system says, and when there are more than `bytesMax`. */
  read(path: string, bytesMax: number): Promise<Uint8Array | undefined>;
  /** The file has these bytes now, or after a crash those of before; nothing in between. */
  replace(path: string, bytes: Uint8Array): Promise<void>;
}

/** A state has some kilobytes. */
const STATE_BYTES_MAX = MiB;

export class StateStore {
  readonly #disk: StateDisk;
  readonly #directory: string;
  readonly #log: Logger;
  /** By entry, the change under way. */
  readonly #changes = new Map<string, Promise<void>>();
  /** What the disk did not take. */
  readonly #unsaved = new Map<string, EntryState>();
  #failing = false;

  /** `directory` must exist. */
  constructor(disk: StateDisk, directory: string, log: Logger) {
    this.#disk = disk;
    this.#directory = directory;
    this.#log = log;
  }

  /** The disk refused the last change. */
  get failing(): boolean {
    return this.#failing;
  }

  async read(backup: string): Promise<EntryState> {
    await this.#changes.get(backup);
    return await this.#read(backup);
  }

  /** Resolves when the change is on the disk, or could not be put there. */
  update(backup: string, change: (state: EntryState) => EntryState): Promise<void> {
    const before = this.#changes.get(backup) ?? Promise.resolve();
    const done = before.then(() => this.#update(backup, change));
    this.#changes.set(backup, done);
    return done.finally(() => {
      if (this.#changes.get(backup) === done) this.#changes.delete(backup);
    });
  }

  /** Resolves when nothing is being written. */
  async settled(): Promise<void> {
    await Promise.all(this.#changes.values());
  }

  async #update(backup: string, change: (state: EntryState) => EntryState): Promise<void> {
    const state = change(await this.#read(backup));
    try {
      await this.#disk.replace(this.#path(backup), Buffer.from(`${JSON.stringify(state)}\n`));
      this.#unsaved.delete(backup);
      if (this.#failing) this.#log.info("the state of entries is written again", { directory: this.#directory });
      this.#failing = false;
    } catch (error) {
      this.#unsaved.set(backup, state);
      this.#refused(error);
    }
  }

  async #read(backup: string): Promise<EntryState> {
    const unsaved = this.#unsaved.get(backup);
    if (unsaved !== undefined) return unsaved;
    const path = this.#path(backup);
    try {
      const bytes = await this.#disk.read(path, STATE_BYTES_MAX);
      if (bytes === undefined) return emptyState(backup);
      const state = parseState(JSON.parse(Buffer.from(bytes).toString("utf8")), backup);
      if (state !== undefined) return state;
      this.#log.warn("the state of an entry is not understood and begins anew", { backup, path });
    } catch (error) {
      const reason = errnoName(error) ?? String(error);
      this.#log.warn("the state of an entry cannot be read and begins anew", { backup, path, reason });
    }
    return emptyState(backup);
  }

  /** Said once until the disk takes something again. */
  #refused(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    const reason = errnoName(error) ?? String(error);
    this.#log.error("the state of entries cannot be written: a restart would not know what was run", {
      directory: this.#directory,
      reason,
    });
  }

  /** Names of entries are names of files: config/values.ts. */
  #path(backup: string): string {
    return `${this.#directory}/${backup}.json`;
  }
}
