/** Gauges of what the page knows: how backups stand, what storages hold, windows, times of answers, certificates. Asked when somebody looks. */
import type { Metrics, Sample } from "#observe/metrics.ts";
import type { BackupRow } from "./api-archives.ts";
import type { ReadModel } from "./read-model.ts";

export interface PageMetricsOptions {
  readonly registry: Metrics;
  readonly model: ReadModel;
  readonly backups: () => readonly BackupRow[];
  readonly streamCount: () => number;
  readonly residentBytes: () => number;
}

/** Once. */
export function watchPage({ registry, model, backups, streamCount, residentBytes }: PageMetricsOptions): void {
  const perBackup = (value: (row: BackupRow) => number | null) => (): Sample[] =>
    backups().flatMap((row) => {
      const found = value(row);
      const { agent, backup, storage } = row;
      return found === null ? [] : [{ labels: { agent, backup, storage }, value: found }];
    });
  registry.gauge(
    "nbackup_last_success_timestamp_seconds",
    "When a backup last succeeded, with or without warnings; 0: never, or its archives are gone",
    // After a start an archive may show of what the history no longer knows that it succeeded.
    perBackup(({ lastSuccessWallMs, storage }) => {
      return lastSuccessWallMs === null && model.scans.isAwaited(storage) ? null : (lastSuccessWallMs ?? 0) / 1000;
    }),
  );
  registry.gauge(
    "nbackup_last_warnings",
    "Source files that the last archive does not have as they were",
    perBackup(({ lastWarnings }) => lastWarnings),
  );
  registry.gauge(
    "nbackup_last_archive_bytes",
    "Size of the newest archive",
    perBackup(({ lastBytes }) => lastBytes),
  );
  registry.gauge(
    "nbackup_last_duration_seconds",
    "Time that the last success took",
    perBackup(({ lastDurationMs }) => (lastDurationMs === null ? null : lastDurationMs / 1000)),
  );
  registry.gauge(
    "nbackup_backup_archives",
    "Archives of a backup that are in its storage; missing while that was not looked at wholly",
    // A look that failed or ended early tells of nothing that it is gone.
    perBackup(({ archiveCount, storage }) => (model.scans.isWhole(storage) ? archiveCount : null)),
  );
  watchStorages(registry, model);
  watchSessions(registry, model);
  registry.gauge("nbackup_certificate_end_timestamp_seconds", "When a certificate ends", () =>
    model.certificates().map(({ name, notAfterWallMs }) => {
      return { labels: { certificate: name }, value: Math.floor(notAfterWallMs / 1000) };
    }),
  );
  registry.gauge("nbackup_page_streams", "Pages that follow the live stream", streamCount);
  registry.gauge("process_resident_memory_bytes", "Memory of the process", residentBytes);
}

function watchStorages(registry: Metrics, model: ReadModel): void {
  const perStorage = (value: (storage: string) => number | undefined) => (): Sample[] =>
    model.status().storages.flatMap(({ name: storage }) => {
      const found = value(storage);
      return found === undefined ? [] : [{ labels: { storage }, value: found }];
    });
  const { scans } = model;
  const looked = (storage: string): readonly { readonly archiveBytes: number }[] | undefined =>
    scans.scanOf(storage) === undefined ? undefined : scans.archivesOf(storage);
  registry.gauge(
    "nbackup_storage_archives",
    "Archives in a storage",
    perStorage((storage) => looked(storage)?.length),
  );
  registry.gauge(
    "nbackup_storage_archive_bytes",
    "Bytes of archives in a storage",
    perStorage((storage) => looked(storage)?.reduce((sum, { archiveBytes }) => sum + archiveBytes, 0)),
  );
}

function watchSessions(registry: Metrics, model: ReadModel): void {
  const sum = (value: (live: ReturnType<ReadModel["live"]>[number]) => number) => (): number =>
    model.live().reduce((total, live) => total + value(live), 0);
  registry.gauge(
    "nbackup_window_bytes",
    "Windows of sessions that run",
    sum(({ windowBytes }) => windowBytes),
  );
  registry.gauge(
    "nbackup_window_used_bytes",
    "Bytes received and not yet durable",
    sum(({ view, durableBytes }) => Math.max(0, view.bytes - durableBytes)),
  );
  registry.gauge("nbackup_streams", "Connections that carry data", () =>
    model.live().reduce((n, { slots }) => n + slots.filter(({ state }) => state === "receiving").length, 0),
  );
  registry.gauge("nbackup_rtt_seconds", "Time of an answer on an agent's control channel", () =>
    model.agents().flatMap(({ agent, rttMs, connected }) => {
      return rttMs === null || !connected ? [] : [{ labels: { agent }, value: rttMs / 1000 }];
    }),
  );
}
