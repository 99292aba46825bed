/** A whole page without a socket: routes over values that a test gives, on a simulated clock, asked like a browser would. */
import type { LiveView } from "#observe/live-view.ts";
import { Metrics } from "#observe/metrics.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { ActiveSnapshot } from "#observe/session-points.ts";
import { SessionSeries } from "#observe/session-series.ts";
import { type ScannedArchive, type StorageSample, StorageScans } from "#observe/storage-scans.ts";
import type { StorageView, WaitingView } from "#observe/views.ts";
import { Access, type AccessSettings } from "#web/access.ts";
import type { AgentChannel } from "#web/api-types.ts";
import type { WebAnswer, WebRequest } from "#web/http.ts";
import { Passwords } from "#web/passwords.ts";
import { Forgetting, type GoneKeeper } from "#web/forgetting.ts";
import type { ArchiveBrowser, ReadModel, RunningServer } from "#web/read-model.ts";
import { type PageFile, WebApp } from "#web/web-app.ts";
import { seededRandom } from "./seeded-random.ts";
import { sessionEnd } from "./session-end.ts";
import { SimClock } from "./sim-clock.ts";

export const PASSWORD = "correct horse battery";

/** Records in memory, newest first, as a RecordStore gives them. */
export class MemoryRecords<T> {
  readonly rows: T[] = [];

  add(row: T): void {
    this.rows.unshift(row);
  }

  newest(limit: number, wanted: (row: T) => boolean = () => true): T[] {
    return this.rows.filter(wanted).slice(0, limit);
  }
}

export interface PageOptions {
  readonly access?: Partial<AccessSettings>;
  /** There is a password, and it is PASSWORD. */
  readonly password?: boolean;
  /** Passwords are looked at when `letChecks` says so. */
  readonly slowChecks?: boolean;
  readonly allowDownload?: boolean;
  readonly browser?: Partial<ArchiveBrowser>;
  readonly gone?: GoneKeeper;
  /** What the wall clock shows at the start. */
  readonly wallMs?: number;
  readonly page?: (path: string) => PageFile | undefined;
}

export class PageKit {
  readonly clock: SimClock;
  readonly events = new MemoryRecords<EventRecord>();
  readonly history = new MemoryRecords<SessionRecord>();
  readonly snapshots = new MemoryRecords<ActiveSnapshot>();
  readonly samples = new MemoryRecords<StorageSample>();
  readonly metrics = new Metrics();
  readonly emitted: ObservedEvent[] = [];
  readonly refused: string[] = [];
  readonly wrong: string[] = [];
  /** What the storages hold at the next scan. */
  archives: ScannedArchive[] = [];
  live: LiveView[] = [];
  waiting: WaitingView[] = [];
  agents: AgentChannel[] = [];
  status: RunningServer = runningServer();
  checks = 0;
  readonly #checksMayGo = Promise.withResolvers<void>();
  readonly series: SessionSeries;
  readonly scans: StorageScans;
  readonly model: ReadModel;
  readonly forgetting: Forgetting;
  readonly app: WebApp;

  constructor(options: PageOptions = {}) {
    this.clock = new SimClock(options.wallMs);
    const { clock, events, history, snapshots, samples } = this;
    this.series = new SessionSeries({ clock, snapshots, snapshotIntervalMs: 60_000, live: () => this.live });
    this.scans = new StorageScans({
      ...{ clock, samples, intervalMs: 3_600_000, archivesMax: 100, changed: () => undefined },
      storages: () => this.status.storages.map(({ name }) => name),
      list: (storage) => Promise.resolve(this.archives.filter((row) => row.storage === storage)),
      view: (storage) => this.status.storages.find(({ name }) => name === storage),
    });
    this.model = {
      ...{ clock, events, history, snapshots, series: this.series, scans: this.scans },
      status: () => this.status,
      maintenance: () => null,
      live: () => this.live,
      waiting: () => this.waiting,
      agents: () => this.agents,
      certificates: () => [{ name: "server", notAfterWallMs: clock.wall() + 86_400_000, daysLeft: 1 }],
      config: () => ({ file: "/etc/nbackup/server.yaml", readWallMs: 0, rows: [], restartKeys: [] }),
      metrics: () => this.metrics.snapshot(),
    };
    if (options.slowChecks !== true) this.letChecks();
    const passwords = options.password === true ? this.#passwords() : undefined;
    const settings = { allowOrigins: ["192.0.2.0/24"], trustedProxies: [], hostNames: ["backup.example.org"] };
    const emit = (event: ObservedEvent): void => void this.emitted.push(event);
    this.forgetting = new Forgetting(this.model, emit, options.gone ?? NOTHING_KEPT);
    this.app = new WebApp({
      model: this.model,
      rules: {
        ...{ passwords, allowDownload: options.allowDownload ?? false },
        access: new Access({ ...settings, ...options.access }, passwords, (address) => void this.refused.push(address)),
      },
      browser: { ...NO_ARCHIVES, ...options.browser },
      ...{ emit, forgetting: this.forgetting },
      page: options.page ?? (() => undefined),
    });
  }

