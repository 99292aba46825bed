/**
 * A whole server in memory for one test: simulated clock and disk, connections by script, its events kept. `close` shuts
 * it down and checks that nothing is left: no session, no open file, no unfinished work on the disk.
 */
import { expect } from "bun:test";
import type { LogFields, Logger } from "#base/log.ts";
import { GiB, MiB } from "#base/units.ts";
import type { FlowRotationConfig, StorageConfig } from "#config/types.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import type { MaintenanceMemory } from "#server/maintenance.ts";
import type { Revocations } from "#server/revocations.ts";
import { Server } from "#server/server.ts";
import type { ServerOptions, ServerRules } from "#server/server-options.ts";
import { StorageStock } from "#server/storage-stock.ts";
import type { StorageMemory } from "#server/storage-shelf.ts";
import type { VerifyArchive } from "#server/verifier.ts";
import { ChunkBuffer } from "#store/chunk-buffer.ts";
import type { EndMemory } from "#store/session-removals.ts";
import { Storage } from "#store/storage.ts";
import type { Message } from "#wire/messages.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { ScriptLink } from "./script-client.ts";
import { type ScriptPipe, scriptPipe } from "./script-pipe.ts";
import { seededRandom } from "./seeded-random.ts";
import { settle, SimClock } from "./sim-clock.ts";
import { compareSum } from "./verify-kit.ts";

export const RUN = "00000000-0000-4000-8000-000000000001";
export const OTHER_RUN = "00000000-0000-4000-8000-000000000002";
const BASE_DIR = "/srv/backups";

/** Simulated time that anything a test waits for may take. */
const WAIT_MS = 120_000;

export interface WorldOptions {
  readonly streamStats?: boolean;
  readonly sessionsMax?: number;
  readonly memoryBytesMax?: number;
  readonly sessionIdleTimeoutMs?: number;
  readonly shutdownTimeoutMs?: number;
  readonly chunkBuffer?: { readonly bytesMax: number; readonly drainRatio: number };
  readonly storages?: readonly StorageConfig[];
  readonly disk?: MemoryDisk;
  readonly clock?: SimClock;
  /** Another one for each start of the same server: boot and session ids are made from it. */
  readonly seed?: number;
  readonly knownStorages?: StorageMemory;
  readonly ended?: EndMemory;
  readonly maintenance?: MaintenanceMemory;
  readonly flowRotation?: FlowRotationConfig;
  /** Compares the SHA-256 unless told. */
  readonly verifyArchive?: VerifyArchive;
  /** Which disk a base directory lies on; there is one unless told. */
  readonly diskKey?: (baseDir: string) => Promise<string>;
  readonly certificateNotAfterMs?: () => number;
  readonly revocations?: Revocations;
  readonly register?: NonNullable<ServerOptions["register"]>;
  readonly issuer?: NonNullable<ServerOptions["issuer"]>;
  readonly successions?: NonNullable<ServerOptions["successions"]>;
}

/** A connection of the script, and how to break it. */
export interface ScriptConnection {
  readonly link: ScriptLink;
  readonly pipe: ScriptPipe;
}

export interface OpenSession extends ScriptConnection {
  readonly admitted: Message<"admitted">;
}

export function storageConfig(fields: Partial<StorageConfig> = {}): StorageConfig {
  return {
    name: "main",
    baseDir: BASE_DIR,
    maxBackups: 3,
    compression: { mode: "gzip", level: 3 },
    reserve: { percent: 5, bytesMax: 10 * GiB },
    allowAgents: undefined,
    minAgeMs: 0,
    assembler: { mode: "eager", pendingMemBytesMax: 8 * MiB, chunkShardLevels: 1, chunkFsync: true },
    verifyIntegrity: false,
    allowAgentRestore: true,
    scrubEveryMs: 0,
    ...fields,
  };
}

export class ServerWorld {
  readonly clock: SimClock;
  readonly disk: MemoryDisk;
  readonly server: Server;
  readonly buffer: ChunkBuffer;
  readonly events: ObservedEvent[] = [];
  /** What an administrator would call the state directory. */
  readonly knownStorages: StorageMemory;
  readonly ended: EndMemory;
  readonly logged: string[] = [];
  #ports = 40_000;

  readonly #options: WorldOptions;

