/**
 * What the server counts, by name. Chunks are counted as they come, everything else from the events that pass; what
 * would be dear to keep up to date is asked for when somebody looks. It changes nothing.
 */
import type { ObservedEvent } from "#observe/events.ts";
import { type Counter, type Histogram, Metrics, type Sample } from "#observe/metrics.ts";
import type { StagingCounters } from "#store/lazy-placement.ts";
import type { DiskMeter } from "#store/metered-disk.ts";

/** A limited memory: how much of it is used. */
export interface BufferView {
  readonly usedBytes: number;
  /** 0: there is none. */
  readonly bytesMax: number;
}

export interface ChunkBufferView extends BufferView {
  /** How often a session was told to pause since the start. */
  readonly pauses: number;
}

/** What a storage has staged and assembled since it was opened. */
export interface StorageStaging extends Readonly<StagingCounters> {
  readonly storage: string;
}

/** What the gauges ask for when somebody looks. */
export interface ServerGauges {
  sessionCount(): number;
  waitingCount(): number;
  connectionCount(): number;
  /** Of those, connections that read archives. */
  readerCount(): number;
  /** Bytes of all sessions that wait for the disk. */
  backlogBytes(): number;
  /** Counted by `memory_limit`. */
  memory(): BufferView;
  chunkBuffer(): ChunkBufferView;
  /** Archives that wait for their verification or are being read. */
  verifying(): readonly { readonly storage: string; readonly count: number }[];
  /** Of storages that are open. */
  staging(): readonly StorageStaging[];
  storages(): readonly {
    readonly name: string;
    readonly usable: boolean;
    readonly space:
      { readonly freeBytes: number; readonly totalBytes: number; readonly reserveBytes: number } | undefined;
  }[];
}

/** Seconds: from a disk with a cache of its own to one that stalls. */
const FSYNC_BOUNDS = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30];
/** Seconds: from a few files to days of a first backup. */
const SESSION_BOUNDS = [1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600];
const COMMIT_BOUNDS = [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600];

/** By the kind of the event. */
const VERIFY_RESULTS: Readonly<Record<string, string>> = {
  "archive.verified": "ok",
  "archive.damaged": "damaged",
  "archive.unverified": "unknown",
};

export class ServerMetrics {
  readonly registry = new Metrics();
  readonly fsyncs: Histogram;
  readonly #sessions: Counter;
  readonly #durations: Histogram;
  readonly #chunks: Counter;
  readonly #bytes: Counter;
  readonly #duplicateBytes: Counter;
  readonly #damagedChunks: Counter;
  readonly #brokenConnections: Counter;
  readonly #refusedConnections: Counter;
  readonly #rotatedStreams: Counter;
  readonly #removedArchives: Counter;
  readonly #verifiedArchives: Counter;
  readonly #diskErrors: Counter;
  readonly #commits: Histogram;
  readonly #readBytes: Counter;
  readonly #openedArchives: Counter;

