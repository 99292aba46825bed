/**
 * Keeps the state of each entry in a file of its own, so that a damaged one costs no other entry anything. Every change reads
 * the file first: `--once` may have written it meanwhile (of two that write at the same moment the later one stands). Nothing
 * here rejects: a disk that refuses costs the memory of the next start, and no backup. A file that cannot be read for now is not
 * taken for none: changes go on from what was known of it, or wait until it is read.
 */
import { errnoName } from "#base/errors.ts";
import type { LogFields, Logger } from "#base/log.ts";
import { MiB } from "#base/units.ts";
import { emptyState, type EntryState, parseState } from "./entry-state.ts";

export interface StateDisk {
  /** The whole file, undefined when there is none. Rejects with what the system says. Of one that has more than `bytesMax` no bytes. */
  read(path: string, bytesMax: number): Promise<Uint8Array | undefined>;
  /** The file has these bytes now, or after a crash those of before; nothing in between. */
  replace(path: string, bytes: Uint8Array): Promise<void>;
}

/** A state has some kilobytes. */
const STATE_BYTES_MAX = MiB;
/** Of an entry whose file could never be read; each overwrites most of what the one before said. */
const WAITING_CHANGES_MAX = 100;

type Change = (state: EntryState) => EntryState;

export class StateStore {
  readonly #disk: StateDisk;
  readonly #directory: string;
  readonly #log: Logger;
  /** By entry, the change under way. */
  readonly #changes = new Map<string, Promise<void>>();
  /** What the disk did not take. */
  readonly #unsaved = new Map<string, EntryState>();
  /** As last read or written. */
  readonly #known = new Map<string, EntryState>();
  /** Changes of a file that could never be read. */
  readonly #waiting = new Map<string, readonly Change[]>();
  /** Entries whose file could not be read or understood, which was told. */
  readonly #troubled = new Set<string>();
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
    const { state } = await this.#read(backup);
    return state;
  }

  /** Resolves when the change is on the disk, or could not be put there. */
  update(backup: string, change: Change): Promise<void> {
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

  async #update(backup: string, change: Change): Promise<void> {
    const read = await this.#read(backup);
    if ("error" in read) {
      // What is built from nothing must not take the place of a file that may be whole.
      this.#waiting.set(backup, [...(this.#waiting.get(backup) ?? []), change].slice(-WAITING_CHANGES_MAX));
      this.#refused(read.error);
      return;
    }
    const state = change(read.state);
    this.#waiting.delete(backup);
    this.#known.set(backup, state);
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

  /** With `error`: the file cannot be read, and nothing is known of it but the changes that wait. */
  async #read(
    backup: string,
  ): Promise<{ readonly state: EntryState } | { readonly state: EntryState; error: unknown }> {
    const unsaved = this.#unsaved.get(backup);
    if (unsaved !== undefined) return { state: unsaved };
    const changed = (state: EntryState): EntryState =>
      (this.#waiting.get(backup) ?? []).reduce((before, change) => change(before), state);
    const path = this.#path(backup);
    try {
      const bytes = await this.#disk.read(path, STATE_BYTES_MAX);
      const parsed = bytes === undefined ? emptyState(backup) : parseState(jsonOf(bytes), backup);
      if (parsed === undefined)
        this.#trouble("the state of an entry is not understood and begins anew", { backup, path });
      else this.#troubled.delete(backup);
      // What is damaged stays so, and begins anew.
      const state = parsed ?? emptyState(backup);
      this.#known.set(backup, state);
      return { state: changed(state) };
    } catch (error) {
      const known = this.#known.get(backup);
      const reason = errnoName(error) ?? String(error);
      this.#trouble("the state of an entry cannot be read for now", { backup, path, reason });
      return known === undefined ? { state: changed(emptyState(backup)), error } : { state: changed(known) };
    }
  }

  /** Said once until the file is well again: it is looked at whenever somebody wants to know how the entry is. */
  #trouble(message: string, fields: LogFields & { readonly backup: string }): void {
    if (this.#troubled.has(fields.backup)) return;
    this.#troubled.add(fields.backup);
    this.#log.warn(message, fields);
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

/** undefined: it is none. */
function jsonOf(bytes: Uint8Array): unknown {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    return value;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
