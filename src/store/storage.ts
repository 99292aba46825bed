/**
 * One named storage: a base directory, its lock, its archives and the sessions that write into it. One server per
 * storage (ARCHITECTURE.md). It admits nobody and knows no agents: that is the server's policy. Bodies follow.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { Disk } from "./disk.ts";
import type { SessionStore } from "./session-store.ts";
import type { CommitAnswer, SessionEvents, SessionRequest } from "./session-types.ts";
import type { ReserveRule, StorageSpace } from "./space.ts";

export interface StorageOptions {
  readonly name: string;
  /** Absolute; made if missing. */
  readonly baseDir: string;
  /** Good archives kept per agent and backup entry; at least 1. */
  readonly maxBackups: number;
  readonly minAgeMs: number;
  readonly reserve: ReserveRule;
  /** Per session: out-of-order bytes kept in memory for the in-order hash. */
  readonly pendingBytesMax: number;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A committed archive, as its directory shows it. */
export interface StoredArchive {
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string;
  readonly bytes: number;
  /** The time in its name, wall milliseconds. */
  readonly timeMs: number;
}

/** Totals of the last committed session of an entry. */
export interface CommittedTotals {
  readonly bytes: number;
  readonly entries: number;
  readonly rawBytes: number;
}

export class Storage {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /**
   * Makes the directory ready, takes its lock and cleans up after sessions of a server that died. Rejects with
   * E_LOCKED when another process has it, E_STORAGE_FAILED when it cannot be used.
   */
  static open(_options: StorageOptions): Promise<Storage> {
    throw new Error("not built yet");
  }

  /** Archives of an entry, oldest first. Rejects with E_NAME, E_STORAGE_FAILED. */
  archives(_agent: string, _backup: string): Promise<StoredArchive[]> {
    throw new Error("not built yet");
  }

  /** Undefined when none is known. */
  lastCommitted(_agent: string, _backup: string): CommittedTotals | undefined {
    throw new Error("not built yet");
  }

  /** The answer that a session's Finish got, for 30 days or 10,000 sessions; also who may ask for it. */
  commitRecord(_session: string): (CommitAnswer & { readonly agent: string; readonly run: string }) | undefined {
    throw new Error("not built yet");
  }

  /** Free space and reserve now; `fits` and `missingBytes` of space.ts judge it. Rejects with E_STORAGE_FAILED. */
  space(): Promise<StorageSpace> {
    throw new Error("not built yet");
  }

  /** Begins a session. Rejects with E_NAME, E_BUSY (the entry has a session here), E_DISK, E_DISK_FULL, E_STORAGE_FAILED. */
  createSession(_request: SessionRequest, _events: SessionEvents): Promise<SessionStore> {
    throw new Error("not built yet");
  }

  /** Applies the rotation now; the archives that were removed (with `dryRun`: would be). */
  rotate(_agent: string, _backup: string, _options: { readonly dryRun: boolean }): Promise<string[]> {
    throw new Error("not built yet");
  }

  /** Gives the lock back. Sessions must have been committed or aborted before. */
  close(): Promise<void> {
    throw new Error("not built yet");
  }
}
