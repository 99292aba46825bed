/** Everything that routes may know: what observe keeps, and functions to ask for what runs. src/bin fills it in; routes change nothing by it. */
import type { Clock } from "#base/clock.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { LiveView } from "#observe/live-view.ts";
import type { Metric } from "#observe/metrics.ts";
import type { RecordStore } from "#observe/record-store.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { ActiveSnapshot } from "#observe/session-points.ts";
import type { SessionSeries } from "#observe/session-series.ts";
import type { StorageScans } from "#observe/storage-scans.ts";
import type { ServerStatus, WaitingView } from "#observe/views.ts";
import type { DownloadQuery, FoundFile, TreeAnswer } from "./api-archives.ts";
import type { AgentChannel, CertificateRow, ConfigAnswer } from "./api-types.ts";

export type Records<T> = Pick<RecordStore<T>, "newest">;

/** All that status says but what only the process knows, and but the metrics. */
export type RunningServer = Omit<ServerStatus, "pid" | "lostRecords" | "metrics" | "configuration">;

export interface ReadModel {
  readonly clock: Pick<Clock, "now" | "wall">;
  status(): RunningServer;
  /** An administrator's word that no session may begin; null: none. */
  maintenance(): string | null;
  live(): readonly LiveView[];
  waiting(): readonly WaitingView[];
  /** Agents with a control channel now or before. */
  agents(): readonly AgentChannel[];
  readonly events: Records<EventRecord>;
  readonly history: Records<SessionRecord>;
  readonly snapshots: Records<ActiveSnapshot>;
  readonly series: Pick<SessionSeries, "of" | "rates" | "traffic">;
  readonly scans: Pick<
    StorageScans,
    "archives" | "archivesOf" | "isAwaited" | "isWhole" | "scanOf" | "failureOf" | "samplesOf" | "complete"
  >;
  certificates(): readonly CertificateRow[];
  config(): ConfigAnswer;
  metrics(): readonly Metric[];
}

export interface ArchivePlace {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  readonly archive: string;
}

/** A file out of an archive, on its way. */
export interface Download {
  /** Last part of the path, for people. */
  readonly name: string;
  /** For people. */
  readonly path: string;
  readonly bytes: number;
  readonly body: ReadableStream<Uint8Array>;
}

/** `after`: the key of the last one that was given; null: from the first. */
export interface PageWanted {
  readonly limit: number;
  readonly after: string | null;
}

/** Looks into archives. All reject with Failure. */
export interface ArchiveBrowser {
  directory(place: ArchivePlace, key: string | null, page: PageWanted): Promise<Omit<TreeAnswer, "archive" | "total">>;
  find(
    places: readonly ArchivePlace[],
    pattern: string,
    page: PageWanted,
  ): Promise<{
    readonly rows: readonly Omit<FoundFile, "agent" | "backup">[];
    readonly next: string | null;
    readonly archiveCount: number;
    readonly failures: readonly string[];
  }>;
  file(query: DownloadQuery, signal: AbortSignal): Promise<Download>;
}

/** For events of the page's own: a download, a refused address, a wrong password. */
export type EmitEvent = (event: ObservedEvent) => void;
