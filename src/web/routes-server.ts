/** Routes about the server as a whole: health, overview, agents, storages. */
import { forecastOf } from "#observe/forecast.ts";
import type { EventRecord } from "#observe/records.ts";
import type { StorageView } from "#observe/views.ts";
import type { BackupRow, BackupState, StorageRow, StorageScanView, StoragesAnswer } from "./api-archives.ts";
import type { AgentRow, AgentsAnswer, HealthAnswer, OverviewAnswer, ServerNumbers } from "./api-types.ts";
import { worstOf } from "./backup-rows.ts";
import { backupSummary } from "./backup-summary.ts";
import type { Forgetting } from "./forgetting.ts";
import { badRequest } from "./http.ts";
import { checkKnown, listOf, nameFilter, pageOfList } from "./paging.ts";
import type { ReadModel, RunningServer } from "./read-model.ts";

const STATES: readonly BackupState[] = ["failing", "late", "never", "unknown", "ok"];
const RECENT_EVENTS = 20;
/** Of those, so many of level warn and error come first. */
const RECENT_TROUBLES = 10;
const FREE_POINTS_MAX = 200;
/** Rows are made from thousands of records: for that long who asks gets the same. */
const ROWS_KEPT_MS = 2_000;

export class ServerRoutes {
  readonly #model: ReadModel;
  readonly #forgetting: Forgetting;
  #rows: { readonly atMs: number; readonly rows: readonly BackupRow[] } | undefined;

  constructor(model: ReadModel, forgetting: Forgetting) {
    this.#model = model;
    this.#forgetting = forgetting;
  }

