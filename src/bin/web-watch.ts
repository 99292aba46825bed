/** What is kept for the page while it is wanted: how sessions go, what storages hold, and the files of both. */
import type { Logger } from "#base/log.ts";
import type { ServerConfig, WebUiConfig } from "#config/types.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { LinesDisk } from "#observe/lines-file.ts";
import { RecordStore } from "#observe/record-store.ts";
import { type ActiveSnapshot, parseActiveSnapshot } from "#observe/session-points.ts";
import { SessionSeries } from "#observe/session-series.ts";
import { parseStorageSample, type StorageSample, StorageScans } from "#observe/storage-scans.ts";
import { ARCHIVES_LISTED_MAX } from "#server/limits.ts";
import type { Server } from "#server/server.ts";
import { systemClock } from "./system.ts";
import { loadPage, type PageFiles } from "./web-page.ts";

/** Looks at storages, for the forecast: a year of one storage at one an hour. */
const STORAGE_SAMPLES_MAX = 10_000;

interface Kept {
  readonly snapshots: RecordStore<ActiveSnapshot>;
  readonly samples: RecordStore<StorageSample>;
  readonly page: PageFiles;
}

export interface WatchOptions {
  readonly server: () => Server | undefined;
  /** Names of those that are configured now. */
  readonly storages: () => readonly string[];
  /** Archives or storages are other than they were. */
  readonly changed: () => void;
  /** A second went by. */
  readonly sampled: () => void;
}

export class WebWatch {
  readonly snapshots: RecordStore<ActiveSnapshot>;
  readonly page: PageFiles;
  readonly series: SessionSeries;
  readonly scans: StorageScans;
  readonly #samples: RecordStore<StorageSample>;
  readonly #sampled: () => void;

  private constructor({ snapshots, samples, page }: Kept, webUi: WebUiConfig, options: WatchOptions) {
    const { server, storages, changed, sampled } = options;
    this.snapshots = snapshots;
    this.page = page;
    this.#samples = samples;
    this.#sampled = sampled;
    this.series = new SessionSeries({
      ...{ clock: systemClock, snapshots, snapshotIntervalMs: webUi.activeSnapshotIntervalMs },
      live: () => server()?.overview.live() ?? [],
    });
    this.scans = new StorageScans({
      ...{ clock: systemClock, samples, intervalMs: webUi.storageScanIntervalMs, storages, changed },
      archivesMax: ARCHIVES_LISTED_MAX,
      list: async (storage) => (await server()?.library.listAll(storage)) ?? [],
      view: (storage) =>
        server()
          ?.overview.running()
          .storages.find(({ name }) => name === storage),
    });
  }

  /** Never rejects: a file that cannot be used costs what stands in it. */
  static async open(
    { server, webUi }: ServerConfig,
    { disk, log }: { readonly disk: LinesDisk; readonly log: Logger },
    options: WatchOptions,
  ): Promise<WebWatch> {
    const common = { disk, clock: systemClock, log };
    const { activeSessionsFile, activeSessionsLinesMax } = webUi;
    const [snapshots, samples, page] = await Promise.all([
      RecordStore.open({
        ...{ ...common, path: activeSessionsFile, linesMax: activeSessionsLinesMax, parse: parseActiveSnapshot },
      }),
      RecordStore.open({
        ...{ ...common, path: `${server.stateDir}/storage-history.jsonl` },
        ...{ linesMax: STORAGE_SAMPLES_MAX, parse: parseStorageSample },
      }),
      loadPage(),
    ]);
    return new WebWatch({ snapshots, samples, page }, webUi, options);
  }

  /** The server's storages are open. */
  start(): void {
    this.series.start(this.#sampled);
    this.scans.start();
  }

  note(event: ObservedEvent): void {
    this.series.note(event);
    this.scans.note(event);
  }

  /** These count from now on; storages may be others, too. */
  use({ activeSnapshotIntervalMs, storageScanIntervalMs }: WebUiConfig): void {
    this.series.use(activeSnapshotIntervalMs);
    this.scans.use(storageScanIntervalMs);
  }

  /** Writes what waits. Never rejects. */
  async stop(): Promise<void> {
    this.series.stop();
    this.scans.stop();
    await Promise.all([this.snapshots.close(), this.#samples.close()]);
  }
}
