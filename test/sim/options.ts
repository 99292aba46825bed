/**
 * What a run of the simulator is made of, as one value that can be printed and given again: the world, its work, and its
 * faults. `drawOptions` draws one for a seed; nothing here does anything.
 */
import { bufferBytesMin } from "#base/chunk-size.ts";
import { KiB, MiB } from "#base/units.ts";
import { Chance } from "./chance.ts";

/** Mean distance between two of a kind while there are faults, in the unit of the name's end; absent: it does not happen. */
export interface SimFaults {
  /** The connection breaks for both at any byte. Bytes of one connection and way. */
  readonly cutBytes?: number;
  /** One way of a connection passes nothing for up to three seconds. */
  readonly delayMs?: number;
  /** A connection passes nothing for a minute at most, and then goes on. */
  readonly stallMs?: number;
  /** A connection passes nothing any more, and nobody is told. */
  readonly halfOpenMs?: number;
  /** What is sent one way is lost from now on. */
  readonly oneWayLossMs?: number;
  /** The cable of one host is pulled for up to two minutes. */
  readonly unplugMs?: number;
  /** The agent's end of a connection breaks; what it had sent arrives late. */
  readonly staleMs?: number;
  /** A bit flips in the payload of a Data frame. Bytes of such payloads. */
  readonly flipBytes?: number;
  /** Every Data frame of one session is damaged, until it ends. */
  readonly flipAllMs?: number;
  /** A bit flips in the payload of a control frame. Frames. */
  readonly flipControlFrames?: number;
  /** The agent's last word names another SHA-256 than that of what it read. Finish messages. */
  readonly wrongProofs?: number;
  /** The connection breaks before the agent hears that its archive was committed. Answers. */
  readonly lostAnswers?: number;
  /** Somebody asks for a slot that is in use. */
  readonly duplicateJoinMs?: number;
  /** A process of another run with the same certificate asks for the session and its slots. */
  readonly foreignRunMs?: number;
  /** Another host with the same certificate runs the same backups for a while. */
  readonly secondHostMs?: number;
  /** An agent's process stands still for up to two minutes while another run of it begins. */
  readonly olderRunMs?: number;

  /** The server is killed; its machine goes on. Calls of its disk. */
  readonly serverKillCalls?: number;
  /** The server's machine loses power, and all that was not synced, or chance keeps of it. Calls of its disk. */
  readonly serverPowerCalls?: number;
  /** The server is stopped and started, as by an upgrade. */
  readonly serverUpgradeMs?: number;
  /** The server's process stands still for up to half a minute. */
  readonly serverStallMs?: number;

  /** A call of the disk fails with EIO. Calls. */
  readonly eioCalls?: number;
  /** A sync fails. Syncs. */
  readonly failedSyncs?: number;
  /** Others fill the disk for up to half a minute. */
  readonly fullDiskMs?: number;
  /** The disk answers nothing for up to three seconds. */
  readonly diskStallMs?: number;
  /** The storage can only be read for up to half a minute. */
  readonly readOnlyMs?: number;
  /** The storage is not there for up to half a minute. */
  readonly vanishedMs?: number;
  /** A byte that no sync has reached changes on the disk. Writes. */
  readonly spoiledWrites?: number;

  /** An agent is killed; its machine goes on. Events of its process. */
  readonly agentKillEvents?: number;
  /** An agent's machine loses power. Events of its process. */
  readonly agentPowerEvents?: number;
  /** An agent gets SIGTERM. */
  readonly agentInterruptMs?: number;
  /** An agent's process stands still for up to half a minute. */
  readonly agentStallMs?: number;
  /** The wall clock of the server or of an agent jumps by up to a day. */
  readonly wallJumpMs?: number;
  /** A file grows, shrinks or vanishes while the tree is read. Calls of the source. */
  readonly changingFiles?: number;
}

export type FaultName = keyof SimFaults;