  constructor() {
    const { registry: own } = this;
    this.#sessions = own.counter("nbackup_sessions_ended_total", "Ends of sessions and refusals of agents", [
      "outcome",
    ]);
    this.#durations = own.histogram("nbackup_session_seconds", "Time of sessions that ended", SESSION_BOUNDS, [
      "outcome",
    ]);
    this.#chunks = own.counter("nbackup_chunks_received_total", "Chunks taken");
    this.#bytes = own.counter("nbackup_bytes_received_total", "Stored bytes of chunks taken");
    this.#duplicateBytes = own.counter("nbackup_bytes_duplicate_total", "Stored bytes that were there already");
    this.#damagedChunks = own.counter("nbackup_chunks_damaged_total", "Chunks that arrived damaged");
    this.#brokenConnections = own.counter("nbackup_connections_broken_total", "Connections of sessions that broke");
    this.#refusedConnections = own.counter("nbackup_connections_refused_total", "Connections refused", ["code"]);
    this.#rotatedStreams = own.counter("nbackup_streams_rotated_total", "Streams told to connect again, that did", [
      "by",
    ]);
    this.#removedArchives = own.counter("nbackup_archives_removed_total", "Archives removed by rotation", ["storage"]);
    this.#verifiedArchives = own.counter("nbackup_archives_verified_total", "Archives read again, by what was found", [
      ...["storage", "result"],
    ]);
    this.#diskErrors = own.counter("nbackup_disk_errors_total", "Calls that failed", ["storage", "errno"]);
    this.fsyncs = own.histogram("nbackup_fsync_seconds", "Time of syncs", FSYNC_BOUNDS, ["storage"]);
    this.#readBytes = own.counter("nbackup_bytes_read_total", "Bytes of archives and indexes sent to agents");
    this.#openedArchives = own.counter("nbackup_archives_opened_total", "Archives opened by agents", ["storage"]);
    this.#commits = own.histogram("nbackup_commit_seconds", "Time from Finish to the commit", COMMIT_BOUNDS);
  }

  /** Bytes of an archive or its index went out to an agent. */
  bytesRead(bytes: number): void {
    this.#readBytes.add(bytes);
  }

  get bytesReceived(): number {
    return this.#bytes.total;
  }

  get chunksReceived(): number {
    return this.#chunks.total;
  }

  chunkReceived(bytes: number): void {
    this.#chunks.add(1);
    this.#bytes.add(bytes);
  }

  chunkDuplicate(bytes: number): void {
    this.#duplicateBytes.add(bytes);
  }

  committed(durationMs: number): void {
    this.#commits.observe(durationMs / 1000);
  }

  archivesRemoved(storage: string, count: number): void {
    if (count > 0) this.#removedArchives.add(count, storage);
  }

  /** For the disk under a storage. */
  meterOf(storage: string): DiskMeter {
    return {
      synced: (durationMs) => this.fsyncs.observe(durationMs / 1000, storage),
      failed: (errno) => this.#diskErrors.add(1, storage, errno),
    };
  }

  /** Counts what an event says. */
  note({ kind, fields, end }: ObservedEvent): void {
    if (kind === "connection.refused") this.#refusedConnections.add(1, String(fields["code"]));
    if (kind === "stream.rotated") this.#rotatedStreams.add(1, String(fields["by"]));
    if (kind === "archive.read") this.#openedArchives.add(1, String(fields["storage"]));
    if (kind === "session.chunk-damaged") this.#damagedChunks.add(1);
    if (kind === "session.disconnected" && fields["reason"] !== "goodbye") this.#brokenConnections.add(1);
    const result = VERIFY_RESULTS[kind];
    if (result !== undefined) this.#verifiedArchives.add(1, String(fields["storage"]), result);
    if (end === undefined) return;
    this.#sessions.add(1, end.outcome);
    if (end.session !== null) this.#durations.observe(end.durationMs / 1000, end.outcome);
    this.archivesRemoved(end.storage, end.removed.length);
  }

  /** Once. */
  watchAgents(hub: { readonly connectedCount: number }): void {
    const { registry: own } = this;
    own.gauge("nbackup_agents_connected", "Agents with a control channel", () => hub.connectedCount);
  }

  /** Once. */
  watch(gauges: ServerGauges): void {
    const { registry: own } = this;
    own.gauge("nbackup_sessions", "Sessions that run", () => gauges.sessionCount());
    own.gauge("nbackup_agents_waiting", "Agents that wait for a session", () => gauges.waitingCount());
    own.gauge("nbackup_connections", "Open connections", () => gauges.connectionCount());
    own.gauge("nbackup_read_connections", "Open connections that read archives", () => gauges.readerCount());
    own.gauge("nbackup_backlog_bytes", "Received bytes that wait for the disk", () => gauges.backlogBytes());
    own.gauge("nbackup_memory_bytes", "Memory counted by memory_limit", () => gauges.memory().usedBytes);
    own.gauge("nbackup_memory_limit_bytes", "memory_limit", () => gauges.memory().bytesMax);
    own.gauge("nbackup_chunk_buffer_bytes", "Bytes in the chunk buffer", () => gauges.chunkBuffer().usedBytes);
    own.gauge("nbackup_chunk_buffer_limit_bytes", "chunk_buffer.size", () => gauges.chunkBuffer().bytesMax);
    own.counted(
      "nbackup_reading_pauses_total",
      "Pauses of sessions whose disk was behind",
      () => gauges.chunkBuffer().pauses,
    );
    own.gauge("nbackup_archives_verifying", "Archives that wait for their verification or are being read", () =>
      gauges.verifying().map(({ storage, count }) => ({ labels: { storage }, value: count })),
    );
    const staged = (value: (staging: StorageStaging) => number) => (): Sample[] =>
      gauges.staging().map((staging) => ({ labels: { storage: staging.storage }, value: value(staging) }));
    own.counted(
      "nbackup_chunks_staged_total",
      "Chunks staged since the storage was opened",
      staged(({ stagedChunks }) => stagedChunks),
    );
    own.counted(
      "nbackup_bytes_assembled_total",
      "Bytes assembled since the storage was opened",
      staged(({ assembledBytes }) => assembledBytes),
    );
    const perStorage = (
      value: (storage: ReturnType<ServerGauges["storages"]>[number]) => number | undefined,
    ): Sample[] =>
      gauges.storages().flatMap((storage) => {
        const found = value(storage);
        return found === undefined ? [] : [{ labels: { storage: storage.name }, value: found }];
      });
    own.gauge("nbackup_storage_usable", "1 when the storage can be used", () =>
      perStorage(({ usable }) => (usable ? 1 : 0)),
    );
    own.gauge("nbackup_storage_free_bytes", "Free space", () => perStorage(({ space }) => space?.freeBytes));
    own.gauge("nbackup_storage_size_bytes", "Size of the disk", () => perStorage(({ space }) => space?.totalBytes));
    own.gauge("nbackup_storage_reserve_bytes", "reserve", () => perStorage(({ space }) => space?.reserveBytes));
  }
}
