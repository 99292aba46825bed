/**
 * Where agents ask for a session: it judges each Begin, keeps one session per agent and backup entry, lets agents wait
 * in line when the server is full, and opens the session when their turn comes. PROTOCOL.md "A session". The rules
 * themselves are in admission.ts.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { type Random, uuid } from "#base/random.ts";
import type { StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import type { WaitingView } from "#observe/views.ts";
import type { SessionRequest } from "#store/session-types.ts";
import { BEGIN_TIMEOUT_MS, SLOTS_MAX } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import { agreeChunkBytes, hasRoom, type RoomLimits } from "./admission.ts";
import { agentAllowed } from "./agent-globs.ts";
import { Applicant, type ApplicantDesk } from "./applicant.ts";
import { DiskRoom, type DiskRoomOptions } from "./disk-room.ts";
import { BUSY_RETRY_MS, LIMIT_RETRY_MS, POSITION_NOTICE_MS, SESSION_MEMORY_BYTES, WAITING_MAX } from "./limits.ts";
import type { Link, LinkOwner } from "./link.ts";
import { anyAlive, disowned, type Occupant, superseded } from "./occupant.ts";
import { applicantEnded } from "./session-ends.ts";
import { rotationHeld, sessionEvent } from "./session-events.ts";
import type { SessionHouse } from "./session-house.ts";
import type { SessionPlan } from "./session-types.ts";
import type { Share } from "./shares.ts";
import type { StorageShelf } from "./storage-shelf.ts";
import { WaitingLine } from "./waiting-line.ts";

export interface AdmissionDeskOptions {
  readonly limits: RoomLimits;
  readonly storages: StorageShelf;
  readonly house: SessionHouse;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventSink;
  readonly diskKey: DiskRoomOptions["diskKey"];
  /** Why nobody is let in for now; undefined: who comes is. */
  readonly deferral: () => Failure | undefined;
}

export class AdmissionDesk implements ApplicantDesk {
  readonly #options: AdmissionDeskOptions;
  readonly #diskRoom: DiskRoom;
  readonly #line = new WaitingLine<Applicant>();
  /** Occupants that are being asked whether they live. */
  readonly #probed = new Set<Occupant>();
  /** Welcomed, and Begin has not come. */
  readonly #silent = new Set<Applicant>();
  /** Begin came, and neither a session nor a refusal yet. */
  readonly #asking = new Set<Applicant>();
  #noticeTimer: Timer | undefined;
  /** Set when the server is stopping. */
  #closed: Failure | undefined;

  constructor(options: AdmissionDeskOptions) {
    this.#options = options;
    const { storages, diskKey, house } = options;
    this.#diskRoom = new DiskRoom({ storages, shares: house.shares, diskKey });
    house.onRoom = () => this.#pump();
  }