  private constructor(options: WorldOptions) {
    this.#options = options;
    this.clock = options.clock ?? new SimClock();
    this.disk = options.disk ?? new MemoryDisk();
    this.knownStorages = options.knownStorages ?? rememberedStorages();
    this.ended = options.ended ?? rememberedEnds();
    this.buffer = new ChunkBuffer({ bytesMax: 0, drainRatio: 0, ...options.chunkBuffer, clock: this.clock });
    this.server = new Server({
      chunkBuffer: this.buffer,
      config: this.rules(options.storages ?? [storageConfig()]),
      ...(options.maintenance === undefined ? {} : { maintenance: options.maintenance }),
      clock: this.clock,
      random: seededRandom(options.seed ?? 7),
      log: this.#log(),
      events: { emit: (event) => void this.events.push(event) },
      software: "nbackup-server 0.0.0",
      knownStorages: this.knownStorages,
      openStorage: (config, established) => this.openStorage(config, established),
      configureStorage: (storage, { maxBackups, minAgeMs, reserve, assembler, verifyIntegrity }) =>
        storage.configure({
          maxBackups,
          minAgeMs,
          reserve,
          verifyIntegrity,
          pendingBytesMax: assembler.pendingMemBytesMax,
        }),
      openStock: (config) => new StorageStock(this.disk, [config]),
      diskKey: options.diskKey ?? (() => Promise.resolve("the only disk")),
      verifyArchive: options.verifyArchive ?? compareSum,
      streamStats: () => options.streamStats ?? false,
      ...(options.register === undefined ? {} : { register: options.register }),
      ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
      ...(options.successions === undefined ? {} : { successions: options.successions }),
      ...(options.revocations === undefined ? {} : { revocations: options.revocations }),
      ...(options.certificateNotAfterMs === undefined ? {} : { certificateNotAfterMs: options.certificateNotAfterMs }),
    });
  }

  static async start(options: WorldOptions = {}): Promise<ServerWorld> {
    const world = new ServerWorld(options);
    for (const { baseDir } of options.storages ?? [storageConfig()]) {
      await world.wait(makeDirectories(world.disk, baseDir));
    }
    await world.wait(world.server.start());
    return world;
  }

  /** Those of this world, with other storages: for a reload. */
  rules(storages: readonly StorageConfig[]): ServerRules {
    const { sessionsMax = 32, memoryBytesMax = GiB, sessionIdleTimeoutMs = 86_400_000 } = this.#options;
    const { shutdownTimeoutMs = 60_000 } = this.#options;
    const listen = { host: "0.0.0.0", port: 9847 };
    const limits = { sessionsMax, memoryBytesMax, sessionIdleTimeoutMs, shutdownTimeoutMs };
    const { flowRotation } = this.#options;
    const server = { listen, stateDir: "/var/lib/nbackup", ...limits };
    return { server, storages, ...(flowRotation === undefined ? {} : { flowRotation }) };
  }

  openStorage(config: StorageConfig, established = false): Promise<Storage> {
    const { name, baseDir, maxBackups, minAgeMs, reserve, assembler, verifyIntegrity } = config;
    const { chunkShardLevels: shardLevels, chunkFsync } = assembler;
    return Storage.open({
      ...{ name, baseDir, established, maxBackups, minAgeMs, reserve, verifyIntegrity },
      pendingBytesMax: assembler.pendingMemBytesMax,
      staging: assembler.mode === "lazy" ? { shardLevels, chunkFsync } : undefined,
      buffer: this.buffer,
      ended: this.ended,
      disk: this.disk,
      clock: this.clock,
      log: this.#log(),
    });
  }

  /** Lets simulated time pass until it settles. */
  wait<T>(promise: Promise<T>): Promise<T> {
    return this.clock.until(promise, WAIT_MS);
  }

  /** A new connection of an agent whose certificate says `commonName`. */
  connect(commonName = "web-1"): ScriptConnection {
    this.#ports += 1;
    const peer: PeerIdentity = {
      commonName,
      fingerprint: "00".repeat(32),
      notBeforeMs: 0,
      notAfterMs: 2e12,
      serial: "01",
    };
    return this.connectAs(() => peer);
  }

  connectAs(peer: () => PeerIdentity): ScriptConnection {
    const pipe = scriptPipe(this.clock, `192.0.2.7:${this.#ports}`, peer);
    const link = new ScriptLink(pipe.client);
    this.server.accept(pipe.server);
    return { link, pipe };
  }

