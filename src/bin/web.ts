/**
 * The page's side of the server's process: what it keeps, what it listens on, and how both hear of what happens. Whatever goes wrong here is told
 * and costs the page only: a port that is taken must not cost a night of backups.
 */
import { must } from "#base/assert.ts";
import { settled } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { effectiveServerConfig, type EffectiveRow } from "#config/effective.ts";
import type { ServerConfig } from "#config/types.ts";
import { formatAddress } from "#net/address.ts";
import type { WatchedCertificate } from "#observe/certificate-watch.ts";
import type { EventSink } from "#observe/events.ts";
import type { LinesDisk } from "#observe/lines-file.ts";
import { Metrics } from "#observe/metrics.ts";
import type { Recorder } from "#observe/recorder.ts";
import type { MaintenanceView } from "#observe/views.ts";
import type { Identity } from "#pki/identity.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import { ArchiveDesk } from "#server/archive-desk.ts";
import type { Server } from "#server/server.ts";
import type { ServerMetrics } from "#server/server-metrics.ts";
import { agentChannel } from "#web/agent-channel.ts";
import type { CertificateRow } from "#web/api-types.ts";
import { Forgetting, type GoneKeeper } from "#web/forgetting.ts";
import { watchPage } from "#web/page-metrics.ts";
import type { EmitEvent, ReadModel } from "#web/read-model.ts";
import { WebApp } from "#web/web-app.ts";
import { systemClock } from "./system.ts";
import { archiveBrowser } from "./web-archives.ts";
import { WebDoor } from "./web-door.ts";
import { type PageMaterial, readMaterial } from "./web-files.ts";
import { WebKeys } from "./web-keys.ts";
import { WebWatch } from "./web-watch.ts";

const DAY_MS = 86_400_000;
/** Of the time for an answer, what a search may take. */
const SEARCH_PART = 0.8;
/** A disk that hangs must not hold up a stop, or a reload, for the sake of a list. */
const GONE_LIMIT_MS = 2_000;

/** What the page goes by; a reload brings another one. */
export interface WebSettings {
  readonly config: ServerConfig;
  /** Of the configuration file, as it was read. */
  readonly content: unknown;
  readonly identity: Identity;
  /** Keys that were changed and count from the next start. */
  readonly restartKeys: readonly string[];
}

export interface WebRuntime {
  readonly log: Logger;
  readonly disk: LinesDisk;
  readonly recorder: Recorder;
  readonly metrics: ServerMetrics;
  readonly gone: GoneKeeper;
  readonly spawnBackground: SpawnRestoreThread;
}

export class WebSide {
  readonly #runtime: WebRuntime;
  readonly #keys: WebKeys;
  readonly #door: WebDoor;
  #settings: WebSettings;
  #rows: { readonly readWallMs: number; readonly rows: readonly EffectiveRow[] };
  #server: Server | undefined;
  /** Undefined: the page is not wanted. */
  #watch: WebWatch | undefined;
  #app: WebApp | undefined;
  #forgetting: Forgetting | undefined;
  #certificate: WatchedCertificate | undefined;
  #stopped = false;

  private constructor(runtime: WebRuntime, settings: WebSettings) {
    const { recorder, log } = runtime;
    this.#runtime = runtime;
    this.#settings = settings;
    this.#rows = rowsOf(settings);
    this.#keys = new WebKeys((event) => recorder.emit(event));
    this.#door = new WebDoor({
      ...{ clock: systemClock, timeouts: () => this.#settings.config.webUi },
      handle: (request) => must(this.#app, "the page behind its door").handle(request),
      failed: (error) => log.error("a request for the page failed", { error }),
      brokeOff: (error) => log.warn("an answer of the page broke off", { reason: toFailure(error).message }),
    });
  }

  /** Never rejects. */
  static async open(runtime: WebRuntime, settings: WebSettings): Promise<WebSide> {
    const side = new WebSide(runtime, settings);
    if (settings.config.webUi.enabled) side.#watch = await side.#openWatch();
    return side;
  }