  /** Kept for a moment; `forget` when something has changed. */
  backups(): readonly BackupRow[] {
    const { clock, scans, history } = this.#model;
    const nowMs = clock.now();
    if (this.#rows === undefined || nowMs - this.#rows.atMs > ROWS_KEPT_MS) {
      const rows = this.#forgetting.rows({
        nowWallMs: clock.wall(),
        archives: scans.archives(),
        history: history.newest(Number.MAX_SAFE_INTEGER),
        agents: this.#model.agents(),
        running: this.#model.live().map(({ view }) => view),
        isWhole: (storage) => scans.isWhole(storage),
      });
      this.#rows = { atMs: nowMs, rows };
    }
    return this.#rows.rows;
  }

  forget(): void {
    this.#rows = undefined;
  }

  /** Why is for who has given the password: it names storages and paths. */
  health(trusted: boolean): HealthAnswer {
    const status = this.#model.status();
    const { software, boot, uptimeMs, storages, sessionCount, sessionsMax, waitingCount, stopping } = status;
    const maintenance = this.#model.maintenance();
    const troubled = storages.filter(({ state }) => state === "low" || state === "failed");
    const reasons = troubled.map(({ name, state, message }) => `storage ${name}: ${message ?? state}`);
    const isBusy = sessionCount >= sessionsMax || waitingCount > 0;
    if (maintenance !== null) reasons.unshift(maintenance);
    if (stopping) reasons.unshift("the server stops");
    const state =
      maintenance !== null || stopping ? "MAINTENANCE" : troubled.length > 0 ? "LOW DISK" : isBusy ? "BUSY" : "READY";
    const told = trusted ? reasons : [];
    return { state, reasons: told, software, boot, uptimeMs, nowWallMs: this.#model.clock.wall() };
  }

  overview(): OverviewAnswer {
    const { clock, scans, series } = this.#model;
    const status = this.#model.status();
    const backups = this.backups();
    const counts: Record<BackupState, number> = { ok: 0, late: 0, failing: 0, never: 0, unknown: 0 };
    for (const { state } of backups) counts[state] += 1;
    return {
      ...{ nowWallMs: clock.wall(), software: status.software, boot: status.boot },
      ...{ server: serverNumbers(status, this.#model), counts, scanning: !scans.complete },
      ...{ traffic: series.traffic, storages: this.#storages(status), events: this.#recentEvents() },
      ...{ backups: backups.map(backupSummary), certificates: this.#model.certificates() },
    };
  }

  agents(query: URLSearchParams): AgentsAnswer {
    checkKnown(query, ["agent", "state", "limit", "after"]);
    const states = listOf(query, "state");
    const unknown = states?.find((state) => !STATES.some((known) => known === state));
    if (unknown !== undefined) throw badRequest(`state is one of ${STATES.join(", ")}`);
    const rows = this.#agents();
    const isNamed = nameFilter(query, rows, { agent: ({ agent }) => agent });
    const meant = rows.filter((row) => isNamed(row) && (states === undefined || states.includes(row.state)));
    return { nowWallMs: this.#model.clock.wall(), ...pageOfList(meant, query, ({ agent }) => agent) };
  }

  #agents(): readonly AgentRow[] {
    const { clock } = this.#model;
    const channels = new Map(this.#model.agents().map((channel) => [channel.agent, channel]));
    const live = this.#model.live().map(({ view }) => view);
    const waiting = this.#model.waiting();
    const backups = Map.groupBy(this.backups(), ({ agent }) => agent);
    const names = new Set([...backups.keys(), ...channels.keys(), ...live.map(({ agent }) => agent)]);
    for (const { agent } of waiting) names.add(agent);
    const nowWallMs = clock.wall();
    return [...names].sort().map((agent): AgentRow => {
      const own = backups.get(agent) ?? [];
      const channel = channels.get(agent) ?? null;
      const running = live.filter((view) => view.agent === agent);
      const isHere = running.length > 0 || channel?.connected === true;
      const lastEnds = own.map(({ lastEndWallMs, lastSuccessWallMs }) =>
        Math.max(lastEndWallMs ?? 0, lastSuccessWallMs ?? 0),
      );
      const lastSeen = isHere ? nowWallMs : Math.max(channel?.sinceWallMs ?? 0, ...lastEnds);
      const addresses = new Set([...running.flatMap(({ connections }) => connections.map(withoutPort))]);
      if (channel?.address !== null && channel?.address !== undefined) addresses.add(withoutPort(channel.address));
      return {
        ...{ agent, state: worstOf(own), channel, lastSeenWallMs: lastSeen === 0 ? null : lastSeen },
        ...{ addresses: [...addresses], running: running.map(({ session }) => session) },
        waitingCount: waiting.filter((one) => one.agent === agent).length,
        archiveCount: own.reduce((sum, { archiveCount }) => sum + archiveCount, 0),
        archiveBytes: own.reduce((sum, { archiveBytes }) => sum + archiveBytes, 0),
        backups: own.map(backupSummary),
      };
    });
  }

  storages(query: URLSearchParams): StoragesAnswer {
    checkKnown(query, ["storage", "limit", "after"]);
    const rows = this.#storages(this.#model.status());
    const meant = rows.filter(nameFilter(query, rows, { storage: ({ name }) => name }));
    return { nowWallMs: this.#model.clock.wall(), ...pageOfList(meant, query, ({ name }) => name) };
  }

  #storages({ storages, verifying }: RunningServer): readonly StorageRow[] {
    return storages.map((view) => this.#storage(view, verifying));
  }

  #storage(view: StorageView, verifying: RunningServer["verifying"]): StorageRow {
    const { scans, clock } = this.#model;
    const samples = scans.samplesOf(view.name);
    const nowWallMs = clock.wall();
    const now = view.freeBytes === null ? [] : [{ wallMs: nowWallMs, freeBytes: view.freeBytes }];
    const usableBytes = (view.freeBytes ?? 0) - (view.reserveBytes ?? 0);
    return {
      ...view,
      scan: this.#scanOf(view.name),
      forecast: view.freeBytes === null ? null : forecastOf([...samples, ...now], usableBytes, nowWallMs),
      freeHistory: thinned(samples, FREE_POINTS_MAX).map(({ wallMs, freeBytes: bytes }) => ({ wallMs, bytes })),
      verifying: verifying?.storage === view.name ? verifying : null,
    };
  }

  #scanOf(storage: string): StorageScanView | null {
    const { scans } = this.#model;
    const scan = scans.scanOf(storage);
    const failure = scans.failureOf(storage) ?? null;
    if (scan === undefined && failure === null) return null;
    const rows = scans.archivesOf(storage);
    return {
      ...{ atWallMs: scan?.atWallMs ?? 0, durationMs: scan?.durationMs ?? 0, archiveCount: rows.length },
      archiveBytes: rows.reduce((sum, { archiveBytes }) => sum + archiveBytes, 0),
      agentCount: new Set(rows.map(({ agent }) => agent)).size,
      backupCount: new Set(rows.map(({ agent, backup }) => `${agent}/${backup}`)).size,
      damagedCount: rows.filter(({ damage }) => damage !== undefined).length,
      failure,
    };
  }

  #recentEvents(): readonly EventRecord[] {
    const { events } = this.#model;
    const isTrouble = ({ level }: EventRecord): boolean => level === "warn" || level === "error";
    const troubles = events.newest(RECENT_TROUBLES, isTrouble);
    const others = events.newest(RECENT_EVENTS - troubles.length, (event) => !isTrouble(event));
    return [...troubles, ...others];
  }
}

export function serverNumbers(status: RunningServer, { series }: Pick<ReadModel, "series">): ServerNumbers {
  const { uptimeMs, stopping, sessionCount, sessionsMax, waitingCount, connectionCount } = status;
  const { memoryBytes, memoryBytesMax } = status;
  return {
    ...{ uptimeMs, stopping, sessionCount, sessionsMax, waitingCount, connectionCount, memoryBytes, memoryBytesMax },
    ...series.rates,
  };
}

/** At most so many, the last one always. */
function thinned<T>(rows: readonly T[], max: number): readonly T[] {
  const step = Math.ceil(rows.length / max);
  return step <= 1 ? rows : rows.filter((_, index) => (rows.length - 1 - index) % step === 0);
}

function withoutPort(remote: string): string {
  return remote.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}
