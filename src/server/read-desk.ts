/** Where agents come that read their archives: how many there may be, who opened what, and their end when the server stops. */
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { formatSize } from "#base/units.ts";
import type { StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import type { ArchiveStock } from "#restore/archive-stock.ts";
import type { LentArchive } from "./lent-archive.ts";
import {
  AGENT_READ_CONNECTIONS_MAX,
  AGENT_READ_OPEN_MAX,
  LIMIT_RETRY_MS,
  READ_CONNECTIONS_MAX,
  READ_OPEN_TOTAL_MAX,
} from "./limits.ts";
import type { Link, LinkOwner } from "./link.ts";
import { ReadConnection } from "./read-connection.ts";
import { ReadLibrary } from "./read-library.ts";
import type { ServerMetrics } from "./server-metrics.ts";
import type { StorageShelf } from "./storage-shelf.ts";

export interface ReadDeskOptions {
  readonly clock: Clock;
  readonly events: EventSink;
  readonly storages: StorageShelf;
  readonly metrics: ServerMetrics;
  readonly openStock: (config: StorageConfig) => ArchiveStock;
}

/** A connection, and what is told of it at its end. */
interface Reader {
  readonly connection: ReadConnection;
  readonly agent: string;
  readonly remote: string;
  readonly archives: Set<string>;
  /** Archives that are open. */
  open: number;
  bytes: number;
}

export class ReadDesk {
  readonly #options: ReadDeskOptions;
  readonly #library: ReadLibrary;
  readonly #readers = new Set<Reader>();
  #closed: Failure | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(options: ReadDeskOptions) {
    this.#options = options;
    this.#library = new ReadLibrary(options);
  }

  /** For the administrator's page: it takes the same turns at the disks. */
  get library(): ReadLibrary {
    return this.#library;
  }

  get connectionCount(): number {
    return this.#readers.size;
  }

  /** Who answers on the connection from now on. Throws Failure E_LIMIT, or why nobody reads any more. */
  receive(link: Link, agent: string): LinkOwner {
    if (this.#closed !== undefined) throw this.#closed;
    this.#check(agent);
    const { clock, metrics } = this.#options;
    const connection = new ReadConnection({
      ...{ link, agent, clock, library: this.#library },
      mayOpen: () => this.#mayOpen(agent),
      opened: (archive) => this.#opened(reader, archive),
      returned: () => {
        reader.open -= 1;
      },
      sent: (bytes) => {
        reader.bytes += bytes;
        metrics.bytesRead(bytes);
      },
      closed: () => this.#left(reader),
    });
    const reader: Reader = { connection, agent, remote: link.remoteAddress, archives: new Set(), open: 0, bytes: 0 };
    this.#readers.add(reader);
    return connection;
  }

  /** Nobody reads any more. Resolves when nothing is open, which a disk that hangs can put off. Never rejects. */
  close(failure: Failure): Promise<void> {
    this.#closed = failure;
    if (this.#readers.size === 0) return Promise.resolve();
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    for (const { connection } of [...this.#readers]) connection.refuse(failure);
    return empty;
  }

  #check(agent: string): void {
    const own = [...this.#readers].filter((reader) => reader.agent === agent).length;
    const limits = [
      [this.#readers.size, READ_CONNECTIONS_MAX, "agents read archives"],
      [own, AGENT_READ_CONNECTIONS_MAX, `connections of agent ${agent} read archives`],
    ] as const;
    for (const [count, countMax, what] of limits) {
      if (count < countMax) continue;
      throw new Failure("E_LIMIT", `${count} ${what} already`, {
        hint: "Wait until one of them is done.",
        retryAfterMs: LIMIT_RETRY_MS,
      });
    }
  }

  #mayOpen(agent: string): void {
    const readers = [...this.#readers];
    const limits = [
      [openOf(readers), READ_OPEN_TOTAL_MAX, ""],
      [openOf(readers.filter((reader) => reader.agent === agent)), AGENT_READ_OPEN_MAX, ` by agent ${agent}`],
    ] as const;
    for (const [count, countMax, whose] of limits) {
      if (count < countMax) continue;
      throw new Failure("E_LIMIT", `${count} archives are open already${whose}`, {
        hint: "Wait until other commands are done.",
        retryAfterMs: LIMIT_RETRY_MS,
      });
    }
  }

  /** Told once of each archive; of an agent that goes through all of them once a minute. */
  #opened(reader: Reader, { name, storage }: LentArchive): void {
    const { agent, remote, archives } = reader;
    reader.open += 1;
    const isNew = !archives.has(name);
    archives.add(name);
    if (!isNew) return;
    this.#options.events.emit({
      kind: "archive.read",
      level: "info",
      message: `agent ${agent} reads ${name}`,
      fields: { agent, storage, archive: name, remote },
      repeatKey: agent,
    });
  }

  #left(reader: Reader): void {
    const { agent, remote, archives, bytes } = reader;
    this.#readers.delete(reader);
    if (archives.size > 0) {
      const what = archives.size === 1 ? "an archive" : `${archives.size} archives`;
      this.#options.events.emit({
        kind: "archive.read-done",
        level: "info",
        message: `agent ${agent} has read ${formatSize(bytes)} of ${what}`,
        fields: { agent, remote, archives: archives.size, bytes },
        repeatKey: agent,
      });
    }
    if (this.#readers.size === 0) this.#onEmpty?.();
  }
}

function openOf(readers: readonly Reader[]): number {
  return readers.reduce((sum, { open }) => sum + open, 0);
}
