/**
 * The storages of the configuration, open or not. One that cannot be opened, or is gone, is that storage's problem: the
 * server runs on, refuses sessions for it, and tries again when somebody asks for it.
 */
import { type Clock, settled } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import type { Storage } from "#store/storage.ts";
import { STORAGE_RETRY_MS, STORAGES_STOP_MS, UNREAD_SESSION_MS } from "./limits.ts";

/** `established`: it was open before, so that an empty directory in its place is not taken for a new storage. */
export type StorageOpener = (config: StorageConfig, established: boolean) => Promise<Storage>;

export interface StorageShelfOptions {
  readonly configs: readonly StorageConfig[];
  readonly open: StorageOpener;
  /** Has an open storage go by changed rules. */
  readonly configure: (storage: Storage, config: StorageConfig) => void;
  /** It left the configuration: resolves when nobody but sessions uses it any more. Never rejects. */
  readonly leave: (name: string) => Promise<void>;
  /** Takes over what the storage has left of an earlier start, before anybody else may use it. Never rejects. */
  readonly adopt: (storage: Storage, config: StorageConfig, anew: boolean) => Promise<void>;
  readonly known: StorageMemory;
  readonly clock: Clock;
  readonly events: EventSink;
}

/** Which base directories have been storages of this server, at this or an earlier start. */
export interface StorageMemory {
  has(baseDir: string): boolean;
  /** Never rejects. */
  add(baseDir: string): Promise<void>;
}

/** Why a storage cannot be used; undefined while it can, as far as anyone knows. */
export interface StorageState {
  readonly config: StorageConfig;
  readonly failure: Failure | undefined;
}

export class StorageShelf {
  readonly #options: StorageShelfOptions;
  #configs: ReadonlyMap<string, StorageConfig>;
  readonly #open = new Map<string, Storage>();
  /** Taken out of the configuration, and closed when their sessions are over. */
  readonly #retired = new Map<string, StorageConfig>();
  /** By name, those that are just being closed, with when that is over. */
  readonly #closing = new Map<string, { readonly config: StorageConfig; readonly over: Promise<void> }>();
  /** Openings under way: who comes meanwhile waits for the same one. */
  readonly #opening = new Map<string, Promise<Storage>>();
  /** By name, of those that could not be used when they were last tried. */
  readonly #failures = new Map<string, Failure>();
  #retriedAtMs = Number.NEGATIVE_INFINITY;
  /** By name, when it was last tried to read sessions that could not be read when the storage was opened. */
  readonly #readAgainAtMs = new Map<string, number>();
  /** Nothing is opened any more. */
  #closed = false;
  /** What was open was closed: what is opened only now has to close by itself. */
  #left = false;

  constructor(options: StorageShelfOptions) {
    this.#options = options;
    this.#configs = new Map(options.configs.map((config) => [config.name, config]));
  }