  /** Who answers a session connection that has been welcomed and has no session. */
  receive(link: Link, agent: string, run: string): LinkOwner {
    const applicant: Applicant = new Applicant(this, link, agent, run);
    // A server that is stopping closes the connection soon, Begin or not.
    if (this.#closed !== undefined) return applicant;
    this.#silent.add(applicant);
    const timer = this.#options.clock.after(BEGIN_TIMEOUT_MS, () => {
      this.#silent.delete(applicant);
      this.#refuse(applicant, new Failure("E_TIMEOUT", `no begin within ${BEGIN_TIMEOUT_MS} ms`));
    });
    applicant.expectBegin(timer);
    return applicant;
  }

  get waitingCount(): number {
    return this.#line.length;
  }

  /** Who waits in line, the first first. */
  waiting(): readonly WaitingView[] {
    return [...this.#line.positions()].map(([{ agent, request, link }, position]) => {
      const { backup, storage } = request;
      return { agent, backup, storage, remote: link.remoteAddress, position };
    });
  }

  /** From now on everyone is refused, those in line and those who have not asked yet too. */
  close(failure: Failure): void {
    this.#closed = failure;
    this.#noticeTimer?.cancel();
    for (const applicant of this.#silent) applicant.refuse(failure);
    this.#silent.clear();
    for (const [applicant] of [...this.#line.positions()]) this.#refuse(applicant, failure);
  }

  /** Those in line are told to come again later; who asks meanwhile hears what `deferral` says. */
  defer(failure: Failure): void {
    for (const [applicant] of [...this.#line.positions()]) this.#refuse(applicant, failure);
  }

  begin(applicant: Applicant): void {
    this.#silent.delete(applicant);
    this.#asking.add(applicant);
    void this.#apply(applicant);
  }

  disown(applicant: Applicant, disown: Message<"disown">): void {
    this.#silent.delete(applicant);
    const { agent, run } = applicant;
    const { backup } = disown;
    if (backup === undefined) {
      this.#refuse(applicant, new Failure("E_PROTOCOL", "disown came before begin and names no backup"));
      return;
    }
    const reason = disowned(disown);
    for (const asking of this.#asking) {
      if (asking.agent === agent && asking.run === run && asking.request.backup === backup) void asking.end(reason);
    }
    const occupant = this.#options.house.registry.occupant(agent, backup);
    if (occupant?.run === run) void occupant.end(reason);
    applicant.served();
  }

  left(applicant: Applicant, reason: Failure | undefined): void {
    this.#silent.delete(applicant);
    this.#release(applicant);
    const gone = reason ?? new Failure("E_DISCONNECTED", "the agent closed the connection");
    this.#ended(applicant, "left", gone);
  }

  async #apply(applicant: Applicant): Promise<void> {
    try {
      const config = this.#judge(applicant);
      await this.#options.storages.ready(config.name);
      if (applicant.over) return;
      await this.#occupy(applicant);
      if (applicant.over) return;
      // Asked again when its turn comes; but who has no hope need not wait for it.
      await this.#checkDisk(applicant, config);
      if (applicant.over) return;
      this.#join(applicant);
    } catch (error) {
      this.#refuse(applicant, toFailure(error));
    }
  }

  /** What can be said at once. */
  #judge(applicant: Applicant): StorageConfig {
    if (this.#closed !== undefined) throw this.#closed;
    this.#checkDeferral();
    const { request, agent } = applicant;
    const config = this.#configFor(agent, request.storage);
    if (request.parallels > SLOTS_MAX)
      throw new Failure("E_PROTOCOL", `${request.parallels} streams exceed ${SLOTS_MAX}`);
    agreeChunkBytes(request, config.compression.mode);
    return config;
  }

  /** Throws Failure E_STORAGE_UNKNOWN, E_STORAGE_DENIED. */
  #configFor(agent: string, storage: string): StorageConfig {
    const config = this.#options.storages.config(storage);
    if (agentAllowed(config.allowAgents, agent)) return config;
    throw new Failure("E_STORAGE_DENIED", `storage ${config.name} does not take backups of agent ${agent}`);
  }

  /** Makes the entry this applicant's. Throws Failure E_BUSY while somebody holds it who lives, or is on the way back. */
  async #occupy(applicant: Applicant): Promise<void> {
    const { registry } = this.#options.house;
    const { agent, request } = applicant;
    for (;;) {
      const occupant = registry.occupant(agent, request.backup);
      if (occupant === undefined) {
        registry.occupy(agent, request.backup, applicant);
        return;
      }
      // Who is asked already need not be asked twice: the first to ask gets the answer.
      if (occupant.fixed || this.#probed.has(occupant)) throw busy(applicant);
      const reservedMs = occupant.reservedMs(applicant.run);
      if (reservedMs > 0) throw reserved(applicant, reservedMs);
      this.#probed.add(occupant);
      const asked = occupant.links();
      const alive = await anyAlive(asked);
      this.#probed.delete(occupant);
      if (applicant.over) return;
      if (alive || occupant.fixed) throw busy(applicant);
      // Its agent came back on a connection that nobody has asked yet.
      if (occupant.links().some((link) => !asked.includes(link))) continue;
      await occupant.end(superseded(agent, request.backup));
      if (applicant.over) return;
    }
  }

  #checkDeferral(): void {
    const failure = this.#options.deferral();
    if (failure !== undefined) throw failure;
  }

  #join(applicant: Applicant): void {
    if (this.#closed !== undefined) throw this.#closed;
    this.#checkDeferral();
    if (this.#line.length >= WAITING_MAX) {
      throw new Failure("E_LIMIT", `${WAITING_MAX} agents are waiting already`, { retryAfterMs: LIMIT_RETRY_MS });
    }
    const position = this.#line.join(applicant);
    this.#pump();
    if (!this.#line.has(applicant)) return;
    applicant.tell(position);
    const { agent, run, link, request } = applicant;
    this.#options.events.emit({
      kind: "admission.queued",
      level: "info",
      message: "no session is free: an agent waits in line",
      fields: { agent, run, remote: link.remoteAddress, backup: request.backup, storage: request.storage, position },
    });
  }

  /** Lets in whoever is first, as long as there is room. Nobody overtakes. */
  #pump(): void {
    for (let first = this.#line.first(); first !== undefined; first = this.#line.first()) {
      const config = this.#configOf(first);
      if (config === undefined) continue;
      const memoryBytes = SESSION_MEMORY_BYTES + config.assembler.pendingMemBytesMax;
      const { shares } = this.#options.house;
      if (!hasRoom(this.#options.limits, shares.taken, memoryBytes)) break;
      this.#line.leave(first);
      this.#noticeSoon();
      void this.#admit(first, config, shares.take(config.name, memoryBytes));
    }
  }

  /** Undefined when it was refused: a reload took its storage away, or it from the storage, while it stood in line. */
  #configOf(applicant: Applicant): StorageConfig | undefined {
    try {
      return this.#configFor(applicant.agent, applicant.request.storage);
    } catch (error) {
      this.#line.leave(applicant);
      this.#refuse(applicant, toFailure(error));
      return undefined;
    }
  }

  async #admit(applicant: Applicant, config: StorageConfig, share: Share): Promise<void> {
    try {
      await this.#open(applicant, config, share);
    } catch (error) {
      this.#refuse(applicant, toFailure(error));
    }
  }

  /** Opens the session; gives the share back unless a session runs with it in the end. */
  async #open(applicant: Applicant, config: StorageConfig, share: Share): Promise<void> {
    const { house, storages } = this.#options;
    let running = false;
    try {
      const neededBytes = await this.#checkDisk(applicant, config, share);
      if (applicant.over) return;
      // Only now: the check may have opened it anew.
      const storage = await storages.open(config.name);
      if (applicant.over) return;
      const plan = this.#plan(
        applicant,
        config,
        neededBytes,
        storage.lastCommitted(applicant.agent, applicant.request.backup),
      );
      const session = house.make(plan, share);
      const store = await storage.createSession(requestOf(plan, session.generation), session.storeEvents());
      // A server that is stopping has told those who run already, and would wait for this one for ever; so may maintenance have.
      const refusal = this.#closed ?? this.#options.deferral();
      if (applicant.over || refusal !== undefined) {
        const left = new Failure("E_DISCONNECTED", "the agent left while its session was opened");
        await store.abort(refusal ?? left);
        if (refusal !== undefined) throw refusal;
        return;
      }
      running = true;
      this.#asking.delete(applicant);
      applicant.admitted();
      house.registry.admit(applicant, session);
      this.#options.events.emit(
        sessionEvent(plan, "session.admitted", `session begins: ${store.archive}`, {
          remote: applicant.link.remoteAddress,
          parallels: plan.parallels,
          windowBytes: plan.windowBytes,
          chunkBytes: plan.chunkBytes,
          expectedBytes: plan.expectedBytes,
        }),
      );
      if (plan.holdRotation !== undefined) this.#options.events.emit(rotationHeld(plan, plan.holdRotation));
      session.start(store, applicant.link);
    } finally {
      if (!running) house.giveBack(share);
    }
  }

  #checkDisk({ agent, request }: Applicant, config: StorageConfig, share?: Share): Promise<number> {
    const { backup, estimateBytes } = request;
    return this.#diskRoom.check({ agent, backup, estimateBytes }, config, share);
  }

  #plan(
    applicant: Applicant,
    config: StorageConfig,
    neededBytes: number,
    last: { readonly entries: number; readonly rawBytes: number } | undefined,
  ): SessionPlan {
    const { request } = applicant;
    return {
      id: uuid(this.#options.random),
      agent: applicant.agent,
      backup: request.backup,
      storage: config.name,
      run: applicant.run,
      parallels: request.parallels,
      windowBytes: request.windowBytes,
      chunkBytes: agreeChunkBytes(request, config.compression.mode),
      compression: config.compression,
      expectedBytes: neededBytes,
      lastEntries: last?.entries ?? 0,
      lastRawBytes: last?.rawBytes ?? 0,
      startWallMs: Math.floor(this.#options.clock.wall()),
      holdRotation: request.holdRotation,
    };
  }

  #refuse(applicant: Applicant, failure: Failure): void {
    if (applicant.over) return;
    applicant.refuse(failure);
    this.#release(applicant);
    this.#ended(applicant, "refused", failure);
  }

  #ended(applicant: Applicant, how: "refused" | "left", failure: Failure): void {
    const { agent, run, link, asked } = applicant;
    const asker = { agent, run, remote: link.remoteAddress, request: asked ? applicant.request : undefined };
    this.#options.events.emit(applicantEnded(asker, how, failure, this.#options.clock.wall()));
  }

  /** The applicant stands nowhere any more. */
  #release(applicant: Applicant): void {
    this.#asking.delete(applicant);
    if (this.#line.leave(applicant)) this.#noticeSoon();
    if (applicant.asked) this.#options.house.registry.vacate(applicant.agent, applicant.request.backup, applicant);
  }

  /** Everyone behind a gap has moved up; told together, so that a long line costs one round of messages at a time. */
  #noticeSoon(): void {
    if (this.#closed !== undefined) return;
    this.#noticeTimer ??= this.#options.clock.after(POSITION_NOTICE_MS, () => {
      this.#noticeTimer = undefined;
      for (const [applicant, position] of this.#line.positions()) applicant.tell(position);
    });
  }
}

