/**
 * What a configuration file means once it has been checked: plain values in bytes and milliseconds, every default filled
 * in, every path absolute. The schemas (agent-schema.ts, server-schema.ts) make them; this file makes nothing and
 * imports no library, so that any domain may name these types.
 */
import type { Compression } from "#base/chunk.ts";
import type { LogLevel } from "#base/log.ts";
import type { WeekWindow } from "#base/week-window.ts";

/** `host` without brackets, `port` 1 to 65535. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface LoggingConfig {
  readonly level: LogLevel;
  readonly format: "json" | "text";
  /** Absolute path; undefined: standard error. */
  readonly file: string | undefined;
  readonly streamStats: boolean;
  /** Absolute path of the directory of per-session logs; undefined: none are kept. */
  readonly sessionLogDir: string | undefined;
}

export interface SourceConfig {
  /** Absolute and normalised, as UTF-8 text without a trailing slash (except the root itself). */
  readonly path: string;
  /** A missing source is passed over instead of failing the entry. */
  readonly optional: boolean;
}

/** `bandwidth_limit` as a timetable. */
export interface BandwidthWindow extends WeekWindow {
  readonly bytesPerSecond: number;
}

export type AutoScalerMode = "efficiency" | "adaptive";

export interface AutoScalerConfig {
  readonly enabled: boolean;
  readonly mode: AutoScalerMode;
}

export type PortRotationConfig =
  { readonly mode: "off" } | { readonly mode: "per-n-chunks"; readonly chunksPerCycle: number };

export interface HooksConfig {
  /** Commands for /bin/sh. */
  readonly before: string | undefined;
  readonly after: string | undefined;
  readonly onFailure: string | undefined;
  /** Of each. */
  readonly timeoutMs: number;
}

export interface NotifyConfig {
  /** Both may hold secrets: never logged. */
  readonly url: string;
  readonly failureUrl: string;
  readonly on: { readonly failure: boolean; readonly success: boolean };
}

/** One item under `backups`. */
export interface BackupEntryConfig {
  readonly name: string;
  readonly storage: string;
  /** Cron expression of five fields; undefined: the entry runs only by `--once`. */
  readonly schedule: string | undefined;
  /** At least one, none inside another, in the order of the file. */
  readonly sources: readonly SourceConfig[];
  /** Globs as written. */
  readonly exclude: readonly string[];
  readonly oneFileSystem: boolean;
  readonly excludeCaches: boolean;
  /** Names without a slash. */
  readonly excludeIfPresent: readonly string[];
  /** 0: one stream on the session connection. 1 to 255: the most data streams. */
  readonly parallels: number;
  readonly autoScaler: AutoScalerConfig;
  /** Of the sum of all streams, always; undefined: no limit, or what the windows say. */
  readonly bandwidthLimitBytesPerSecond: number | undefined;
  /** None overlaps another; outside of them there is no limit. Empty without a timetable. */
  readonly bandwidthWindows: readonly BandwidthWindow[];
  /** Six bits for the IP header; undefined: the sockets are not marked. */
  readonly dscp: number | undefined;
  readonly portRotation: PortRotationConfig;
  /** 0: runs begin when they are due. */
  readonly scheduleJitterMs: number;
  readonly runMissed: boolean;
  readonly hooks: HooksConfig;
  /** undefined: nobody is told. */
  readonly notify: NotifyConfig | undefined;
}

export interface RetryConfig {
  readonly maxAttempts: number;
  readonly initialDelayMs: number;
  readonly maxDelayMs: number;
}

export interface ResumeConfig {
  /** The window. */
  readonly bufferBytes: number;
  /** Multiple of 64 KiB; undefined: by the storage's compression (DEFAULT_CHUNK_BYTES of #base/chunk-size.ts). */
  readonly chunkBytes: number | undefined;
  readonly giveUpAfterMs: number;
}

export type IoClass =
  | { readonly kind: "none" }
  | { readonly kind: "idle" }
  /** 0 is served first, 7 last. */
  | { readonly kind: "best-effort" | "realtime"; readonly priority: number };

export interface ResourcesConfig {
  /** Compress threads; 0: automatic. */
  readonly workers: number;
  /** undefined: 10 for the daemon and without a terminal, 0 for `--once` on a terminal (niceLevel of defaults.ts). */
  readonly nice: number | undefined;
  readonly ioClass: IoClass;
}