  /** The same sink, whose events the page hears of too. */
  watched(events: EventSink): EventSink {
    return {
      emit: (event) => {
        events.emit(event);
        this.#watch?.note(event);
        const isAgents = /^(?:session\.(?:admitted|recovered)|agent\.)/.test(event.kind);
        if (event.end !== undefined || isAgents) this.#app?.forget();
        if (isAgents) this.#app?.stream.changed("agents");
        if (event.kind.startsWith("storage.")) this.#app?.stream.changed("storages");
      },
    };
  }

  readonly onPhase = (session: string, phase: string): void => this.#watch?.series.phase(session, phase);

  /** Its own certificate; undefined: it has none. */
  get certificate(): WatchedCertificate | undefined {
    return this.#certificate;
  }

  /** The server's storages are open. Never throws: what keeps the page from being there is an event. */
  start(server: Server): void {
    this.#server = server;
    const { config } = this.#settings;
    if (!config.webUi.enabled) return;
    this.#watch?.start();
    try {
      this.#show(readMaterial(config.webUi, this.#runtime.log));
    } catch (error) {
      this.#failed(error);
    }
  }

  /** These count from now on; `material` was read for them. Never rejects: what keeps the page from being there is an event. */
  async reload(settings: WebSettings, material: PageMaterial | undefined): Promise<void> {
    this.#settings = settings;
    this.#rows = rowsOf(settings);
    if (material === undefined) {
      await this.#close();
      return;
    }
    if (this.#watch === undefined) {
      const watch = await this.#openWatch();
      if (this.#stopped) {
        await watch.stop();
        return;
      }
      this.#watch = watch;
      watch.start();
    } else {
      this.#watch.use(settings.config.webUi);
    }
    try {
      this.#show(material);
    } catch (error) {
      this.#failed(error);
    }
    this.#app?.stream.changed("config");
  }

  /** Storages may be others than they were. */
  storagesChanged(): void {
    this.#watch?.scans.scanSoon();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#close();
  }

