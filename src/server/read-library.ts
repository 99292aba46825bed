/**
 * The archives that an agent may see: those under its own name, in storages that let it; and all of them for the administrator's page. Nothing
 * of a path comes from who reads: an agent's name is the certificate's, and storage, agent, backup entry and archive have to be names. A disk
 * that hangs is waited for only so long, and not asked again before it has answered.
 */
import type { Clock } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { isName, NAME_RULE } from "#base/names.ts";
import type { StorageConfig } from "#config/types.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { ArchiveRow, ArchiveStock, InTurn, OpenedArchive } from "#restore/archive-stock.ts";
import { archiveTimeMs } from "#store/archive-names.ts";
import { agentAllowed } from "./agent-globs.ts";
import { ARCHIVES_LISTED_MAX, READ_DISK_MS } from "./limits.ts";
import { LentArchive } from "./lent-archive.ts";
import { ReadTurns } from "./read-turns.ts";
import type { StorageShelf } from "./storage-shelf.ts";

export interface ReadLibraryOptions {
  readonly clock: Clock;
  readonly storages: StorageShelf;
  readonly openStock: (config: StorageConfig) => ArchiveStock;
}

/** What an agent says that it wants to read. */
export interface ReadWish {
  readonly storage: string;
  readonly backup: string;
  readonly name: string;
  readonly indexOnly: boolean;
}

/** Who reads: an agent, or the administrator, to whom the rules for agents do not apply. */
const ADMINISTRATOR = undefined;
type Reader = string | typeof ADMINISTRATOR;

/** What is told of one storage. */
export type ReadListing = { readonly rows: readonly ArchiveRow[] } | { readonly failure: Failure };

interface Shelf {
  /** As it was when it was last asked for; the directory of a name does not change while the server runs. */
  config: StorageConfig;
  readonly stock: ArchiveStock;
  readonly turns: ReadTurns;
  /** All listings together wait for turns as one reader does. */
  readonly listings: ReadTurns;
  /** Calls that took too long and have not come back. */
  hanging: number;
}

export class ReadLibrary {
  readonly #options: ReadLibraryOptions;
  readonly #shelves = new Map<string, Shelf>();

  constructor(options: ReadLibraryOptions) {
    this.#options = options;
  }

  /** Storage by storage, and of each the newest first within a backup entry. Throws Failure E_STORAGE_UNKNOWN, E_STORAGE_DENIED. */
  async *list(
    agent: string,
    filter: { readonly storage?: string | undefined; readonly backup?: string | undefined; readonly facts: boolean },
  ): AsyncGenerator<ReadListing, void, undefined> {
    const { storages } = this.#options;
    for (const name of filter.storage === undefined ? storages.names() : [filter.storage]) {
      const { allowAgents } = storages.config(name);
      // What is not the agent's business is not told, unless it asks for it.
      if (filter.storage === undefined && !agentAllowed(allowAgents, agent)) continue;
      yield await this.#listing(name, agent, filter);
    }
  }

  /** Rejects with Failure: E_ARCHIVE_UNKNOWN, E_RESTORE_DENIED, E_ARCHIVE_READ, E_STORAGE_FAILED … */
  async open(agent: string, wish: ReadWish): Promise<LentArchive> {
    const shelf = await this.#shelf(wish.storage, agent);
    if (!shelf.config.allowAgentRestore) throw denied(wish.storage);
    return await this.#open(shelf, agent, wish);
  }