export interface ControlChannelConfig {
  readonly enabled: boolean;
  readonly keepaliveIntervalMs: number;
  readonly reconnectDelayMs: number;
  readonly maxReconnectDelayMs: number;
}

export interface AgentConfig {
  /** Absolute path of the file it came from. */
  readonly configFile: string;
  readonly agent: { readonly name: string; /** Absolute. */ readonly stateDir: string };
  readonly server: Address;
  readonly tls: {
    readonly caCertFile: string;
    readonly clientCertFile: string;
    readonly clientKeyFile: string;
    /** The certificate is renewed over the control channel, by the daemon or a run of --once. */
    readonly renew: boolean;
  };
  /** At least one; names are unique. */
  readonly backups: readonly BackupEntryConfig[];
  readonly retry: RetryConfig;
  readonly resume: ResumeConfig;
  readonly resources: ResourcesConfig;
  readonly daemon: {
    /** Entries that run at the same time; at least 1. */
    readonly maxConcurrent: number;
  };
  readonly controlChannel: ControlChannelConfig;
  readonly logging: LoggingConfig;
}

/** Free space kept on a storage's disk: min(percent / 100 × size of the disk, bytesMax). */
export interface ReserveConfig {
  readonly percent: number;
  readonly bytesMax: number;
}

export interface AssemblerConfig {
  readonly mode: "eager" | "lazy";
  readonly pendingMemBytesMax: number;
  readonly chunkShardLevels: 1 | 2;
  readonly chunkFsync: boolean;
}

/** One item under `storages`. */
export interface StorageConfig {
  readonly name: string;
  /** Absolute and normalised; may not exist yet. */
  readonly baseDir: string;
  /** Good archives kept per agent and backup entry; at least 1. */
  readonly maxBackups: number;
  readonly compression: Compression;
  readonly reserve: ReserveConfig;
  /** Globs of agent names; undefined: every agent. */
  readonly allowAgents: readonly string[] | undefined;
  readonly minAgeMs: number;
  readonly assembler: AssemblerConfig;
  readonly verifyIntegrity: boolean;
  /** Agents may list and read their own archives. */
  readonly allowAgentRestore: boolean;
  /** No archive stays unread for longer; 0: none is read again by itself. */
  readonly scrubEveryMs: number;
}

export interface FlowRotationConfig {
  readonly enabled: boolean;
  /** As written: a stream below this rate counts as slow. */
  readonly minMbps: number;
  readonly evalWindowMs: number;
  readonly cooldownMs: number;
}

export interface ChunkBufferConfig {
  /** 0: off. */
  readonly bytesMax: number;
  readonly drainRatio: number;
}

export interface WebUiConfig {
  readonly enabled: boolean;
  readonly listen: Address;
  /** IP addresses and CIDR blocks as written; not empty when enabled. */
  readonly allowOrigins: readonly string[];
  readonly readTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly eventsFile: string;
  readonly eventsLinesMax: number;
  readonly sessionHistoryFile: string;
  readonly sessionHistoryLinesMax: number;
  readonly activeSessionsFile: string;
  readonly activeSessionsLinesMax: number;
  readonly activeSnapshotIntervalMs: number;
  readonly storageScanIntervalMs: number;
  readonly passwordFile: string | undefined;
  readonly tlsCertFile: string | undefined;
  readonly tlsKeyFile: string | undefined;
  readonly allowDownload: boolean;
  readonly hostNames: readonly string[];
  readonly trustedProxies: readonly string[];
}

export interface ServerConfig {
  /** Absolute path of the file it came from. */
  readonly configFile: string;
  /** Where new agents enrol, while a token is good. */
  readonly enrollListen: Address;
  readonly server: {
    readonly listen: Address;
    readonly stateDir: string;
    readonly sessionsMax: number;
    readonly memoryBytesMax: number;
    readonly sessionIdleTimeoutMs: number;
    readonly shutdownTimeoutMs: number;
  };
  readonly tls: {
    readonly caCertFile: string;
    readonly serverCertFile: string;
    readonly serverKeyFile: string;
    /** Undefined: this server issues no certificates. */
    readonly caKeyFile: string | undefined;
  };
  /** At least one; names are unique; no base directory inside another. */
  readonly storages: readonly StorageConfig[];
  readonly flowRotation: FlowRotationConfig;
  readonly chunkBuffer: ChunkBufferConfig;
  readonly controlLostGracePeriodMs: number;
  readonly webUi: WebUiConfig;
  readonly logging: LoggingConfig;
}
