/**
 * The real agent against the real server in one process: simulated clock, connections in memory that the test cuts, a
 * disk in memory, chunks made up by a producer that counts how often it was started. No threads, no files, no TLS.
 */
import { crc32 } from "node:zlib";
import { type ChunkKind, NO_SOCKETS, type Problem, type SealedChunk, type SocketsLeftOut } from "#base/chunk.ts";
import type { Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { LogFields, Logger } from "#base/log.ts";
import { MiB } from "#base/units.ts";
import type { BackupDeps, BackupPlan } from "#agent/backup-run.ts";
import type { Producer, ProducerSink, ReadProgress } from "#agent/producer.ts";
import type { Connection, Dialer } from "#net/connection.ts";
import { type ScriptLine, type ScriptPipe, scriptPipe } from "./script-pipe.ts";
import { seededRandom } from "./seeded-random.ts";
import type { ServerWorld } from "./server-world.ts";
import type { SimClock } from "./sim-clock.ts";

export const AGENT_IDENTITY = {
  agent: "web-1",
  software: "nbackup-agent 0.0.0",
  run: "00000000-0000-4000-8000-00000000000a",
};

/** Connections to a server in memory; the network can be down, and what is open can be cut. */
export class SimNetwork implements Dialer {
  /** Replaced when the server is started anew. */
  world: ServerWorld;
  readonly #commonName: string;
  #open: { readonly pipe: ScriptPipe; alive: boolean }[] = [];
  #ports = 50_000;
  down = false;
  /** Of connections made from now on. */
  line: ScriptLine = {};
  dialled = 0;

  constructor(world: ServerWorld, commonName = "web-1") {
    this.world = world;
    this.#commonName = commonName;
  }

  dial(): Promise<Connection> {
    this.dialled += 1;
    if (this.down) return Promise.reject(new Failure("E_CONNECT", "the network is down"));
    this.#ports += 1;
    const peer = {
      commonName: this.#commonName,
      fingerprint: "00".repeat(32),
      notBeforeMs: 0,
      notAfterMs: 4e12,
      serial: "01",
    };
    const pipe = scriptPipe(this.world.clock, `192.0.2.7:${this.#ports}`, () => peer, this.line);
    this.world.server.accept(pipe.server);
    this.#open.push({ pipe, alive: true });
    return Promise.resolve(pipe.client);
  }

  /** Breaks every connection, or only the one at `index` of those that were opened and not cut. */
  cut(index?: number): void {
    const open = this.#open.filter((c) => c.alive);
    for (const connection of index === undefined ? open : open.slice(index, index + 1)) {
      connection.alive = false;
      connection.pipe.cut();
    }
    this.#open = this.#open.filter((c) => c.alive);
  }

  /** One connection stops passing anything on, and nobody is told. */
  stall(index: number): void {
    this.#open[index]?.pipe.freeze();
  }

  /** Pulls the cable: nothing passes and nobody is told. */
  freeze(): void {
    for (const connection of this.#open) connection.pipe.freeze();
    this.#open = [];
  }

  get openCount(): number {
    return this.#open.length;
  }
}

/** Makes `count` chunks of random bytes, as fast as there is room; keeps what it made, to compare. */
export class MadeUpProducer implements Producer {
  readonly made: Buffer[] = [];
  started = 0;
  stopped = 0;
  readonly #clock: SimClock;
  readonly #lengths: readonly number[];
  /** Simulated time between two chunks. */
  everyMs: number;
  readonly #problems: readonly Problem[];
  sockets: SocketsLeftOut = NO_SOCKETS;
  #sink: ProducerSink | undefined;
  #next = 0;
  #timer: Timer | undefined;
  #bytes = seededRandom(3);

  /** One chunk of each length; the next one `everyMs` of simulated time after the last. */
  constructor(clock: SimClock, lengths: readonly number[], everyMs = 1, problems: readonly Problem[] = []) {
    this.#clock = clock;
    this.#lengths = lengths;
    this.everyMs = everyMs;
    this.#problems = problems;
  }

  start(sink: ProducerSink): void {
    this.started += 1;
    this.#sink = sink;
    if (this.#problems.length > 0) sink.problems(this.#problems);
    this.#later();
  }

  poke(): void {
    this.#later();
  }

  progress(): ReadProgress {
    return { entries: this.made.length, rawBytes: this.made.length, currentPath: new Uint8Array(0) };
  }

  stop(): Promise<void> {
    this.stopped += 1;
    this.#timer?.cancel();
    this.#sink = undefined;
    return Promise.resolve();
  }

  #later(): void {
    if (this.#sink === undefined || this.#next === this.#lengths.length) return;
    this.#timer ??= this.#clock.after(this.everyMs, () => {
      this.#timer = undefined;
      this.#make();
    });
  }

  #make(): void {
    const sink = this.#sink;
    const length = this.#lengths[this.#next];
    if (sink === undefined || length === undefined) return;
    if (!sink.reserve(length)) return;
    const last = this.#next === this.#lengths.length - 1;
    const kind: ChunkKind = last ? "end" : "entries";
    const stored = Buffer.alloc(length, this.#bytes.bytes(97));
    this.made.push(stored);
    const digest = new Uint8Array(new Bun.CryptoHasher("sha256").update(stored).digest());
    const chunk: SealedChunk = {
      file: 0,
      sequence: this.#next,
      kind,
      rawLength: length,
      stored,
      crc: crc32(stored),
      digest,
      last,
    };
    this.#next += 1;
    sink.chunk(chunk);
    if (!last) this.#later();
    else {
      const [done, problemCount] = [this.#next, this.#problems.length];
      sink.end({ entries: done, rawBytes: done, problemCount, sockets: this.sockets, unread: undefined });
    }
  }
}

export interface PlanFields {
  readonly parallels?: number;
  readonly windowBytes?: number;
  readonly limitBytesPerSecond?: number;
  readonly giveUpAfterMs?: number;
  readonly waitVerify?: boolean;
}

export function agentPlan(fields: PlanFields = {}): BackupPlan {
  return {
    entry: {
      name: "home",
      storage: "main",
      schedule: undefined,
      sources: [{ path: "/home", optional: false }],
      exclude: [],
      oneFileSystem: false,
      excludeCaches: false,
      excludeIfPresent: [],
      parallels: fields.parallels ?? 0,
      autoScaler: { enabled: false, mode: "efficiency" },
      bandwidthLimitBytesPerSecond: fields.limitBytesPerSecond,
      bandwidthWindows: [],
      dscp: undefined,
      portRotation: { mode: "off" },
      scheduleJitterMs: 0,
      runMissed: false,
      hooks: { before: undefined, after: undefined, onFailure: undefined, timeoutMs: 3_600_000 },
      notify: undefined,
    },
    retry: { maxAttempts: 5, initialDelayMs: 1000, maxDelayMs: 300_000 },
    resume: {
      bufferBytes: fields.windowBytes ?? 256 * MiB,
      chunkBytes: undefined,
      giveUpAfterMs: fields.giveUpAfterMs ?? 86_400_000,
    },
    workers: 2,
    waitVerify: fields.waitVerify ?? false,
  };
}

export interface AgentParts {
  readonly deps: BackupDeps;
  readonly logged: string[];
}

/** An agent on a simulated clock; `producer` is asked for each session. */
export function agentParts(clock: SimClock, dialer: Dialer, producer: (attempt: number) => Producer): AgentParts {
  const logged: string[] = [];
  const write =
    (level: string) =>
    (message: string, fields?: LogFields): void => {
      logged.push(`${Math.round(clock.now())} ${level} ${message} ${JSON.stringify(fields ?? {})}`);
    };
  const log: Logger = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: () => log,
  };
  let attempts = 0;
  const deps: BackupDeps = {
    clock,
    random: seededRandom(11),
    dialer,
    log,
    identity: AGENT_IDENTITY,
    makeProducer: () => {
      attempts += 1;
      return producer(attempts);
    },
    checkSources: () => undefined,
    cores: 2,
  };
  return { deps, logged };
}

export interface AgentWorld extends AgentParts {
  readonly network: SimNetwork;
}

export function agentWorld(world: ServerWorld, producer: (attempt: number) => Producer): AgentWorld {
  const network = new SimNetwork(world);
  return { ...agentParts(world.clock, network, producer), network };
}