  /**
   * All archives of a storage, for the administrator: one agent's after another, each in its turn. Of each entry's newest one with what was
   * recorded of it. Rejects with Failure.
   */
  async listAll(storage: string): Promise<readonly ArchiveRow[]> {
    const shelf = await this.#shelf(storage, ADMINISTRATOR);
    const { stock } = shelf;
    const rows: ArchiveRow[] = [];
    const inTurn: InTurn = (work, late) =>
      shelf.listings.run(() => shelf.turns.run(() => this.#soon(shelf, work, late)));
    const agents = await shelf.turns.run(() => this.#soon(shelf, async () => (await stock.agents?.(storage)) ?? []));
    for (const agent of agents) {
      const listed = await stock.list({ storage, agent, facts: false }, inTurn);
      if (listed.failures[0] !== undefined) throw listed.failures[0];
      rows.push(...listed.rows.slice(0, Math.max(0, ARCHIVES_LISTED_MAX - rows.length)));
    }
    const newest = newestOfEntries(rows);
    const recorded = (await stock.recorded?.(storage, newest, inTurn)) ?? newest;
    const told = new Map(newest.map((row, at) => [row, recorded[at] ?? row]));
    return rows.map((row) => told.get(row) ?? row);
  }

  /** For the administrator. Rejects as `open` does. */
  async openOf(agent: string, wish: ReadWish): Promise<LentArchive> {
    return await this.#open(await this.#shelf(wish.storage, ADMINISTRATOR), agent, wish);
  }

  async #open(shelf: Shelf, agent: string, { storage, backup, name, indexOnly }: ReadWish): Promise<LentArchive> {
    for (const part of [agent, backup]) {
      if (!isName(part)) throw new Failure("E_NAME", `${JSON.stringify(part)} is not ${NAME_RULE}`);
    }
    const timeMs = archiveTimeMs(name);
    if (timeMs === undefined) throw new Failure("E_ARCHIVE_UNKNOWN", `${JSON.stringify(name)} is no archive's name`);
    const row: ArchiveRow = { storage, agent, backup, name, timeMs, ...NOTHING_KNOWN };
    const opening = (): Promise<Found> => (indexOnly ? openIndex(shelf.stock, row) : shelf.stock.open(row));
    const found = await this.#soon(shelf, opening, (late) => late.close());
    return new LentArchive({
      ...{ storage, name: `${agent}/${backup}/${name}`, ...found },
      inTurn: (work) => shelf.turns.run(() => this.#soon(shelf, work)),
    });
  }

  async #listing(
    name: string,
    agent: string,
    { backup, facts }: { readonly backup?: string | undefined; readonly facts: boolean },
  ): Promise<ReadListing> {
    try {
      const shelf = await this.#shelf(name, agent);
      // Thousands of files may take minutes: each call waits for its own turn, and a disk hangs when one of them does.
      const { rows, failures } = await shelf.stock.list({ storage: name, agent, backup, facts }, (work, late) =>
        shelf.listings.run(() => shelf.turns.run(() => this.#soon(shelf, work, late))),
      );
      // Where it has nothing there is nothing to refuse.
      const failure = failures[0] ?? (rows.length > 0 && !shelf.config.allowAgentRestore ? denied(name) : undefined);
      return failure === undefined ? { rows: rows.filter((row) => row.agent === agent) } : { failure };
    } catch (error) {
      return { failure: toFailure(error) };
    }
  }

  /** The storage, if the agent may use it and its directory can be used now. */
  async #shelf(name: string, agent: Reader): Promise<Shelf> {
    const { storages, clock, openStock } = this.#options;
    const config = storages.config(name);
    if (agent !== ADMINISTRATOR && !agentAllowed(config.allowAgents, agent)) {
      throw new Failure("E_STORAGE_DENIED", `storage ${name} does not allow agent ${agent}`);
    }
    let shelf = this.#shelves.get(name);
    if (shelf !== undefined) shelf.config = config;
    else {
      const busy = (): boolean => [...storages.opened()].some((storage) => storage.name === name && storage.inUse);
      const turns = (): ReadTurns => new ReadTurns(clock, busy);
      shelf = { config, stock: openStock(config), turns: turns(), listings: turns(), hanging: 0 };
      this.#shelves.set(name, shelf);
    }
    await this.#soon(shelf, () => storages.open(name));
    return shelf;
  }

  /** What the call gives, unless it takes too long: then `late` gets it whenever it comes. */
  async #soon<T>(shelf: Shelf, call: () => Promise<T>, late?: (value: T) => Promise<void>): Promise<T> {
    const { name } = shelf.config;
    if (shelf.hanging > 0) throw new Failure("E_STORAGE_FAILED", `storage ${name}: its disk does not answer`);
    const slow = Promise.withResolvers<never>();
    let isLate = false;
    const timer = this.#options.clock.after(READ_DISK_MS, () => {
      isLate = true;
      shelf.hanging += 1;
      const text = `storage ${name}: its disk did not answer within ${READ_DISK_MS / 1000} s`;
      slow.reject(new Failure("E_STORAGE_FAILED", text));
    });
    const settled = call().finally(() => {
      timer.cancel();
      if (isLate) shelf.hanging -= 1;
    });
    const unwanted = settled.then((value) => (isLate ? late?.(value) : undefined));
    // Whoever waits hears how it went; what comes too late is nobody's any more.
    unwanted.catch(() => undefined);
    return await Promise.race([settled, slow.promise]);
  }
}

function denied(storage: string): Failure {
  return new Failure("E_RESTORE_DENIED", `storage ${storage} refuses its agents to read: only the server restores`);
}

/** Rows come the newest first within a backup entry. */
function newestOfEntries(rows: readonly ArchiveRow[]): readonly ArchiveRow[] {
  const newest = new Map<string, ArchiveRow>();
  for (const row of rows) {
    const entry = `${row.agent}/${row.backup}`;
    if (!newest.has(entry)) newest.set(entry, row);
  }
  return [...newest.values()];
}

/** What of an archive was opened. */
type Found = Pick<OpenedArchive, "index" | "close"> & { readonly archive: ArchiveAccess | undefined };

async function openIndex(stock: ArchiveStock, row: ArchiveRow): Promise<Found> {
  const index = await stock.openIndex(row);
  return { archive: undefined, index, close: async () => index?.close() };
}

/** Nobody who opens an archive looks at these. */
const NOTHING_KNOWN = {
  ...{ archiveBytes: 0, entries: undefined, rawBytes: undefined, durationMs: undefined, problems: undefined },
  ...{ sha256: undefined, hasIndex: true, damage: undefined },
} as const;
