/** What a storage is opened with: where it lies, its rules, and what it shares with the others. Values only. */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { ChunkBuffer } from "./chunk-buffer.ts";
import type { Disk } from "./disk.ts";
import type { StagingOptions } from "./session-files.ts";
import type { EndMemory } from "./session-removals.ts";
import type { ReserveRule } from "./space.ts";
import type { ShardLevels } from "./staging.ts";

/** What may change while it is open. */
export interface StorageRules {
  /** Good archives kept per agent and backup entry; at least 1. */
  readonly maxBackups: number;
  readonly minAgeMs: number;
  /** Every commit is to be verified by whoever opened the storage, and rotation waits for that. */
  readonly verifyIntegrity?: boolean;
  readonly reserve: ReserveRule;
  /** Per session: out-of-order bytes kept in memory for the in-order hash. */
  readonly pendingBytesMax: number;
  /** Chunks are staged as files and assembled at the end; undefined: written at their place. */
  readonly staging?: ({ readonly shardLevels: ShardLevels } & Omit<StagingOptions, "counters">) | undefined;
}

export interface StorageOptions extends StorageRules {
  readonly name: string;
  /** Absolute; made if missing. */
  readonly baseDir: string;
  /** It was a storage before: an empty directory in its place is a disk that is not mounted, not a new storage. */
  readonly established?: boolean;
  /** The server's, shared by its storages; undefined: sessions have what they have of their own. */
  readonly buffer?: ChunkBuffer | undefined;
  /** The server's; without it a session whose removal failed comes to life again at the next start. */
  readonly ended?: EndMemory | undefined;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
}