export interface SimOptions {
  readonly agents: number;
  /** Backup entries of each agent, all run at once. */
  readonly entries: number;
  /** Backups of each entry one after another, before the faults end. */
  readonly rounds: number;
  readonly tree: { readonly files: number; readonly bytes: number; readonly compressible: number };
  readonly compression: "gzip" | "zst";
  readonly chunkBytes: number;
  readonly windowBytes: number;
  readonly parallels: number;
  /** `auto_scaler`; absent: frozen. */
  readonly autoScaler?: "efficiency" | "adaptive";
  /** `port_rotation` after so many chunks; absent: off. */
  readonly rotateChunks?: number;
  /** The server orders a slot to be rotated, parked or resumed about so often; absent: never. */
  readonly orderEveryMs?: number;
  readonly maxBackups: number;
  readonly sessionsMax: number;
  readonly limitBytesPerSecond?: number;
  /** Between two chunks of a producer, simulated. */
  readonly paceMs: number;
  readonly network: {
    readonly latencyMs: number;
    readonly bytesPerSecond?: number;
    readonly bufferBytes: number;
  };
  readonly disk: {
    /** Each call takes up to so long. */
    readonly delayMs: number;
    /** What others leave of it until the faults end; absent: enough. */
    readonly roomBytes?: number;
    /** `assembler_pending_mem_limit`. */
    readonly pendingBytes: number;
  };
  readonly assembler:
    | { readonly mode: "eager" }
    | { readonly mode: "lazy"; readonly shardLevels: 1 | 2; readonly chunkFsync: boolean; readonly batchBytes: number };
  /** `chunk_buffer.size`, for all sessions of the server. */
  readonly chunkBufferBytes: number;
  /** `chunk_buffer.drain_ratio`; absent: 0. */
  readonly chunkBufferDrainRatio?: number;
  readonly verifyIntegrity?: boolean;
  /** Each agent has a control channel, which must be up before the agent ends after the faults. */
  readonly controlChannel?: boolean;
  /** The server asks an agent for a run about so often, over its control channel; absent: never. */
  readonly wishEveryMs?: number;
  readonly retry: { readonly maxAttempts: number; readonly initialDelayMs: number; readonly maxDelayMs: number };
  readonly giveUpAfterMs: number;
  readonly sessionIdleTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  /** All faults end then. */
  readonly healAtMs: number;
  readonly faults: SimFaults;
}

/** The range from which a fault's mean distance is drawn, and how many of a hundred runs have it. */
type FaultRange = readonly [low: number, high: number, percent: number];

const RANGES: Readonly<Record<FaultName, FaultRange>> = {
  cutBytes: [2 * KiB, 2 * MiB, 30],
  delayMs: [200, 5_000, 20],
  stallMs: [1_000, 20_000, 15],
  halfOpenMs: [2_000, 30_000, 12],
  oneWayLossMs: [2_000, 30_000, 12],
  unplugMs: [5_000, 60_000, 10],
  staleMs: [1_000, 15_000, 10],
  flipBytes: [50 * KiB, 4 * MiB, 15],
  flipAllMs: [100, 1_000, 1],
  flipControlFrames: [20, 500, 6],
  wrongProofs: [1, 4, 6],
  lostAnswers: [1, 4, 12],
  duplicateJoinMs: [500, 10_000, 8],
  foreignRunMs: [500, 10_000, 8],
  secondHostMs: [5_000, 40_000, 8],
  olderRunMs: [5_000, 40_000, 8],
  serverKillCalls: [20, 1_500, 18],
  serverPowerCalls: [20, 1_500, 22],
  serverUpgradeMs: [2_000, 40_000, 15],
  serverStallMs: [2_000, 30_000, 10],
  eioCalls: [100, 5_000, 8],
  failedSyncs: [10, 200, 8],
  fullDiskMs: [3_000, 30_000, 10],
  diskStallMs: [1_000, 10_000, 10],
  readOnlyMs: [5_000, 40_000, 6],
  vanishedMs: [5_000, 40_000, 6],
  spoiledWrites: [1, 30, 8],
  agentKillEvents: [20, 3_000, 12],
  agentPowerEvents: [20, 3_000, 12],
  agentInterruptMs: [1_000, 30_000, 8],
  agentStallMs: [2_000, 30_000, 10],
  wallJumpMs: [1_000, 20_000, 10],
  changingFiles: [5, 200, 15],
};

