/**
 * The server put together: storages, admission, sessions, the door, and how it all stops. Connections come from outside
 * through `accept`; sockets, signals and processes are src/bin's.
 */
import { settled, sleep, type Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { uuid } from "#base/random.ts";
import type { Connection } from "#net/connection.ts";
import type { EventSink } from "#observe/events.ts";
import type { AgentView } from "#observe/agent-views.ts";
import { HEALTH_STORAGES_MAX } from "#wire/limits.ts";
import { Admin } from "./admin.ts";
import { AdmissionDesk } from "./admission-desk.ts";
import { adoptSessions } from "./adoption.ts";
import { agentAllowed } from "./agent-globs.ts";
import { ControlHub, type ServerFacts } from "./control-hub.ts";
import { FlowWatch } from "./flow-watch.ts";
import { HealthDesk } from "./health-desk.ts";
import { CONTROL_LOST_GRACE_MS, LINGER_MS, SHUTDOWN_RETRY_MS, STORAGES_START_MS, SUSPEND_MS } from "./limits.ts";
import { Maintenance, type MaintenanceMemory } from "./maintenance.ts";
import { Orchestration } from "./orchestration.ts";
import { Overview } from "./overview.ts";
import { ReadDesk } from "./read-desk.ts";
import type { ReadLibrary } from "./read-library.ts";
import { Reception } from "./reception.ts";
import { RenewalDesk } from "./renewal-desk.ts";
import { RevocationGuard } from "./revocation-guard.ts";
import { Revocations } from "./revocations.ts";
import { type ChunkBufferView, ServerMetrics } from "./server-metrics.ts";
import type { ServerOptions, ServerRules, ServerView } from "./server-options.ts";
import { archivesRemoved } from "./session-ends.ts";
import { SessionDoor } from "./session-door.ts";
import { SessionHouse } from "./session-house.ts";
import { everyMinute, everyStream } from "./stats-line.ts";
import { StorageConditions } from "./storage-conditions.ts";
import { StorageShelf } from "./storage-shelf.ts";
import { StorageWatch } from "./storage-watch.ts";
import { Scrubber } from "./scrubber.ts";
import { Verifier } from "./verifier.ts";
import { VerifyWait } from "./verify-wait.ts";

const FORGETFUL: MaintenanceMemory = { kept: null, keep: () => Promise.resolve() };
const NO_BUFFER: ChunkBufferView = { usedBytes: 0, bytesMax: 0, pauses: 0 };

export class Server {
  /** UUID of this start. */
  readonly boot: string;
  /** For whoever may steer the server. */
  readonly admin: Admin;
  readonly #options: ServerOptions;
  /** As it was read last. */
  #config: ServerRules;
  readonly #house: SessionHouse;
  readonly #storages: StorageShelf;
  readonly #conditions: StorageConditions;
  readonly #watch: StorageWatch;
  readonly #metrics: ServerMetrics;
  readonly #overview: Overview;
  readonly #verifier: Verifier;
  readonly #scrubber: Scrubber;
  readonly #maintenance: Maintenance;
  readonly #flows: FlowWatch;
  #statsTimer: Timer | undefined;
  #streamsTimer: Timer | undefined;
  readonly #desk: AdmissionDesk;
  readonly #reads: ReadDesk;
  readonly #control: ControlHub;
  readonly #renewals: RenewalDesk;
  readonly #reception: Reception;
  /** Ends the wait for running sessions. */
  readonly #hurry = new AbortController();
  #stopping: Promise<void> | undefined;
  /** What everyone hears, once it stops. */
  #goodbye: Failure | undefined;

  constructor(options: ServerOptions) {
    const { clock, random, software } = options;
    this.#options = options;
    this.#config = options.config;
    const rules = (): ServerRules["server"] => this.#config.server;
    this.boot = uuid(random);
    const { diskKey, chunkBuffer = NO_BUFFER } = options;
    this.#metrics = options.metrics ?? new ServerMetrics();
    this.#conditions = new StorageConditions(clock, options.events);
    const events = this.#observed();
    this.#maintenance = new Maintenance(options.maintenance ?? FORGETFUL, clock, events);
    this.#house = new SessionHouse({
      ...{ clock, events, boot: this.boot, software, metrics: this.#metrics },
      get idleTimeoutMs(): number {
        return rules().sessionIdleTimeoutMs;
      },
      ...(options.onPhase === undefined ? {} : { onPhase: options.onPhase }),
    });
    const { revocations = new Revocations() } = options;
    const guard = new RevocationGuard({
      ...{ revocations, clock, events, registry: this.#house.registry },
      linksOf: (agent) => this.#reception.linksOf(agent),
      known: (agent) => options.register?.known(agent) ?? true,
    });
    const adoption = { house: this.#house, events, diskKey, stopping: () => this.#goodbye };
    this.#storages = new StorageShelf({
      ...{ configs: options.config.storages, open: options.openStorage, known: options.knownStorages, clock, events },
      configure: options.configureStorage ?? (() => undefined),
      leave: (name) => this.#verifier.leave(name),
      adopt: async (storage, storageConfig, anew) => {
        // First: who comes back for a result while sessions are still being taken over is to find that it is awaited.
        this.#verifier.opened(storage, anew);
        await adoptSessions(adoption, storage, storageConfig);
        guard.sweep();
      },
    });
    const storages = this.#storages;
    this.#verifier = new Verifier({
      ...{ storages, clock, events, metrics: this.#metrics, verify: options.verifyArchive, diskKey },
      busy: () => this.#house.registry.sessionCount > 0,
      onRoom: () => this.#house.onRoom(),
    });
    this.#scrubber = new Scrubber({
      ...{ storages, verifier: this.#verifier, clock, events },
      configs: () => this.#config.storages,
    });
    const verifyWait = new VerifyWait({ verifier: this.#verifier, storages });
    this.#house.onCommitted = ({ main, plan }, answer) => {
      if (answer.verify === "none") return;
      this.#verifier.committed(plan.storage, answer.session, answer.archive);
      if (main !== undefined) verifyWait.take(main, plan.agent, answer);
    };
    const verifier = this.#verifier;
    this.#watch = new StorageWatch({ shelf: this.#storages, conditions: this.#conditions, clock });
    this.#desk = new AdmissionDesk({
      limits: {
        get sessionsMax(): number {
          return rules().sessionsMax;
        },
        get memoryBytesMax(): number {
          return rules().memoryBytesMax - chunkBuffer.bytesMax - verifier.memoryBytes;
        },
      },
      ...{ storages: this.#storages, house: this.#house, clock, random, events, diskKey },
      deferral: () => this.#maintenance.deferral(),
    });
    this.#flows = new FlowWatch({
      clock,
      sessions: () => this.#house.registry.sessions(),
      rotation: options.config.flowRotation,
    });
    const door = { registry: this.#house.registry, storages, verifyWait, events, boot: this.boot, software };
    const pump = this.#house.onRoom;
    this.#house.onRoom = () => {
      pump();
      void storages.closeRetired();
    };
    this.#reads = new ReadDesk({
      ...{ clock, events, storages, metrics: this.#metrics, openStock: options.openStock },
    });
    const { issuer = () => undefined, register, successions = () => [] } = options;
    const renewals = new RenewalDesk({ clock, events, revocations, issuer, register });
    this.#renewals = renewals;
    this.#control = new ControlHub({
      ...{ clock, events, renewals, successions, facts: (agent) => this.#factsFor(agent) },
      hasSession: (agent) => [...this.#house.registry.sessions()].some(({ plan }) => plan.agent === agent),
      lostGraceMs: () => this.#config.controlLostGracePeriodMs ?? CONTROL_LOST_GRACE_MS,
    });
    this.#metrics.watchAgents(this.#control);
    this.#reception = new Reception({
      control: this.#control,
      clock,
      events,
      reads: this.#reads,
      boot: this.boot,
      software,
      desk: this.#desk,
      sessions: new SessionDoor(door),
      judge: (peer) => revocations.check(peer),
      seen: (peer) => options.register?.seen(peer.commonName, peer),
      health: new HealthDesk({
        clock,
        storages: this.#storages,
        conditions: this.#conditions,
        maintenance: () => this.#maintenance.on !== null,
        certificateNotAfterMs: () => options.certificateNotAfterMs?.(),
        sessions: () => {
          const { sessionCount: running, waitingCount: waiting } = this.view();
          return { running, waiting, max: rules().sessionsMax };
        },
      }),
    });
    this.#overview = new Overview({
      config: () => this.#config,
      ...{ clock, boot: this.boot, software, house: this.#house, desk: this.#desk },
      ...{ conditions: this.#conditions, metrics: this.#metrics, chunkBuffer },
      staging: () => [...this.#storages.opened()].map(({ name, staging }) => ({ storage: name, ...staging })),
      connectionCount: () => this.#reception.connectionCount,
      readerCount: () => this.#reads.connectionCount,
      stopping: () => this.#stopping !== undefined,
      maintenance: this.#maintenance,
      verifier: this.#verifier,
    });
    this.#metrics.watch(this.#overview);
    this.admin = new Admin({
      ...{ overview: this.#overview, registry: this.#house.registry, storages: this.#storages },
      unseen: () => options.register?.unseen() ?? [],
      revoke: (agent, atMs, certificates) => guard.revoke(agent, atMs, certificates),
      ...{ metrics: this.#metrics, events, verifier: this.#verifier, control: this.#control },
      orders: new Orchestration({
        ...{ clock, registry: this.#house.registry, maintenance: this.#maintenance, desk: this.#desk },
      }),
    });
  }

  /**
   * Opens the storages; one that cannot be opened is an event, one that takes its time is opened later. Never rejects.
   * Connections may come afterwards.
   */
  async start(): Promise<void> {
    await this.#waitFor(this.#storages.openAll(), STORAGES_START_MS);
    if (this.#stopping !== undefined) return;
    const { clock, log } = this.#options;
    this.#watch.start();
    this.#scrubber.start();
    const { registry } = this.#house;
    const { streamStats = () => false } = this.#options;
    this.#flows.start();
    this.#maintenance.remind();
    this.#statsTimer = everyMinute(clock, log, this.#metrics, this.#overview);
    this.#streamsTimer = everyStream(clock, log, registry, streamStats);
  }

  /** A connection whose handshake is done; must be called in the turn in which it came. */
  accept(connection: Connection): void {
    this.#reception.accept(connection);
  }

  /** What runs now, for who shows it. */
  get overview(): Overview {
    return this.#overview;
  }

  /** Those with a control channel, now or before. */
  agents(): AgentView[] {
    return this.#control.agents();
  }

  /** All archives, for who may see all. */
  get library(): ReadLibrary {
    return this.#reads.library;
  }

  /**
   * These rules count from now on, for whatever begins from now on; sessions that run are not touched. The directory of a
   * storage's name must be the same. Resolves when storages that are new were tried. Never rejects.
   */
  async reload(config: ServerRules): Promise<void> {
    if (this.#stopping !== undefined) return;
    this.#config = config;
    this.#flows.use(config.flowRotation);
    // A disk that hangs may not hold up what comes next.
    const opened = this.#storages.reload(config.storages);
    this.#house.onRoom();
    await this.#waitFor(opened, STORAGES_START_MS);
  }

  view(): ServerView {
    return {
      sessionCount: this.#house.registry.sessionCount,
      waitingCount: this.#desk.waitingCount,
      connectionCount: this.#reception.connectionCount,
      verifyingCount: this.#verifier.count,
      chunkBuffer: this.#overview.chunkBuffer(),
      staging: this.#overview.staging(),
    };
  }

  /**
   * Stops: nobody is admitted any more, running sessions may finish (and their connections come back) for
   * shutdown_timeout, then they are left on the disk for the next start, which a disk that hangs may not hold up for long.
   * Resolves when all is closed that can be; never rejects. Called again it waits for no session to finish any more.
   */
  shutdown(): Promise<void> {
    if (this.#stopping !== undefined) this.#hurry.abort();
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** What an agent hears in each Pong of its control connection. */
  #factsFor(agent: string): ServerFacts {
    const { machineLoad } = this.#options;
    const config = this.#config;
    const { sessionCount: running, waitingCount: waiting } = this.view();
    const allowed = config.storages.filter(({ allowAgents }) => agentAllowed(allowAgents, agent));
    return {
      ...machineLoad?.(),
      sessions: { running, max: config.server.sessionsMax, waiting },
      storages: allowed.slice(0, HEALTH_STORAGES_MAX).map(({ name }) => {
        const freeBytes = this.#conditions.of(name).space?.freeBytes;
        return freeBytes === undefined ? { name } : { name, freeBytes };
      }),
      storageCount: allowed.length,
      maintenance: this.#maintenance.on !== null,
      ...(this.#renewals.renews ? { renews: true } : {}),
    };
  }

  /** Every event of the server is counted, tells how storages are, and then goes where events go. */
  #observed(): EventSink {
    return {
      emit: (event) => {
        this.#metrics.note(event);
        this.#conditions.emit(event);
        if (event.end === undefined || event.end.removed.length === 0) return;
        this.#conditions.emit(archivesRemoved("rotation", event.end, event.end.removed));
      },
    };
  }

  async #stop(): Promise<void> {
    const failure = new Failure("E_SHUTDOWN", "the server is stopping", { retryAfterMs: SHUTDOWN_RETRY_MS });
    this.#goodbye = failure;
    this.#watch.stop();
    this.#scrubber.stop();
    this.#flows.stop();
    const verifierStopped = this.#verifier.stop();
    this.#statsTimer?.cancel();
    this.#streamsTimer?.cancel();
    this.#desk.close(failure);
    this.#control.close(failure);
    // Agents that read go on after the next start by themselves; nobody waits for hours of a restore.
    const readsClosed = this.#reads.close(failure);
    // Nobody sends for those without a connection: they go on after the next start.
    for (const session of this.#house.registry.sessions()) {
      if (session.state === "parked") void session.suspend(failure);
    }
    const idle = this.#house.idle();
    await this.#waitFor(idle, this.#config.server.shutdownTimeoutMs);
    for (const session of this.#house.registry.sessions()) void session.suspend(failure);
    // Those that were just being opened are refused, and have cleaned up when the house is idle.
    await settled(this.#options.clock, idle, SUSPEND_MS);
    const hanging = this.#house.shares.storages;
    for (const session of [...this.#house.registry.sessions()]) session.abandon(failure);
    await this.#waitFor(this.#reception.close(failure), LINGER_MS);
    // A disk that hangs keeps its files open, and must not keep the server.
    await this.#waitFor(readsClosed, LINGER_MS);
    this.#reception.destroy();
    await settled(this.#options.clock, verifierStopped, SUSPEND_MS);
    await this.#storages.close(hanging);
    // The start may still wait for a storage that was never opened.
    this.#hurry.abort();
  }

  /** Until it is done, the time has passed, or somebody is in a hurry. */
  async #waitFor(done: Promise<void>, limitMs: number): Promise<void> {
    if (this.#hurry.signal.aborted) return;
    const timeUp = new AbortController();
    const stop = (): void => timeUp.abort();
    this.#hurry.signal.addEventListener("abort", stop, { once: true });
    void done.then(stop);
    await sleep(this.#options.clock, limitMs, timeUp.signal);
    this.#hurry.signal.removeEventListener("abort", stop);
  }
}
