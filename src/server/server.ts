/**
 * The server put together: storages, admission, sessions, the door, and how it all stops. Connections come from outside
 * through `accept`; sockets, signals and processes are src/bin's.
 */
import { type Clock, sleep, type Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { type Random, uuid } from "#base/random.ts";
import type { ServerConfig } from "#config/types.ts";
import type { Connection } from "#net/connection.ts";
import type { EventSink } from "#observe/events.ts";
import { Admin } from "./admin.ts";
import { AdmissionDesk } from "./admission-desk.ts";
import { LINGER_MS, SHUTDOWN_RETRY_MS } from "./limits.ts";
import { Overview } from "./overview.ts";
import { Reception } from "./reception.ts";
import { Registry } from "./registry.ts";
import { archivesRemoved } from "./session-ends.ts";
import { SessionDoor } from "./session-door.ts";
import { type BufferView, ServerMetrics } from "./server-metrics.ts";
import { everyMinute } from "./stats-line.ts";
import { StorageHealth } from "./storage-health.ts";
import { type StorageOpener, StorageShelf } from "./storage-shelf.ts";
import { StorageWatch } from "./storage-watch.ts";

export interface ServerOptions {
  readonly config: Pick<ServerConfig, "server" | "storages">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly events: EventSink;
  /** `nbackup-server 0.1.0` */
  readonly software: string;
  readonly openStorage: StorageOpener;
  /** Which disk a base directory lies on: storages that give the same text share their free space. */
  readonly diskKey: (baseDir: string) => Promise<string>;
  /** Where the caller counts too; of its own unless told. */
  readonly metrics?: ServerMetrics;
  /** The chunk buffer that sessions share, if there is one. */
  readonly chunkBuffer?: BufferView;
}

/** What runs now, for logs and status. */
export interface ServerView {
  readonly sessionCount: number;
  readonly waitingCount: number;
  readonly connectionCount: number;
}

export class Server {
  /** UUID of this start. */
  readonly boot: string;
  /** For whoever may steer the server. */
  readonly admin: Admin;
  readonly #options: ServerOptions;
  readonly #registry = new Registry();
  readonly #storages: StorageShelf;
  readonly #health: StorageHealth;
  readonly #watch: StorageWatch;
  readonly #metrics: ServerMetrics;
  readonly #overview: Overview;
  #statsTimer: Timer | undefined;
  readonly #desk: AdmissionDesk;
  readonly #reception: Reception;
  /** Ends the wait for running sessions. */
  readonly #hurry = new AbortController();
  #stopping: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    const { clock, random, log, software, config } = options;
    this.#options = options;
    this.boot = uuid(random);
    this.#metrics = options.metrics ?? new ServerMetrics();
    this.#health = new StorageHealth(clock, options.events);
    const events: EventSink = {
      emit: (event) => {
        this.#metrics.note(event);
        this.#health.emit(event);
        if (event.end !== undefined && event.end.removed.length > 0) {
          this.#health.emit(archivesRemoved("rotation", event.end, event.end.removed));
        }
      },
    };
    this.#storages = new StorageShelf(config.storages, options.openStorage, events);
    this.#watch = new StorageWatch({ storages: config.storages, shelf: this.#storages, health: this.#health, clock });
    this.#desk = new AdmissionDesk({
      limits: { sessionsMax: config.server.sessionsMax, memoryBytesMax: config.server.memoryBytesMax },
      storages: this.#storages,
      registry: this.#registry,
      clock,
      random,
      events,
      diskKey: options.diskKey,
      session: {
        ...{ clock, events, boot: this.boot, software, metrics: this.#metrics },
        idleTimeoutMs: config.server.sessionIdleTimeoutMs,
      },
    });
    const door = { registry: this.#registry, storages: this.#storages, events, boot: this.boot, software };
    this.#reception = new Reception({
      clock,
      log,
      events,
      boot: this.boot,
      software,
      desk: this.#desk,
      sessions: new SessionDoor(door),
    });
    this.#overview = new Overview({
      ...{ config, clock, boot: this.boot, software, registry: this.#registry, desk: this.#desk },
      ...{ health: this.#health, metrics: this.#metrics, chunkBuffer: options.chunkBuffer },
      connectionCount: () => this.#reception.connectionCount,
      stopping: () => this.#stopping !== undefined,
    });
    this.#metrics.watch(this.#overview);
    this.admin = new Admin({
      ...{ overview: this.#overview, registry: this.#registry, storages: this.#storages, metrics: this.#metrics },
      events,
    });
  }

  /** Opens the storages; one that cannot be opened is an event. Never rejects. Connections may come afterwards. */
  async start(): Promise<void> {
    await this.#storages.openAll();
    if (this.#stopping !== undefined) return;
    const { clock, log } = this.#options;
    this.#watch.start();
    this.#statsTimer = everyMinute(clock, log, this.#metrics, this.#overview);
  }

  /** A connection whose handshake is done; must be called in the turn in which it came. */
  accept(connection: Connection): void {
    this.#reception.accept(connection);
  }

  view(): ServerView {
    return {
      sessionCount: this.#registry.sessionCount,
      waitingCount: this.#desk.waitingCount,
      connectionCount: this.#reception.connectionCount,
    };
  }

  /**
   * Stops: nobody is admitted any more, running sessions may finish (and their connections come back) for
   * shutdown_timeout, then they end with E_SHUTDOWN and leave nothing behind. Resolves when all is closed; never rejects.
   * Called again it does not wait any longer.
   */
  shutdown(): Promise<void> {
    if (this.#stopping !== undefined) this.#hurry.abort();
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#watch.stop();
    this.#statsTimer?.cancel();
    const failure = new Failure("E_SHUTDOWN", "the server is stopping", { retryAfterMs: SHUTDOWN_RETRY_MS });
    this.#desk.close(failure);
    await this.#waitFor(this.#desk.idle(), this.#options.config.server.shutdownTimeoutMs);
    await Promise.all([...this.#registry.sessions()].map((session) => session.end(failure)));
    // Those that were just being opened are refused, and have cleaned up when the desk is idle.
    await this.#desk.idle();
    await this.#waitFor(this.#reception.close(failure), LINGER_MS);
    this.#reception.destroy();
    await this.#storages.close();
  }

  /** Until it is done, the time has passed, or somebody is in a hurry. */
  async #waitFor(done: Promise<void>, limitMs: number): Promise<void> {
    if (this.#hurry.signal.aborted) return;
    const timeUp = new AbortController();
    const stop = (): void => timeUp.abort();
    this.#hurry.signal.addEventListener("abort", stop, { once: true });
    void done.then(stop);
    await sleep(this.#options.clock, limitMs, timeUp.signal);
    this.#hurry.signal.removeEventListener("abort", stop);
  }
}