  async #close(): Promise<void> {
    this.#runtime.recorder.listen(undefined);
    this.#app?.stream.close();
    this.#door.close();
    this.#certificate = undefined;
    this.#app = undefined;
    const watch = this.#watch;
    const forgetting = this.#forgetting;
    this.#watch = undefined;
    this.#forgetting = undefined;
    if (forgetting !== undefined) await settled(systemClock, forgetting.close(), GONE_LIMIT_MS);
    await watch?.stop();
  }

  #openWatch(): Promise<WebWatch> {
    return WebWatch.open(this.#settings.config, this.#runtime, {
      server: () => this.#server,
      storages: () => this.#settings.config.storages.map(({ name }) => name),
      changed: () => {
        this.#app?.forget();
        this.#app?.stream.changed("archives");
        this.#app?.stream.changed("storages");
      },
      sampled: () => this.#app?.stream.look(),
    });
  }

  /** Throws Failure E_WEB where it cannot be listened; then what was there goes on, by the new rules. */
  #show(material: PageMaterial): void {
    const { webUi } = this.#settings.config;
    const { listen, idleTimeoutMs } = webUi;
    const place = { listen, idleTimeoutMs, tls: material.tls };
    let failure: unknown;
    let moved = false;
    // Rules before the door: nobody comes in by those of before.
    this.#useRules(webUi, material);
    try {
      moved = this.#door.move(place);
    } catch (error) {
      failure = error;
      // The cookie is for TLS alone, or not, by the door that is there.
      if (this.#door.place !== undefined) this.#useRules(webUi, { ...material, tls: this.#door.place.tls });
    }
    const { tls } = this.#door.place ?? {};
    const { tlsCertFile } = webUi;
    const isWatched = tls !== undefined && tlsCertFile !== undefined;
    this.#certificate = isWatched ? { file: tlsCertFile, notAfterMs: tls.notAfterMs } : undefined;
    if (failure !== undefined) throw failure;
    if (!moved) return;
    const fields = { event: "page.started", address: this.#door.address, tls: tls !== undefined };
    this.#runtime.log.info("serving the page", fields);
  }

  #useRules(webUi: ServerConfig["webUi"], material: PageMaterial): void {
    const rules = this.#keys.rules(webUi, material);
    if (this.#app === undefined) this.#app = this.#makeApp(rules);
    else this.#app.use(rules);
  }

  #failed(error: unknown): void {
    const { code, message, hint } = toFailure(error);
    const address = formatAddress(this.#settings.config.webUi.listen);
    const text = `the page cannot be served: ${message}`;
    this.#runtime.recorder.emit({
      ...{ kind: "page.failed", level: "error", message: text, fields: { address, code, hint } },
    });
  }

  #makeApp(rules: ReturnType<WebKeys["rules"]>): WebApp | undefined {
    const { recorder, gone, spawnBackground } = this.#runtime;
    const [server, watch] = [this.#server, this.#watch];
    if (server === undefined || watch === undefined) return undefined;
    const registry = new Metrics();
    const model = this.#model(server, watch, registry);
    // An answer that is not made until then nobody gets any more.
    const searchMsMax = (): number => this.#settings.config.webUi.writeTimeoutMs * SEARCH_PART;
    const desk = new ArchiveDesk({ library: server.library, clock: systemClock, searchMsMax });
    const emit: EmitEvent = (event) => recorder.emit(event);
    const forgetting = new Forgetting(model, emit, gone);
    this.#forgetting = forgetting;
    const app = new WebApp({
      ...{ model, rules, page: watch.page, emit, forgetting },
      browser: archiveBrowser(desk, spawnBackground),
    });
    watchPage({
      ...{ registry, model, backups: () => app.backups(), streamCount: () => app.stream.clientCount },
      residentBytes: () => process.memoryUsage.rss(),
    });
    recorder.listen({ event: (record) => app.stream.event(record), ended: (record) => app.stream.ended(record) });
    return app;
  }

  #model(server: Server, { scans, series, snapshots }: WebWatch, registry: Metrics): ReadModel {
    const { recorder, metrics } = this.#runtime;
    const { overview } = server;
    return {
      ...{ clock: systemClock, scans, series, snapshots },
      ...{ events: recorder.events, history: recorder.history },
      status: () => overview.running(),
      maintenance: () => maintenanceText(overview.running().maintenance),
      live: () => overview.live(),
      waiting: () => overview.sessions().waiting,
      agents: () => server.agents().map(agentChannel),
      certificates: () => certificates(this.#settings.identity, this.#certificate),
      config: () => {
        const { config, restartKeys } = this.#settings;
        return { file: config.configFile, ...this.#rows, restartKeys };
      },
      metrics: () => [...metrics.registry.snapshot(), ...registry.snapshot()],
    };
  }
}

function rowsOf({ config, content }: WebSettings): { readWallMs: number; rows: readonly EffectiveRow[] } {
  return { readWallMs: systemClock.wall(), rows: effectiveServerConfig(content, config) };
}

/** Why no session may begin; null: one may. */
function maintenanceText(on: MaintenanceView | null): string | null {
  return on === null ? null : (on.reason ?? "maintenance");
}

function certificates(
  { notAfterMs, caNotAfterMs }: Identity,
  page: WatchedCertificate | undefined,
): readonly CertificateRow[] {
  const own = page === undefined ? [] : [{ name: "page", notAfterWallMs: page.notAfterMs }];
  const all = [{ name: "server", notAfterWallMs: notAfterMs }, { name: "ca", notAfterWallMs: caNotAfterMs }, ...own];
  const now = systemClock.wall();
  return all.map((one) => ({ ...one, daysLeft: Math.floor((one.notAfterWallMs - now) / DAY_MS) }));
}
