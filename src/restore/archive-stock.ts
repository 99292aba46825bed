/**
 * Archives as the commands see them (list, ls, find, diff, cat, restore, verify), wherever they are: in the storages of this machine, or at
 * the server by the agent's read connection. Only the interface; each side has its own implementation, and the commands know no other.
 */
import type { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";

/** What is known of an archive before it is opened. */
export interface ArchiveRow {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  /** The file's name: `2026-02-12T02-00-00-123Z.tar.gz` */
  readonly name: string;
  /** The time in its name, wall milliseconds. */
  readonly timeMs: number;
  readonly archiveBytes: number;
  /** Undefined where neither a commit record nor the index says it. */
  readonly entries: number | undefined;
  readonly rawBytes: number | undefined;
  /** From admission to commit. */
  readonly durationMs: number | undefined;
  /** Entries that could not be read as they were. */
  readonly problems: number | undefined;
  /** Paths of the source at and below which the archive may lack what was there, raw bytes. Undefined: nobody knows all of them. */
  readonly unread?: readonly Uint8Array[] | undefined;
  /** 64 hex digits, as stored beside the archive. */
  readonly sha256: string | undefined;
  readonly hasIndex: boolean;
  /** What a verification found wrong with it, in words; undefined when none did. */
  readonly damage: string | undefined;
}

/** All of them unless told. `backup` without `agent`: entries of that name of all agents. */
export interface ArchiveFilter {
  readonly storage?: string | undefined;
  readonly agent?: string | undefined;
  readonly backup?: string | undefined;
  /** Also what takes looking up, archive by archive: entries, rawBytes, durationMs, problems, unread. Without it they may be undefined. */
  readonly facts?: boolean;
}

export interface OpenedArchive {
  readonly archive: ArchiveAccess;
  /** Undefined when there is none beside the archive. It is not to be believed. */
  readonly index: ArchiveAccess | undefined;
  /** Both. */
  close(): Promise<void>;
}

export interface ArchiveListing {
  /** By agent and backup, then the newest first; of the same time by storage. */
  readonly rows: readonly ArchiveRow[];
  /** One for each storage that nothing can be told of, its name in the message: E_STORAGE_FAILED, E_RESTORE_DENIED … */
  readonly failures: readonly Failure[];
}

/** Rejects as the work does, or before it has ended if that takes too long: then `late` gets what it gives. */
export type InTurn = <T>(work: () => Promise<T>, late?: (value: T) => Promise<void>) => Promise<T>;

export interface ArchiveStock {
  /**
   * Rejects with Failure when nothing at all can be told: E_STORAGE_UNKNOWN for a storage of the filter that there is not. `inTurn`: every
   * call of a disk of this machine is made in it.
   */
  list(filter: ArchiveFilter, inTurn?: InTurn): Promise<ArchiveListing>;
  /** Rejects with Failure E_ARCHIVE_UNKNOWN when it is gone meanwhile. What is open stays readable when rotation removes it. */
  open(row: ArchiveRow): Promise<OpenedArchive>;
  /** Only the index, for who asks many archives and reads none; undefined when there is none. Rejects as `open` does. */
  openIndex(row: ArchiveRow): Promise<ArchiveAccess | undefined>;
  /** Agents that have archives there, of a stock on this machine. Rejects as `list` does. */
  agents?(storage: string): Promise<readonly string[]>;
  /** The same rows with what is recorded of their commits: less work than `facts`, for who asks of few. Rejects as `list` does. */
  recorded?(storage: string, rows: readonly ArchiveRow[], inTurn?: InTurn): Promise<readonly ArchiveRow[]>;
  /** The archive's file, of a stock on this machine. */
  fileOf?(row: ArchiveRow): string;
  close(): Promise<void>;
}
