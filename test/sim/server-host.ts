/**
 * The server's machine: its disk, and one process after another on it. It starts, is stopped, is killed, loses power; when
 * it comes up again is the caller's choice. The code that runs in it is the real one.
 */
import type { LogFields, Logger } from "#base/log.ts";
import { MiB } from "#base/units.ts";
import type { StorageConfig } from "#config/types.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { Server } from "#server/server.ts";
import { StorageStock } from "#server/storage-stock.ts";
import { ChunkBuffer } from "#store/chunk-buffer.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { SessionEvents } from "#store/session-types.ts";
import { EndedSessions } from "#store/ended-sessions.ts";
import { KnownStorages } from "#store/known-storages.ts";
import { Storage } from "#store/storage.ts";
import type { StorageOptions } from "#store/storage-options.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import type { DiskEvent } from "#test/support/memory-file.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import { compareSum } from "#test/support/verify-kit.ts";
import type { Chance } from "./chance.ts";
import type { SimNetwork } from "./network.ts";
import type { SimOptions } from "./options.ts";
import { SimProcess } from "./process.ts";

export const BASE_DIR = "/srv/backups";
export const STATE_DIR = "/var/lib/nbackup";
/** Of the whole disk, others' bytes included. */
export const DISK_BYTES = 256 * MiB;

export interface ServerHostOptions {
  readonly clock: SimClock;
  readonly network: SimNetwork;
  readonly chance: Chance;
  readonly options: SimOptions;
  /** Before each call of the disk, in the server's process. */
  readonly diskCall: (event: DiskEvent) => void | Promise<void>;
  readonly event: (event: ObservedEvent) => void;
  readonly log: (line: string) => void;
  /** A storage was opened, and commits that a server before this one had begun were carried out. */
  readonly opened: () => void;
  /** It has stopped in good order, and is about to go. */
  readonly stopped: (running: RunningServer) => void;
  /** The process is gone, however it went. */
  readonly gone: () => void;
}

/** What runs now. */
export interface RunningServer {
  readonly process: SimProcess;
  /** Undefined until its state directory was read. */
  server: Server | undefined;
  /** Undefined while it could not be opened. */
  storage: Storage | undefined;
  readonly disk: MemoryDisk;
  /** Shared by its sessions. */
  readonly chunkBuffer: ChunkBuffer;
  /** Sessions whose store exists. */
  readonly stores: Set<SessionStore>;
  /** It has opened its storages. */
  ready: boolean;
  /** It was asked to stop. */
  stopping: boolean;
  /** Its stop did not wait any longer for a disk: what is open there ends with the process. */
  gaveUpDisk: boolean;
}

export class ServerHost {
  /** Survives the processes. */
  disk: MemoryDisk;
  running: RunningServer | undefined;
  readonly #options: ServerHostOptions;
  #wallOffsetMs = 0;
  #starts = 0;

  constructor(options: ServerHostOptions) {
    this.#options = options;
    this.disk = new MemoryDisk({ capacityBytes: DISK_BYTES });
  }

  /** Makes the directories that an administrator makes. */
  async prepare(): Promise<void> {
    for (const path of ["/srv", BASE_DIR, "/var", "/var/lib", STATE_DIR]) {
      await this.disk.mkdir(path, 0o755);
      await this.disk.syncDirectory(path.slice(0, Math.max(1, path.lastIndexOf("/"))));
    }
  }