export const FAULT_NAMES = Object.keys(RANGES) as readonly FaultName[];

/** The options of a seed: the same for ever, as long as this function is not changed. */
export function drawOptions(seed: number): SimOptions {
  const chance = new Chance(seed).fork("options");
  const drawn = drawAny(chance);
  const lot = chance.unit();
  // A session that ends because too much of it is damaged needs its peace and many small chunks.
  if (lot < 0.01) return { ...drawn, ...ALL_DAMAGED };
  if (lot < 0.025) return congested(drawn);
  return lot < 0.04 ? slowFlows(drawn, chance.fork("slow flows")) : drawn;
}

const ALL_DAMAGED: Partial<SimOptions> = {
  tree: { files: 20, bytes: MiB, compressible: 1 },
  sessionsMax: 32,
  paceMs: 0,
  network: { latencyMs: 1, bufferBytes: 64 * KiB },
  giveUpAfterMs: 3_600_000,
  healAtMs: 60_000,
  faults: { flipAllMs: 30 },
};

/** A network that brings more than the disk takes, until the sessions must pause; the other faults are those that were drawn. */
function congested(drawn: SimOptions): SimOptions {
  const { limitBytesPerSecond: _, ...rest } = drawn;
  return {
    ...rest,
    rounds: 1,
    tree: { files: 20, bytes: 2 * MiB, compressible: 0 },
    sessionsMax: 32,
    paceMs: 0,
    network: { latencyMs: 1, bufferBytes: 256 * KiB },
    disk: { delayMs: 30, pendingBytes: drawn.disk.pendingBytes },
    faults: { ...drawn.faults, diskStallMs: 1_000 },
  };
}

/** Each connection is slow, so that the autoscaler has something to do; the other faults are those that were drawn. */
function slowFlows(drawn: SimOptions, chance: Chance): SimOptions {
  const { limitBytesPerSecond: _, ...rest } = drawn;
  return {
    ...rest,
    rounds: 1,
    tree: { files: 20, bytes: 1.5 * MiB, compressible: 0 },
    windowBytes: 16 * MiB,
    parallels: chance.pick([2, 8, 30]),
    autoScaler: chance.pick(["efficiency", "adaptive"] as const),
    sessionsMax: 32,
    paceMs: 0,
    network: { latencyMs: 5, bytesPerSecond: Math.round(chance.scale(64 * KiB, 256 * KiB)), bufferBytes: 64 * KiB },
  };
}