  /** A request; its headers are a browser's on the page itself unless told. */
  ask(target: string, changes: Partial<WebRequest> & { headers?: Record<string, string> } = {}): Promise<WebAnswer> {
    const url = new URL(target, "http://192.0.2.1");
    const headers: Record<string, string> = { host: "192.0.2.1:9848", ...changes.headers };
    return this.app.handle({
      ...{ method: "GET", path: url.pathname, query: url.searchParams, target, peer: "192.0.2.7" },
      ...{ header: (name) => headers[name], body: () => Promise.resolve(""), signal: new AbortController().signal },
      ...changes,
    });
  }

  /** The body of a success. */
  async json<T>(target: string, changes: Parameters<PageKit["ask"]>[1] = {}): Promise<T> {
    const { status, body } = await this.ask(target, changes);
    if (status !== 200 || typeof body !== "string") throw new Error(`${target}: ${status} ${String(body)}`);
    return JSON.parse(body) as T;
  }

  login(password: string, peer = "192.0.2.7"): Promise<WebAnswer> {
    const headers = { "content-type": "application/json" };
    const body = (): Promise<string> => Promise.resolve(JSON.stringify({ password }));
    return this.ask("/api/v1/login", { method: "POST", headers, body, peer });
  }

  letChecks(): void {
    this.#checksMayGo.resolve();
  }

  #passwords(): Passwords {
    return new Passwords({
      ...{ clock: this.clock, random: seededRandom(3), secure: true },
      check: async (password) => {
        this.checks += 1;
        await this.#checksMayGo.promise;
        return password === PASSWORD;
      },
      onWrong: (address) => void this.wrong.push(address),
    });
  }
}

const NOTHING_KEPT: GoneKeeper = { kept: undefined, keep: () => Promise.resolve() };

const NO_ARCHIVES: ArchiveBrowser = {
  directory: () => Promise.reject(new Error("no test gave a directory")),
  find: () => Promise.reject(new Error("no test gave a search")),
  file: () => Promise.reject(new Error("no test gave a file")),
};

export function storageView(fields: Partial<StorageView> = {}): StorageView {
  return {
    ...{ name: "main", baseDir: "/srv/backups", state: "ok", code: null, message: null, sinceWallMs: 0 },
    ...{ totalBytes: 1000, freeBytes: 600, reserveBytes: 50, maxBackups: 3, sessionCount: 0, verifyingCount: 0 },
    ...fields,
  };
}

export function runningServer(fields: Partial<RunningServer> = {}): RunningServer {
  return {
    ...{ software: "nbackup-server 0.0.0", boot: "b", startedWallMs: 0, uptimeMs: 1, stopping: false },
    ...{ sessionCount: 0, sessionsMax: 32, waitingCount: 0, connectionCount: 0, memoryBytes: 0, memoryBytesMax: 1 },
    ...{ storages: [storageView()], verifying: null, maintenance: null },
    ...fields,
  };
}

/** Of an agent that is connected and has said nothing of its one entry yet. */
export function agentChannel(fields: Partial<AgentChannel>): AgentChannel {
  return {
    ...{ agent: "web-1", connected: true, lost: false, sinceWallMs: 5, address: null, software: null, rttMs: 3 },
    ...{ rttDeviationMs: 1, uptimeMs: 1, cpuPercent: null, machineCpuPercent: null, residentBytes: null },
    ...{ load: null, freeBytes: null, backupCount: 1 },
    backups: [
      {
        ...{ backup: "home", storage: "main", activity: "idle", session: null, phase: null },
        ...{ nextWallMs: null, autoscaler: null, lastResult: null, lastWallMs: null, lastSuccessWallMs: null },
      },
    ],
    ...fields,
  };
}

export function endRecord(fields: Partial<SessionRecord> = {}): SessionRecord {
  return { ...sessionEnd(), endWallMs: 1500, repeats: 0, ...fields };
}

export function eventRecord(fields: Partial<EventRecord> = {}): EventRecord {
  return { wallMs: 0, kind: "session.committed", level: "info", message: "committed", fields: {}, ...fields };
}

export function scannedArchive(fields: Partial<ScannedArchive> = {}): ScannedArchive {
  return {
    ...{ storage: "main", agent: "web-1", backup: "home", name: "2026-01-01T00-00-00-000Z.tar.gz" },
    ...{ timeMs: Date.UTC(2026, 0, 1), archiveBytes: 300, entries: undefined, rawBytes: undefined },
    ...{ durationMs: undefined, problems: undefined, sha256: "ab", hasIndex: true, damage: undefined },
    ...fields,
  };
}

export function liveView(bytes = 0, fields: Partial<LiveView> = {}): LiveView {
  return {
    view: {
      ...{ session: "0a", agent: "web-1", backup: "home", storage: "main", run: "r", state: "receiving" },
      ...{ startWallMs: 0, durationMs: 0, parallels: 1, connections: ["192.0.2.9:4000"], chunks: 1, bytes },
      ...{ duplicateBytes: 0, damagedChunks: 0, breaks: 0, entries: 1, rawBytes: 2 * bytes, expectedBytes: 0 },
      ...{ backlogBytes: 0, stalled: false, slots: [] },
    },
    ...{ phase: "receiving", phaseDone: null, phaseTotal: null, windowBytes: 1000, durableBytes: 0, lastRawBytes: 0 },
    slots: [
      {
        ...{ slot: 0, state: "receiving", generation: 1, bytes, bytesPerSecond: null, chunks: 1 },
        ...{ duplicateChunks: 0, reconnects: 0, rotations: 0, rttMs: 12, parked: false },
      },
    ],
    ...fields,
  };
}
