/** What a server is made from, and the values that it shows: types only. */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { ServerConfig, StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import type { ArchiveStock } from "#restore/archive-stock.ts";
import type { Storage } from "#store/storage.ts";
import type { CertificateRegister } from "./certificate-register.ts";
import type { ControlHubOptions } from "./control-hub.ts";
import type { FinishingHost } from "./finishing.ts";
import type { MaintenanceMemory } from "./maintenance.ts";
import type { RenewalDeskOptions } from "./renewal-desk.ts";
import type { Revocations } from "./revocations.ts";
import type { ChunkBufferView, ServerMetrics, StorageStaging } from "./server-metrics.ts";
import type { StorageMemory, StorageOpener } from "./storage-shelf.ts";
import type { VerifyArchive } from "./verifier.ts";

/** What of a configuration the server itself goes by. */
export type ServerRules = Pick<ServerConfig, "server" | "storages"> &
  Partial<Pick<ServerConfig, "flowRotation" | "controlLostGracePeriodMs">>;

export interface ServerOptions {
  readonly config: ServerRules;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly events: EventSink;
  /** `nbackup-server 0.1.0` */
  readonly software: string;
  readonly openStorage: StorageOpener;
  /** Has an open storage go by changed rules; undefined where nothing is ever reloaded. */
  readonly configureStorage?: (storage: Storage, config: StorageConfig) => void;
  readonly knownStorages: StorageMemory;
  /** Which disk a base directory lies on: storages that give the same text share their free space. */
  readonly diskKey: (baseDir: string) => Promise<string>;
  /** The archives of a storage, for agents that read. */
  readonly openStock: (config: StorageConfig) => ArchiveStock;
  readonly verifyArchive: VerifyArchive;
  /** A session that finishes comes into another phase. */
  readonly onPhase?: FinishingHost["onPhase"];
  /** When its own certificate ends, wall milliseconds, asked each time: a reload may exchange it. Nobody knows unless told. */
  readonly certificateNotAfterMs?: () => number;
  /** `logging.stream_stats`, asked each time: a reload may change it. Never unless told. */
  readonly streamStats?: () => boolean;
  /** Keeps whether the server is in maintenance; undefined: only as long as it runs. */
  readonly maintenance?: MaintenanceMemory;
  /** Load and processors of the machine, for agents with a control channel. */
  readonly machineLoad?: () => { readonly loadHundredths: number; readonly cpus: number };
  /** Where the caller counts too; of its own unless told. */
  readonly metrics?: ServerMetrics;
  /** Who is revoked; nobody at the start unless told. */
  readonly revocations?: Revocations;
  /** Is told of each certificate that was let in. */
  readonly register?: Pick<CertificateRegister, "seen" | "issued" | "known" | "unseen">;
  /** Who signs the certificates of agents, asked each time; nobody unless told. */
  readonly issuer?: RenewalDeskOptions["issuer"];
  /** CAs that have followed that of the agents, asked each time; none unless told. */
  readonly successions?: ControlHubOptions["successions"];
  /** The one that the storages are opened with, if there is one; it counts in memory_limit. */
  readonly chunkBuffer?: ChunkBufferView;
}

/** What runs now, for logs and status. */
export interface ServerView {
  readonly sessionCount: number;
  readonly waitingCount: number;
  readonly connectionCount: number;
  /** Archives that wait for their verification or are being read, in storages that are open. */
  readonly verifyingCount: number;
  readonly chunkBuffer: ChunkBufferView;
  /** Of storages that are open, since they were opened. */
  readonly staging: readonly StorageStaging[];
}