function drawAny(chance: Chance): SimOptions {
  const chunkBytes = chance.happens(0.85) ? 64 * KiB : 128 * KiB;
  const agents = chance.pick([1, 1, 1, 2, 3]);
  const entries = chance.pick([1, 1, 1, 2]);
  const small = chance.happens(0.6);
  const rate = chance.happens(0.7) ? Math.round(chance.scale(30 * KiB, 8 * MiB)) : undefined;
  const limited = chance.happens(0.08) ? Math.round(chance.scale(40 * KiB, MiB)) : undefined;
  const manySlots = chance.happens(0.01);
  const crowded = chance.happens(0.1);
  const tree = {
    files: chance.int(0, small ? 12 : 60) + (chance.happens(0.03) ? 140 : 0),
    bytes: Math.round(chance.scale(small ? 2 * KiB : 64 * KiB, small ? 300 * KiB : 1.5 * MiB)),
    compressible: chance.pick([0, 0.3, 0.7, 1]),
  };
  return {
    agents,
    entries,
    rounds: chance.int(1, 3),
    tree,
    compression: chance.happens(0.7) ? "gzip" : "zst",
    chunkBytes,
    // Room for all 255 streams, or for the fewest.
    windowBytes: manySlots ? 600 * MiB : bufferBytesMin(1, chunkBytes) * (chance.happens(0.6) ? 1 : chance.int(2, 6)),
    parallels: manySlots || chance.happens(0.03) ? 255 : chance.pick([0, 0, 1, 2, 3, 4, 8]),
    maxBackups: chance.int(1, 3),
    sessionsMax: crowded ? 1 : 32,
    ...(limited === undefined ? {} : { limitBytesPerSecond: limited }),
    paceMs: chance.pick([0, 0, 5, 50, 200]),
    network: {
      latencyMs: chance.pick([1, 5, 20, 80]),
      ...(rate === undefined ? {} : { bytesPerSecond: rate }),
      bufferBytes: chance.pick([16 * KiB, 64 * KiB, 256 * KiB]),
    },
    disk: {
      delayMs: chance.pick([0, 0, 1, 5, 30]),
      pendingBytes: chance.pick([0, 64 * KiB, 8 * MiB]),
      ...(chance.happens(0.08) ? { roomBytes: Math.round(tree.bytes * chance.scale(0.5, 8)) + 64 * KiB } : {}),
    },
    assembler: chance.happens(0.7)
      ? { mode: "eager" }
      : {
          mode: "lazy",
          shardLevels: chance.pick([1, 2]),
          chunkFsync: chance.happens(0.5),
          batchBytes: Math.round(chance.scale(1, MiB)),
        },
    ...drawChunkBuffer(chance.fork("chunk buffer")),
    ...drawControl(chance.fork("control")),
    ...(chance.fork("verify").happens(0.3) ? { verifyIntegrity: true } : {}),
    ...drawStreams(chance.fork("streams")),
    retry: {
      maxAttempts: chance.int(1, 5),
      initialDelayMs: chance.pick([100, 1_000]),
      maxDelayMs: chance.pick([2_000, 20_000]),
    },
    giveUpAfterMs: chance.pick([15_000, 60_000, 3_600_000]),
    sessionIdleTimeoutMs: chance.pick([5_000, 30_000, 3_600_000]),
    shutdownTimeoutMs: chance.pick([0, 1_000, 10_000]),
    healAtMs: Math.round(chance.scale(5_000, 90_000)),
    faults: drawFaults(chance.fork("faults")),
  };
}

/** Whether agents have a control channel, and the server asks for runs over it. */
function drawControl(chance: Chance): Pick<SimOptions, "controlChannel" | "wishEveryMs"> {
  if (!chance.happens(0.4)) return {};
  return { controlChannel: true, ...(chance.happens(0.6) ? { wishEveryMs: chance.pick([100, 1_000, 5_000]) } : {}) };
}

/** Which streams there are and how long their connections live: the autoscaler's part and that of `port_rotation`. */
function drawStreams(chance: Chance): Pick<SimOptions, "autoScaler" | "rotateChunks" | "orderEveryMs"> {
  return {
    ...(chance.happens(0.4) ? { autoScaler: chance.pick(["efficiency", "adaptive"] as const) } : {}),
    ...(chance.happens(0.25) ? { rotateChunks: chance.pick([1, 2, 3, 8]) } : {}),
    ...(chance.happens(0.3) ? { orderEveryMs: chance.pick([50, 500, 3_000]) } : {}),
  };
}

/** Mostly one that some sessions fill and some do not, with the writes held back or not. */
function drawChunkBuffer(chance: Chance): Pick<SimOptions, "chunkBufferBytes" | "chunkBufferDrainRatio"> {
  if (chance.happens(0.7)) return { chunkBufferBytes: 0 };
  return {
    chunkBufferBytes: Math.round(chance.scale(256 * KiB, 32 * MiB)),
    chunkBufferDrainRatio: chance.pick([0, 0.1, 0.5, 0.9, 1]),
  };
}

/** Every fault is in some of the runs and none in all, so that they meet in ever different company. */
function drawFaults(chance: Chance): SimFaults {
  const faults: { -readonly [name in FaultName]?: number } = {};
  // A few runs are quiet: then the archive must be right at the first attempt.
  const share = chance.pick([0.15, 0.6, 1, 1.6]);
  for (const name of FAULT_NAMES) {
    const [low, high, percent] = RANGES[name];
    if (chance.happens((percent / 100) * share)) faults[name] = Math.max(1, Math.round(chance.scale(low, high)));
  }
  return faults;
}
