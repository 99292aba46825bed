/**
 * The storages of the configuration, open or not. One that cannot be opened is that storage's problem: the server runs
 * on, refuses sessions for it, and tries again when the next one asks.
 */
import { Failure, toFailure } from "#base/errors.ts";
import type { StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import type { Storage } from "#store/storage.ts";

export type StorageOpener = (config: StorageConfig) => Promise<Storage>;

export class StorageShelf {
  readonly #configs: ReadonlyMap<string, StorageConfig>;
  readonly #openStorage: StorageOpener;
  readonly #events: EventSink;
  readonly #open = new Map<string, Storage>();
  /** Openings under way: who comes meanwhile waits for the same one. */
  readonly #opening = new Map<string, Promise<Storage>>();
  #closed = false;

  constructor(configs: readonly StorageConfig[], openStorage: StorageOpener, events: EventSink) {
    this.#configs = new Map(configs.map((config) => [config.name, config]));
    this.#openStorage = openStorage;
    this.#events = events;
  }

  /** Opens all; resolves when each is open or has failed, which was told as an event. Never rejects. */
  async openAll(): Promise<void> {
    await Promise.allSettled([...this.#configs.keys()].map((name) => this.open(name)));
  }

  /** In the order of the configuration. */
  names(): string[] {
    return [...this.#configs.keys()];
  }

  /** Throws Failure E_STORAGE_UNKNOWN. */
  config(name: string): StorageConfig {
    const config = this.#configs.get(name);
    if (config !== undefined) return config;
    throw new Failure("E_STORAGE_UNKNOWN", `storage ${name} is not known here`, {
      hint: `Name a storage that server.yaml defines: ${[...this.#configs.keys()].join(", ")}.`,
    });
  }

  /** The open storage; opens it if it is not. Rejects with Failure E_STORAGE_UNKNOWN, E_STORAGE_FAILED. */
  open(name: string): Promise<Storage> {
    const storage = this.#open.get(name);
    if (storage !== undefined) return Promise.resolve(storage);
    if (this.#closed) return Promise.reject(new Failure("E_SHUTDOWN", "the server is stopping"));
    const pending = this.#opening.get(name) ?? this.#begin(this.config(name));
    this.#opening.set(name, pending);
    return pending;
  }

  /** Those that are open now. */
  opened(): Iterable<Storage> {
    return this.#open.values();
  }

  /** Gives every lock back. Sessions must be over. Never rejects: a lock also ends with the process. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#opening.values()]);
    const storages = [...this.#open.values()];
    this.#open.clear();
    for (const [index, result] of (await Promise.allSettled(storages.map((storage) => storage.close()))).entries()) {
      if (result.status === "fulfilled") continue;
      this.#events.emit({
        kind: "storage.close-failed",
        level: "warn",
        message: "a storage could not be closed cleanly",
        fields: { storage: storages[index]?.name, reason: String(toFailure(result.reason)) },
      });
    }
  }

  async #begin(config: StorageConfig): Promise<Storage> {
    try {
      const storage = await this.#openStorage(config);
      this.#open.set(config.name, storage);
      return storage;
    } catch (error) {
      const failure = toFailure(error);
      this.#events.emit({
        kind: "storage.failed",
        level: "error",
        message: `storage ${config.name} cannot be used: ${failure.message}`,
        fields: { storage: config.name, baseDir: config.baseDir, code: failure.code, hint: failure.hint },
      });
      throw unusable(config, failure);
    } finally {
      this.#opening.delete(config.name);
    }
  }
}

function unusable(config: StorageConfig, cause: Failure): Failure {
  return new Failure("E_STORAGE_FAILED", `storage ${config.name} cannot be used: ${cause.message}`, { cause });
}