  start(): void {
    if (this.running !== undefined) return;
    const { clock, network, diskCall } = this.#options;
    this.#starts += 1;
    const process = new SimProcess(`server ${this.#starts}`, clock);
    process.setWallOffset(this.#wallOffsetMs);
    const { disk } = this;
    disk.hook = async (event) => {
      await process.running();
      await diskCall(event);
      await process.running();
    };
    const { chunkBufferBytes, chunkBufferDrainRatio } = this.#options.options;
    const running: RunningServer = {
      process,
      disk,
      chunkBuffer: new ChunkBuffer({
        bytesMax: chunkBufferBytes,
        drainRatio: chunkBufferDrainRatio ?? 0,
        clock: process.clock,
      }),
      stores: new Set(),
      ...{ server: undefined, storage: undefined },
      ready: false,
      stopping: false,
      gaveUpDisk: false,
    };
    this.running = running;
    void this.#launch(running).then((server) => {
      running.ready = true;
      if (!process.isAlive || running.stopping) return;
      network.listening = { process, accept: (connection) => server.accept(connection) };
    });
  }

  /** Kills the process; the machine, and all that was written, stays. */
  kill(): void {
    const { running } = this;
    if (running === undefined) return;
    this.disk = running.disk.restart();
    this.#end(running, false);
  }

  /** The machine is off. With `keep` chance says what of the unsynced reached the disk; without it nothing did. */
  powerLoss(keep: Chance | undefined): void {
    const { running } = this;
    if (running === undefined) return;
    running.disk.crash();
    this.disk = running.disk.reboot(keep);
    this.#end(running, true);
    this.#options.network.vanish(running.process);
  }

  /** With nothing running on it, the machine loses power: what was not synced is gone. */
  powerOff(): void {
    this.disk.crash();
    this.disk = this.disk.reboot();
  }

  /** Asks it to stop; it is gone when it has. Asked again it hurries. */
  stop(): void {
    const { running } = this;
    if (running === undefined) return;
    if (running.server === undefined) {
      this.kill();
      return;
    }
    running.stopping = true;
    const leave = (): void => {
      if (!running.process.isAlive) return;
      this.#options.stopped(running);
      this.disk = running.disk.restart();
      this.#end(running, false);
    };
    // Connections that were destroyed are closed in a turn of their own.
    const { server, process } = running;
    process.enter(() => void server.shutdown().then(() => this.#options.clock.after(1, leave)));
  }

  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
    this.running?.process.setWallOffset(this.#wallOffsetMs);
  }

  #end(running: RunningServer, silent: boolean): void {
    this.running = undefined;
    this.#options.network.listening = undefined;
    running.process.kill(silent);
    this.#options.gone();
  }

  /** As bin does it: the state directory is read, the server is made, and opens its storages. */
  async #launch(running: RunningServer): Promise<Server> {
    const { options, chance, event, opened } = this.#options;
    const { process, disk, chunkBuffer, stores } = running;
    const log = this.#log(process);
    const knownStorages = await KnownStorages.open(disk, STATE_DIR, log);
    const ended = await EndedSessions.open(disk, STATE_DIR, log);
    const server = new Server({
      config: {
        server: {
          listen: { host: "0.0.0.0", port: 9847 },
          stateDir: STATE_DIR,
          sessionsMax: options.sessionsMax,
          memoryBytesMax: 1024 * MiB,
          sessionIdleTimeoutMs: options.sessionIdleTimeoutMs,
          shutdownTimeoutMs: options.shutdownTimeoutMs,
        },
        storages: [storageConfig(options)],
      },
      clock: process.clock,
      random: chance.fork(process.name),
      log,
      events: {
        emit: (observed) => {
          if (observed.kind === "storage.close-failed") running.gaveUpDisk = true;
          if (process.isAlive) event(observed);
        },
      },
      software: "nbackup-server 0.0.0",
      ...{ knownStorages, chunkBuffer },
      openStorage: async (config, established) => {
        const parts = { disk, clock: process.clock, log, ended, buffer: chunkBuffer };
        const storage = await openStorage(config, established, parts, options);
        running.storage = storage;
        if (process.isAlive) opened();
        return watchStores(storage, stores);
      },
      openStock: (config) => new StorageStock(disk, [config]),
      diskKey: () => Promise.resolve("the only disk"),
      verifyArchive: compareSum,
    });
    running.server = server;
    await server.start();
    return server;
  }

  #log(process: SimProcess): Logger {
    const write =
      (level: string) =>
      (message: string, fields?: LogFields): void => {
        if (process.isAlive) this.#options.log(`${process.name} ${level} ${message} ${JSON.stringify(fields ?? {})}`);
      };
    const log: Logger = {
      debug: write("debug"),
      info: write("info"),
      warn: write("warn"),
      error: write("error"),
      child: () => log,
    };
    return log;
  }
}

function storageConfig(options: SimOptions): StorageConfig {
  return {
    name: "main",
    baseDir: BASE_DIR,
    maxBackups: options.maxBackups,
    compression: { mode: options.compression, level: 1 },
    reserve: { percent: 1, bytesMax: MiB },
    allowAgents: undefined,
    minAgeMs: 0,
    assembler: {
      mode: options.assembler.mode,
      pendingMemBytesMax: options.disk.pendingBytes,
      chunkShardLevels: options.assembler.mode === "lazy" ? options.assembler.shardLevels : 1,
      chunkFsync: options.assembler.mode === "lazy" && options.assembler.chunkFsync,
    },
    allowAgentRestore: true,
    verifyIntegrity: options.verifyIntegrity ?? false,
    scrubEveryMs: 0,
  };
}

function openStorage(
  config: StorageConfig,
  established: boolean,
  parts: Pick<StorageOptions, "disk" | "clock" | "log" | "ended" | "buffer">,
  options: SimOptions,
): Promise<Storage> {
  const { name, baseDir, maxBackups, minAgeMs, reserve, assembler } = config;
  const lazy = options.assembler.mode === "lazy" ? options.assembler : undefined;
  return Storage.open({
    ...{ name, baseDir, established, maxBackups, minAgeMs, reserve, verifyIntegrity: config.verifyIntegrity, ...parts },
    staging: lazy,
    pendingBytesMax: assembler.pendingMemBytesMax,
  });
}

/** Has `stores` hold every session's store of the storage, for the checks of their limits. */
function watchStores(storage: Storage, stores: Set<SessionStore>): Storage {
  const create = storage.createSession.bind(storage);
  storage.createSession = async (request, events) => {
    const store = await create(request, events);
    stores.add(store);
    return store;
  };
  const takeLeft = storage.takeLeft.bind(storage);
  storage.takeLeft = () => {
    const taken = takeLeft();
    const sessions = taken.sessions.map((left) => ({
      ...left,
      adopt: (events: SessionEvents): SessionStore => {
        const store = left.adopt(events);
        stores.add(store);
        return store;
      },
    }));
    return { ...taken, sessions };
  };
  return storage;
}