  /** A connection whose session Hello was welcomed. */
  async hello(agent = "web-1", run = RUN): Promise<ScriptConnection> {
    const connection = this.connect(agent);
    connection.link.send("hello", helloOf({ agent, run }));
    await this.wait(connection.link.expect("welcome"));
    return connection;
  }

  /** A session of its own, admitted. */
  async session(
    fields: Partial<Message<"begin">> = {},
    { agent = "web-1", run = RUN }: { readonly agent?: string; readonly run?: string } = {},
  ): Promise<OpenSession> {
    const connection = await this.hello(agent, run);
    connection.link.send("begin", beginOf(fields));
    const admitted = await this.wait(connection.link.expect("admitted"));
    return { ...connection, admitted };
  }

  /** A session connection that asks to resume; its answer is the script's to read. */
  resume(session: string, { agent = "web-1", run = RUN } = {}): ScriptConnection {
    const connection = this.connect(agent);
    connection.link.send("hello", helloOf({ agent, run, session }));
    return connection;
  }

  /** A stream that asks for a slot. */
  stream(session: string, slot: number, { agent = "web-1", run = RUN } = {}): ScriptConnection {
    const connection = this.connect(agent);
    connection.link.send("hello", helloOf({ role: "stream", agent, run, session, slot }));
    return connection;
  }

  /** The events of a kind. */
  eventsOf(kind: string): ObservedEvent[] {
    return this.events.filter((event) => event.kind === kind);
  }

  /** Every path below the storage, with what is in it. */
  tree(): ReadonlyMap<string, string | Uint8Array> {
    return this.disk.tree(BASE_DIR);
  }

  /** The bytes of a file below the storage. */
  content(path: string): Buffer {
    const found = this.tree().get(path);
    if (!(found instanceof Uint8Array)) throw new Error(`${path} is not a file`);
    return Buffer.from(found);
  }

  /** Paths of unfinished sessions: none when all is clean. */
  unfinished(): string[] {
    return [...this.tree().keys()].filter((path) => /^\.nbackup\/sessions\/./.test(path));
  }

  /** Stops the server at once and checks that it left nothing behind but the sessions that it suspended. */
  async close(): Promise<void> {
    const first = this.server.shutdown();
    await this.wait(Promise.all([first, this.server.shutdown()]));
    await this.clock.advance(10_000);
    await settle();
    expect(this.server.view()).toMatchObject({ sessionCount: 0, waitingCount: 0, connectionCount: 0 });
    expect(this.buffer.usedBytes).toBe(0);
    const suspended = this.eventsOf("session.suspended").map((event) => String(event.fields["session"]));
    const left = this.unfinished().map((path) => path.split("/")[2] ?? "");
    expect(left.filter((session) => !suspended.includes(session))).toEqual([]);
    expect(this.disk.openFiles).toBe(0);
    expect(this.clock.pendingCount).toBe(0);
  }

  #log(): Logger {
    const write =
      (level: string) =>
      (message: string, fields?: LogFields): void => {
        this.logged.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
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

/** Nothing is known yet. */
function rememberedStorages(): StorageMemory {
  const baseDirs = new Set<string>();
  return {
    has: (baseDir) => baseDirs.has(baseDir),
    add: (baseDir) => {
      baseDirs.add(baseDir);
      return Promise.resolve();
    },
  };
}

/** Nothing has ended yet. */
function rememberedEnds(): EndMemory {
  const sessions = new Set<string>();
  return {
    has: (session) => sessions.has(session),
    add: (session) => Promise.resolve(void sessions.add(session)),
    delete: (session) => Promise.resolve(void sessions.delete(session)),
  };
}

export function helloOf(fields: Partial<Message<"hello">>): Message<"hello"> {
  return {
    role: "session",
    versionMin: 1,
    versionMax: 1,
    agent: "web-1",
    software: "nbackup-agent 0.0.0",
    run: RUN,
    ...fields,
  };
}

export function beginOf(fields: Partial<Message<"begin">> = {}): Message<"begin"> {
  return {
    backup: "home",
    storage: "main",
    estimateBytes: 0,
    chunkBytes: 65_536,
    windowBytes: 64 * MiB,
    parallels: 0,
    ...fields,
  };
}

async function makeDirectories(disk: MemoryDisk, path: string): Promise<void> {
  let at = "";
  for (const name of path.split("/").filter((part) => part !== "")) {
    at = `${at}/${name}`;
    try {
      await disk.mkdir(at, 0o755);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith("EEXIST")) throw error;
    }
  }
}