  /** Opens all; resolves when each is open or has failed, which was told as an event. Never rejects. */
  async openAll(): Promise<void> {
    await Promise.allSettled([...this.#configs.keys()].map((name) => this.open(name)));
  }

  /**
   * These count from now on: what is new is opened, what changed has its new rules, and what is gone takes no new session and is
   * closed when its last one is over. The directory of a name must be the same. Never rejects.
   */
  async reload(configs: readonly StorageConfig[]): Promise<void> {
    const before = this.#configs;
    this.#configs = new Map(configs.map((config) => [config.name, config]));
    for (const [name, config] of before) if (!this.#configs.has(name)) this.#retired.set(name, config);
    for (const config of configs) {
      const former = this.#retired.get(config.name);
      // Of another directory the name is free only when its sessions are over.
      if (former !== undefined && former.baseDir !== config.baseDir) continue;
      this.#retired.delete(config.name);
      const storage = this.#open.get(config.name);
      if (storage !== undefined) this.#options.configure(storage, config);
    }
    await this.closeRetired();
    await Promise.allSettled(configs.map(({ name }) => (this.#open.has(name) ? undefined : this.open(name))));
  }

  /** A session is over: storages that wait for that are closed, and their locks are free. Never rejects. */
  async closeRetired(): Promise<void> {
    // While one is being closed another may be taken back, or be closed by another call.
    for (const [name, config] of this.#retired) {
      const storage = this.#open.get(name);
      if (this.#opening.has(name) || storage?.inUse === true) continue;
      this.#retired.delete(name);
      this.#failures.delete(name);
      if (storage === undefined) {
        this.#tellClosed(name);
        continue;
      }
      this.#open.delete(name);
      const over = this.#retire(storage).then(() => this.#released(config));
      this.#closing.set(name, { config, over });
      if (!(await settled(this.#options.clock, over, 2 * STORAGES_STOP_MS))) this.#notClosed(name, silent());
    }
  }

  /** It is closed, however long that took: who waits for its name or its directory is next. */
  #released(config: StorageConfig): void {
    this.#closing.delete(config.name);
    this.#tellClosed(config.name);
    for (const { name, baseDir } of this.#configs.values()) {
      if (name !== config.name && baseDir !== config.baseDir) continue;
      if (this.#failures.has(name)) void this.open(name).catch(() => undefined);
    }
  }

  #tellClosed(name: string): void {
    this.#options.events.emit({
      kind: "storage.closed",
      level: "info",
      message: `storage ${name} is closed: the configuration has it no more`,
      fields: { storage: name },
    });
  }

  /** A disk that hangs keeps its descriptors, and nothing else. Never rejects. */
  async #retire(storage: Storage): Promise<void> {
    storage.retire();
    await settled(this.#options.clock, this.#options.leave(storage.name), STORAGES_STOP_MS);
    await this.#closeOne(storage);
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
      hint: `Name a storage that the server has: ${[...this.#configs.keys()].join(", ")}. One that was added to server.yaml counts when the server has read it again (SIGHUP).`,
    });
  }

  /** Of all storages, as they were when they were last used. */
  states(): StorageState[] {
    return [...this.#configs.values()].map((config) => ({ config, failure: this.#failures.get(config.name) }));
  }

  /**
   * The open storage; opens it if it is not, and anew when its directory is no longer the one that was opened. Rejects with
   * Failure E_STORAGE_UNKNOWN, E_STORAGE_FAILED, E_SHUTDOWN.
   */
  async open(name: string): Promise<Storage> {
    const config = this.config(name);
    if (this.#closed) throw new Failure("E_SHUTDOWN", "the server is stopping");
    const pending = this.#opening.get(name) ?? this.#begin(config);
    this.#opening.set(name, pending);
    try {
      return await pending;
    } finally {
      if (this.#opening.get(name) === pending) this.#opening.delete(name);
      if (this.#retired.size > 0) void this.closeRetired();
    }
  }

  /**
   * Resolves when the storage was opened, if it can be: sessions that an earlier start left in it hold their entries then, which
   * must be so before anybody else is given one. Rejects as `open` does.
   */
  async ready(name: string): Promise<void> {
    if (!this.#open.has(name)) await this.open(name);
  }

  /** Those that are open now. */
  opened(): Iterable<Storage> {
    return this.#open.values();
  }

  /**
   * Whether the session may lie in a storage that cannot be opened, or does lie in one and cannot be read; both are tried
   * again, unless that was done a moment ago. Resolves with why nobody can say that it is gone; undefined when it is. Never
   * rejects.
   */
  async mayHold(session: string): Promise<Failure | undefined> {
    const unknown = (name: string): boolean => !this.#open.has(name) || this.#unread(name, session);
    const missing = [...this.#configs.keys()].filter(unknown);
    const nowMs = this.#options.clock.now();
    if (missing.length > 0 && nowMs - this.#retriedAtMs >= STORAGE_RETRY_MS) {
      this.#retriedAtMs = nowMs;
      await Promise.allSettled(missing.map((name) => this.open(name)));
    }
    const still = missing.find(unknown);
    if (still === undefined) return undefined;
    const text = this.#open.has(still) ? `session ${session} cannot be read` : "it is just being opened";
    return this.#failures.get(still) ?? new Failure("E_STORAGE_FAILED", `storage ${still}: ${text}`);
  }

  /**
   * Tries storages that are not open, unless that was done a moment ago, and waits for those that are being opened; not for a disk that
   * hangs. Never rejects.
   */
  async lookAgain(): Promise<void> {
    const { clock } = this.#options;
    const missing = [...this.#configs.keys()].filter((name) => !this.#open.has(name));
    const isDue = missing.length > 0 && clock.now() - this.#retriedAtMs >= STORAGE_RETRY_MS;
    if (isDue) this.#retriedAtMs = clock.now();
    const opening = missing.map((name) => (isDue ? this.open(name) : this.#opening.get(name)));
    await settled(clock, Promise.allSettled(opening), STORAGES_STOP_MS);
  }

  /** For so long that an agent had better begin anew than wait any longer, it is not. */
  #unread(name: string, session: string): boolean {
    const sinceMs = this.#open.get(name)?.unreadSince(session);
    return sinceMs !== undefined && this.#options.clock.now() - sinceMs < UNREAD_SESSION_MS;
  }

  /**
   * Gives every lock back, but for those of storages whose disk hangs: in opening, in closing, or, by name, in what their
   * sessions do. All other sessions must be over. Never rejects: a lock also ends with the process.
   */
  async close(hanging: ReadonlySet<string>): Promise<void> {
    this.#closed = true;
    const { clock } = this.#options;
    await settled(clock, Promise.allSettled([...this.#opening.values()]), STORAGES_STOP_MS);
    this.#left = true;
    for (const name of this.#opening.keys()) this.#notClosed(name, silent());
    const storages = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(
      storages.map(async (storage) => {
        // Its calls are still under way: another server must not have it before this process is gone.
        const closed = !hanging.has(storage.name) && (await settled(clock, this.#closeOne(storage), STORAGES_STOP_MS));
        if (!closed) this.#notClosed(storage.name, silent());
      }),
    );
  }

  async #begin(config: StorageConfig): Promise<Storage> {
    try {
      await this.#vacated(config);
      const storage = (await this.#stillOpen(config)) ?? (await this.#reopen(config));
      if (this.#failures.delete(config.name)) this.#recovered(config);
      return storage;
    } catch (error) {
      const failure = toFailure(error);
      if (!this.#closed) this.#failed(config, failure);
      throw unusable(config, failure);
    }
  }

  /** Waits a while for the name and the directory, if one that left the configuration has them; rejects with who has. */
  async #vacated({ name, baseDir }: StorageConfig): Promise<void> {
    for (const { config, over } of [...this.#closing.values()]) {
      if (config.name !== name && config.baseDir !== baseDir) continue;
      if (await settled(this.#options.clock, over, STORAGES_STOP_MS)) continue;
      const text = `storage ${config.name} in ${config.baseDir} is still being closed: its disk does not answer`;
      throw new Failure("E_STORAGE_FAILED", text);
    }
    for (const retired of this.#retired.values()) {
      if (retired.name !== name && retired.baseDir !== baseDir) continue;
      const text = `sessions still run in ${retired.baseDir} as storage ${retired.name}, which left the configuration`;
      throw new Failure("E_STORAGE_FAILED", text, { hint: "It is free when they are over." });
    }
  }

  /** The storage as it is, if its directory is still the one that was opened. */
  async #stillOpen(config: StorageConfig): Promise<Storage | undefined> {
    const storage = this.#open.get(config.name);
    if (storage === undefined) return undefined;
    if (await storage.present()) {
      await this.#readAgain(storage, config);
      return storage;
    }
    if (storage.inUse) {
      throw new Failure("E_STORAGE_FAILED", `${config.baseDir} is no longer the directory that sessions write into`, {
        hint: "Mount its disk again; the sessions that were running end by themselves.",
      });
    }
    this.#open.delete(config.name);
    await this.#closeOne(storage);
    return undefined;
  }

  /** What could not be read when it was opened may be readable now. */
  async #readAgain(storage: Storage, config: StorageConfig): Promise<void> {
    const nowMs = this.#options.clock.now();
    if (nowMs - (this.#readAgainAtMs.get(config.name) ?? Number.NEGATIVE_INFINITY) < STORAGE_RETRY_MS) return;
    this.#readAgainAtMs.set(config.name, nowMs);
    if (await storage.readAgain()) await this.#options.adopt(storage, config, false);
  }

  async #reopen(config: StorageConfig): Promise<Storage> {
    const { open, adopt, known } = this.#options;
    const storage = await open(config, known.has(config.baseDir));
    await known.add(config.baseDir);
    await adopt(storage, config, true);
    if (this.#left) {
      await this.#closeOne(storage);
      throw new Failure("E_SHUTDOWN", "the server is stopping");
    }
    this.#open.set(config.name, storage);
    // It may have been changed while it was opened.
    const current = this.#configs.get(config.name);
    if (current !== undefined && current !== config) this.#options.configure(storage, current);
    return storage;
  }

  async #closeOne(storage: Storage): Promise<void> {
    try {
      await storage.close();
    } catch (error) {
      this.#notClosed(storage.name, toFailure(error));
    }
  }

  #notClosed(name: string, reason: Failure): void {
    this.#options.events.emit({
      kind: "storage.close-failed",
      level: "warn",
      message: `storage ${name} could not be closed cleanly: ${reason.message}`,
      fields: { storage: name, reason: String(reason) },
    });
  }

  /** Told once, and again only when the reason is another one. */
  #failed(config: StorageConfig, failure: Failure): void {
    const before = this.#failures.get(config.name);
    this.#failures.set(config.name, failure);
    if (before?.code === failure.code && before.message === failure.message) return;
    this.#options.events.emit({
      kind: "storage.failed",
      level: "error",
      message: `storage ${config.name} cannot be used: ${failure.message}`,
      fields: { storage: config.name, baseDir: config.baseDir, code: failure.code, hint: failure.hint },
    });
  }

  #recovered(config: StorageConfig): void {
    this.#options.events.emit({
      kind: "storage.recovered",
      level: "info",
      message: `storage ${config.name} can be used again`,
      fields: { storage: config.name, baseDir: config.baseDir },
    });
  }
}

function silent(): Failure {
  return new Failure("E_TIMEOUT", "its disk does not answer");
}

function unusable(config: StorageConfig, cause: Failure): Failure {
  return new Failure("E_STORAGE_FAILED", `storage ${config.name} cannot be used: ${cause.message}`, {
    cause,
    hint: cause.hint,
  });
}
