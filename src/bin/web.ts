/**
 * The page's side of the server's process: what it keeps, what it listens on, and how both hear of what happens. Whatever goes wrong here is told
 * and costs the page only: a port that is taken must not cost a night of backups.
 */
import { errnoName, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { effectiveServerConfig } from "#config/effective.ts";
import type { ServerConfig } from "#config/types.ts";
import { formatAddress } from "#net/address.ts";
import type { EventSink } from "#observe/events.ts";
import type { LinesDisk } from "#observe/lines-file.ts";
import type { Recorder } from "#observe/recorder.ts";
import { RecordStore } from "#observe/record-store.ts";
import { type ActiveSnapshot, parseActiveSnapshot } from "#observe/session-points.ts";
import { SessionSeries } from "#observe/session-series.ts";
import { parseStorageSample, type StorageSample, StorageScans } from "#observe/storage-scans.ts";
import type { MaintenanceView } from "#observe/views.ts";
import type { Identity } from "#pki/identity.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import { ArchiveDesk } from "#server/archive-desk.ts";
import type { Server } from "#server/server.ts";
import type { ServerMetrics } from "#server/server-metrics.ts";
import { Access } from "#web/access.ts";
import { agentChannel } from "#web/agent-channel.ts";
import type { CertificateRow } from "#web/api-types.ts";
import { watchPage } from "#web/page-metrics.ts";
import { Passwords } from "#web/passwords.ts";
import type { ReadModel } from "#web/read-model.ts";
import type { LiveStream } from "#web/stream.ts";
import { WebApp } from "#web/web-app.ts";
import { serveWeb, type WebServer } from "#web/web-server.ts";
import { systemClock, systemRandom } from "./system.ts";
import { archiveBrowser } from "./web-archives.ts";
import { hostNamesOf, pageFailure, type PageTls, pageTls, passwordCheck } from "./web-files.ts";
import { loadPage, type PageFiles } from "./web-page.ts";

const DAY_MS = 86_400_000;
/** Looks at storages, for the forecast: a year of one storage at one an hour. */
const STORAGE_SAMPLES_MAX = 10_000;

/** Beside ends of sessions: what makes an open view show another state of a backup, an agent or a storage. */
const CHANGES = /^(?:session\.(?:admitted|recovered)|agent\.|storage\.)/;

export interface WebRuntime {
  readonly config: ServerConfig;
  /** Of the configuration file, as it was read. */
  readonly content: unknown;
  readonly identity: Identity;
  readonly log: Logger;
  readonly disk: LinesDisk;
  readonly recorder: Recorder;
  readonly metrics: ServerMetrics;
  readonly spawnBackground: SpawnRestoreThread;
}

/** Files that outlive the process, opened before there is a server. */
interface Kept {
  readonly snapshots: RecordStore<ActiveSnapshot>;
  readonly samples: RecordStore<StorageSample>;
  readonly page: PageFiles;
}

export class WebSide {
  readonly #runtime: WebRuntime;
  readonly #kept: Kept;
  readonly #series: SessionSeries;
  #server: Server | undefined;
  #scans: StorageScans | undefined;
  #app: WebApp | undefined;
  #http: WebServer | undefined;

  private constructor(runtime: WebRuntime, kept: Kept) {
    this.#runtime = runtime;
    this.#kept = kept;
    this.#series = new SessionSeries({
      ...{ clock: systemClock, snapshots: kept.snapshots },
      snapshotIntervalMs: runtime.config.webUi.activeSnapshotIntervalMs,
      live: () => this.#server?.overview.live() ?? [],
    });
  }

  /** Undefined when the page is not wanted. Never rejects. */
  static async open(runtime: WebRuntime): Promise<WebSide | undefined> {
    const { config, disk, log } = runtime;
    if (!config.webUi.enabled) return undefined;
    const { activeSessionsFile, activeSessionsLinesMax } = config.webUi;
    const common = { disk, clock: systemClock, log };
    const [snapshots, samples, page] = await Promise.all([
      RecordStore.open({
        ...{ ...common, path: activeSessionsFile, linesMax: activeSessionsLinesMax, parse: parseActiveSnapshot },
      }),
      RecordStore.open({
        ...{ ...common, path: `${config.server.stateDir}/storage-history.jsonl` },
        ...{ linesMax: STORAGE_SAMPLES_MAX, parse: parseStorageSample },
      }),
      loadPage(),
    ]);
    return new WebSide(runtime, { snapshots, samples, page });
  }

  /** The same sink, whose events the page hears of too. */
  watched(events: EventSink): EventSink {
    return {
      emit: (event) => {
        events.emit(event);
        this.#series.note(event);
        this.#scans?.note(event);
        if (event.end !== undefined) this.#app?.forget();
        if (event.end !== undefined || CHANGES.test(event.kind)) this.#changed("overview", "agents", "storages");
      },
    };
  }

  readonly onPhase = (session: string, phase: string): void => this.#series.phase(session, phase);

  /** The server's storages are open. Never throws: what keeps the page from being there is an event. */
  start(server: Server): void {
    this.#server = server;
    const { recorder, config } = this.#runtime;
    const scans = this.#makeScans(server);
    this.#scans = scans;
    this.#series.start(() => this.#app?.stream.look());
    scans.start();
    try {
      this.#listen(server, scans);
    } catch (error) {
      const failure = toFailure(error);
      recorder.emit({
        kind: "page.failed",
        level: "error",
        message: `the page cannot be served: ${failure.message}`,
        fields: { address: formatAddress(config.webUi.listen), code: failure.code, hint: failure.hint },
      });
    }
  }

  async stop(): Promise<void> {
    this.#runtime.recorder.listen(undefined);
    this.#app?.stream.close();
    this.#http?.stop();
    this.#series.stop();
    this.#scans?.stop();
    await Promise.all([this.#kept.snapshots.close(), this.#kept.samples.close()]);
  }

  #makeScans(server: Server): StorageScans {
    const { config } = this.#runtime;
    return new StorageScans({
      ...{ clock: systemClock, samples: this.#kept.samples, intervalMs: config.webUi.storageScanIntervalMs },
      storages: () => config.storages.map(({ name }) => name),
      list: (storage) => server.library.listAll(storage),
      view: (storage) => server.overview.running().storages.find(({ name }) => name === storage),
      changed: () => {
        this.#app?.forget();
        this.#changed("archives", "storages", "overview");
      },
    });
  }

  #changed(...routes: readonly Parameters<LiveStream["changed"]>[0][]): void {
    for (const route of routes) this.#app?.stream.changed(route);
  }

  /** Throws Failure E_WEB. */
  #listen(server: Server, scans: StorageScans): void {
    const { config, log, recorder, metrics, spawnBackground } = this.#runtime;
    const { webUi } = config;
    const tls = pageTls(webUi);
    const passwords = this.#passwords(tls);
    const model = this.#model(server, scans, tls);
    const hostNames = hostNamesOf(webUi, tls);
    const app = new WebApp({
      ...{ model, passwords, allowDownload: webUi.allowDownload, page: this.#kept.page },
      access: new Access({ ...webUi, hostNames }, passwords, (address) => this.#refused(address)),
      browser: archiveBrowser(new ArchiveDesk(server.library), spawnBackground),
      emit: (event) => recorder.emit(event),
    });
    watchPage({
      ...{ registry: metrics.registry, model, backups: () => app.backups(), streamCount: () => app.stream.clientCount },
      residentBytes: () => process.memoryUsage.rss(),
    });
    this.#app = app;
    this.#http = this.#serve(app, tls);
    recorder.listen({ event: (record) => app.stream.event(record), ended: (record) => app.stream.ended(record) });
    const address = formatAddress({ host: webUi.listen.host, port: this.#http.port });
    log.info("serving the page", { event: "page.started", address, tls: tls !== undefined });
  }

  #serve(app: WebApp, tls: PageTls | undefined): WebServer {
    const { config, log } = this.#runtime;
    const { listen } = config.webUi;
    try {
      return serveWeb({
        ...{ listen, tls, clock: systemClock, timeouts: () => config.webUi },
        handle: (request) => app.handle(request),
        failed: (error) => log.error("a request for the page failed", { error }),
      });
    } catch (error) {
      throw pageFailure(`${formatAddress(listen)} cannot be listened on: ${errnoName(error) ?? String(error)}`, error);
    }
  }

  #passwords(tls: PageTls | undefined): Passwords | undefined {
    const { config, log, recorder } = this.#runtime;
    const check = passwordCheck(config.webUi, log);
    if (check === undefined) return undefined;
    return new Passwords({
      ...{ clock: systemClock, random: systemRandom, check, secure: tls !== undefined },
      onWrong: (address, waitMs) =>
        recorder.emit({
          ...{ kind: "page.wrong-password", level: "warn", message: `${address} gave a wrong password for the page` },
          ...{ fields: { address, waitMs }, repeatKey: address },
        }),
    });
  }

  #refused(address: string): void {
    const { recorder } = this.#runtime;
    recorder.emit({
      ...{
        kind: "page.refused",
        level: "warn",
        message: `${address || "an unknown address"} may not look at the page`,
      },
      ...{ fields: { address }, repeatKey: address },
    });
  }

  #model(server: Server, scans: StorageScans, tls: PageTls | undefined): ReadModel {
    const { config, content, identity, recorder, metrics } = this.#runtime;
    const { overview } = server;
    const readWallMs = systemClock.wall();
    const rows = effectiveServerConfig(content, config);
    return {
      ...{ clock: systemClock, scans, series: this.#series, snapshots: this.#kept.snapshots },
      ...{ events: recorder.events, history: recorder.history },
      status: () => overview.running(),
      maintenance: () => maintenanceText(overview.running().maintenance),
      live: () => overview.live(),
      waiting: () => overview.sessions().waiting,
      agents: () => server.agents().map(agentChannel),
      certificates: () => certificates(identity, tls),
      config: () => ({ file: config.configFile, readWallMs, rows }),
      metrics: () => metrics.registry.snapshot(),
    };
  }
}

/** Why no session may begin; null: one may. */
function maintenanceText(on: MaintenanceView | null): string | null {
  return on === null ? null : (on.reason ?? "maintenance");
}

function certificates({ notAfterMs, caNotAfterMs }: Identity, tls: PageTls | undefined): readonly CertificateRow[] {
  const page = tls === undefined ? [] : [{ name: "page", notAfterWallMs: tls.notAfterMs }];
  const all = [{ name: "server", notAfterWallMs: notAfterMs }, { name: "ca", notAfterWallMs: caNotAfterMs }, ...page];
  const now = systemClock.wall();
  return all.map((one) => ({ ...one, daysLeft: Math.floor((one.notAfterWallMs - now) / DAY_MS) }));
}
