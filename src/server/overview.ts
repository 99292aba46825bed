/** What the server is doing now, as the plain values of #observe/views.ts and as gauges. It changes nothing. */
import type { Clock } from "#base/clock.ts";
import type { ServerConfig, StorageConfig } from "#config/types.ts";
import type { LiveView } from "#observe/live-view.ts";
import type { ServerStatus, SessionsView, SessionView, StorageView } from "#observe/views.ts";
import type { AdmissionDesk } from "./admission-desk.ts";
import { liveView } from "./live-view.ts";
import type { BufferView, ChunkBufferView, ServerGauges, ServerMetrics, StorageStaging } from "./server-metrics.ts";
import type { Maintenance } from "./maintenance.ts";
import type { Session } from "./session.ts";
import type { SessionHouse } from "./session-house.ts";
import type { StorageConditions } from "./storage-conditions.ts";
import type { Verifier } from "./verifier.ts";

export interface OverviewOptions {
  /** As it is now: a reload changes it. */
  readonly config: () => Pick<ServerConfig, "server" | "storages">;
  readonly clock: Clock;
  readonly boot: string;
  readonly software: string;
  readonly house: SessionHouse;
  readonly desk: AdmissionDesk;
  readonly conditions: StorageConditions;
  readonly metrics: ServerMetrics;
  readonly chunkBuffer: ChunkBufferView;
  readonly staging: () => readonly StorageStaging[];
  readonly connectionCount: () => number;
  readonly readerCount: () => number;
  readonly stopping: () => boolean;
  readonly maintenance: Pick<Maintenance, "on">;
  readonly verifier: Pick<Verifier, "now" | "countOf" | "memoryBytes">;
}

export class Overview implements ServerGauges {
  readonly #options: OverviewOptions;
  readonly #startedWallMs: number;
  readonly #startedAtMs: number;

  constructor(options: OverviewOptions) {
    this.#options = options;
    this.#startedWallMs = options.clock.wall();
    this.#startedAtMs = options.clock.now();
  }

  sessionCount(): number {
    return this.#options.house.registry.sessionCount;
  }

  waitingCount(): number {
    return this.#options.desk.waitingCount;
  }

  connectionCount(): number {
    return this.#options.connectionCount();
  }

  readerCount(): number {
    return this.#options.readerCount();
  }

  backlogBytes(): number {
    let bytes = 0;
    for (const session of this.#options.house.registry.sessions()) bytes += session.facts.backlogBytes;
    return bytes;
  }

  memory(): BufferView {
    const { house, chunkBuffer, verifier } = this.#options;
    const usedBytes = house.shares.taken.memoryBytes + chunkBuffer.bytesMax + verifier.memoryBytes;
    return { usedBytes, bytesMax: this.#options.config().server.memoryBytesMax };
  }

  verifying(): ReturnType<ServerGauges["verifying"]> {
    const { config, verifier } = this.#options;
    return config().storages.map(({ name }) => ({ storage: name, count: verifier.countOf(name) }));
  }

  chunkBuffer(): ChunkBufferView {
    const { usedBytes, bytesMax, pauses } = this.#options.chunkBuffer;
    return { usedBytes, bytesMax, pauses };
  }

  staging(): readonly StorageStaging[] {
    return this.#options.staging();
  }

  storages(): ReturnType<ServerGauges["storages"]> {
    const { config, conditions } = this.#options;
    return config().storages.map(({ name }) => {
      const { state, space } = conditions.of(name);
      return { name, usable: state !== "failed", space };
    });
  }

  /** All but what the process itself knows. */
  status(): Omit<ServerStatus, "pid" | "lostRecords" | "configuration"> {
    return { ...this.running(), metrics: this.#options.metrics.registry.snapshot() };
  }

  /** The same without the metrics, some of which are made from it. */
  running(): Omit<ServerStatus, "pid" | "lostRecords" | "configuration" | "metrics"> {
    const { clock, boot, software } = this.#options;
    const config = this.#options.config();
    const memory = this.memory();
    return {
      ...{ software, boot, startedWallMs: this.#startedWallMs, uptimeMs: clock.now() - this.#startedAtMs },
      stopping: this.#options.stopping(),
      maintenance: this.#options.maintenance.on,
      ...{ sessionCount: this.sessionCount(), sessionsMax: config.server.sessionsMax },
      ...{ waitingCount: this.waitingCount(), connectionCount: this.connectionCount() },
      ...{ memoryBytes: memory.usedBytes, memoryBytesMax: memory.bytesMax },
      storages: config.storages.map((storage) => this.#storage(storage)),
      verifying: this.#options.verifier.now ?? null,
    };
  }

  sessions(): SessionsView {
    const nowMs = this.#options.clock.now();
    const running = [...this.#options.house.registry.sessions()].map((session) => viewOf(session, nowMs));
    return { running, waiting: this.#options.desk.waiting() };
  }

  /** Sessions as who watches them sees them. */
  live(): readonly LiveView[] {
    const nowMs = this.#options.clock.now();
    const sessions = [...this.#options.house.registry.sessions()];
    return sessions.map((session) => liveView(session, viewOf(session, nowMs)));
  }

  #storage({ name, baseDir, maxBackups }: StorageConfig): StorageView {
    const { state, code, message, sinceWallMs, space } = this.#options.conditions.of(name);
    let sessionCount = 0;
    for (const { plan } of this.#options.house.registry.sessions()) if (plan.storage === name) sessionCount += 1;
    return {
      ...{ name, baseDir, state, code: code ?? null, message: message ?? null, sinceWallMs: sinceWallMs ?? null },
      ...{ totalBytes: space?.totalBytes ?? null, freeBytes: space?.freeBytes ?? null },
      ...{ reserveBytes: space?.reserveBytes ?? null, maxBackups, sessionCount },
      verifyingCount: this.#options.verifier.countOf(name),
    };
  }
}

function viewOf(session: Session, nowMs: number): SessionView {
  const { id, agent, backup, storage, run, startWallMs, parallels, expectedBytes } = session.plan;
  const { totals, durationMs, backlogBytes, stalled } = session.facts;
  const { chunks, bytes, duplicateBytes, damagedChunks, breaks, entries, rawBytes } = totals;
  return {
    ...{ session: id, agent, backup, storage, run, state: session.state, startWallMs, durationMs, parallels },
    connections: session.links().map((link) => link.remoteAddress),
    ...{
      chunks,
      bytes,
      duplicateBytes,
      damagedChunks,
      breaks,
      entries,
      rawBytes,
      expectedBytes,
      backlogBytes,
      stalled,
    },
    slots: session.slots.views(nowMs),
  };
}