/** What the store keeps of the plan in its journal, and no more. */
function requestOf(plan: SessionPlan, generation: number): SessionRequest {
  const { id, agent, backup, run, parallels, chunkBytes, windowBytes } = plan;
  const { expectedBytes, lastEntries, lastRawBytes, startWallMs, compression } = plan;
  return {
    ...{ session: id, agent, backup, run, generation, parallels },
    ...{ compression: compression.mode, compressionLevel: compression.level },
    ...{ chunkBytes, windowBytes, expectedBytes, lastEntries, lastRawBytes, startWallMs },
    ...(plan.holdRotation === undefined ? {} : { holdRotation: true }),
  };
}

function busy({ agent, request }: Applicant): Failure {
  const text = `backup ${request.backup} of agent ${agent} has a session that lives`;
  return new Failure("E_BUSY", text, { retryAfterMs: BUSY_RETRY_MS });
}

/** One wait is enough: a run with few attempts must not use them up before the place is free. */
function reserved({ agent, request }: Applicant, reservedMs: number): Failure {
  const text = `backup ${request.backup} of agent ${agent} has a session from before the server's start, whose run may yet come back`;
  return new Failure("E_BUSY", text, { retryAfterMs: Math.max(BUSY_RETRY_MS, reservedMs) });
}
