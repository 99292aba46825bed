/**
 * One session: an object with a state (SESSION_TRANSITIONS of #wire/states.ts), to which connections come and go.
 * PROTOCOL.md "A session". It takes chunks into its store, acknowledges them, commits at Finish, and ends in exactly one
 * outcome. It admits nobody and judges no Hello.
 */
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import type { EventSink } from "#observe/events.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { CommitAnswer, SessionEvents } from "#store/session-types.ts";
import type { LeftSession } from "#store/storage.ts";
import { failureFields } from "#wire/failure.ts";
import { PROTOCOL_VERSION_MAX } from "#wire/limits.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import { type SessionEvent, type SessionState, transition } from "#wire/states.ts";
import { Absence } from "./absence.ts";
import { Acknowledger } from "./acknowledger.ts";
import { CatchUpNotice } from "./catch-up-notice.ts";
import { ChunkTally } from "./chunk-tally.ts";
import { Finishing, type FinishingHost } from "./finishing.ts";
import type { Link } from "./link.ts";
import { disowned, type Occupant } from "./occupant.ts";
import { sackOf } from "./sack.ts";
import { SessionConnections } from "./session-connections.ts";
import { admittedOf, committedOf, endEvents, NO_TOTALS, sessionEvent } from "./session-events.ts";
import type { Outcome, SessionFacts, SessionPlan, SessionTotals } from "./session-types.ts";

export interface SessionHost extends FinishingHost {
  readonly events: EventSink;
  /** UUID of this start of the server. */
  readonly boot: string;
  readonly software: string;
  readonly idleTimeoutMs: number;
  /** It is over and has cleaned up; exactly once. */
  over(session: Session, outcome: Outcome): void;
}

export class Session implements Occupant {
  readonly plan: SessionPlan;
  earlierWallMs: number | undefined;
  readonly #host: SessionHost;
  readonly #connections: SessionConnections;
  readonly #acks: Acknowledger;
  readonly #absence: Absence;
  readonly #totals: SessionTotals = { ...NO_TOTALS };
  #startedAtMs: number;
  #state: SessionState = "queued";
  #generation = 1;
  #store: SessionStore | undefined;
  #catchUp: CatchUpNotice | undefined;
  #finishing: Finishing | undefined;
  #answer: CommitAnswer | undefined;
  /** The last Sack said that the server was not reading. */
  #stallTold = false;
  /** Set when the end was decided: no chunk is taken any more. */
  #ending: Promise<void> | undefined;
  /** Its end was told. */
  #isOver = false;

  constructor(plan: SessionPlan, host: SessionHost) {
    this.plan = plan;
    this.#host = host;
    this.#startedAtMs = host.clock.now();
    this.#connections = new SessionConnections(plan.agent, plan.parallels, {
      clock: host.clock,
      event: (kind, message, fields) => this.#emit(kind, message, fields),
      store: () => (this.#state === "receiving" && this.#ending === undefined ? this.#store : undefined),
      fail: (failure) => void this.end(failure),
      fed: () => this.#fed(),
      // After the store failed every chunk is "damaged"; that is told as the failure it is.
      fate: (fate, header) => {
        if (this.#ending === undefined) tally.take(fate, header);
      },
      message: (message, link) => this.#message(message, link),
      beat: (link) => this.#beat(link),
      drained: () => this.#acks.moved(),
      gone: (what, failure, ordered) => this.#gone(what, failure, ordered),
    });
    this.#acks = new Acknowledger(host.clock, {
      carrier: () => this.#connections.carrier(),
      state: () => this.#acknowledgement(),
    });
    this.#absence = new Absence(host, (failure) => void this.end(failure));
    const tally = new ChunkTally(this.#totals, {
      acks: this.#acks,
      metrics: host.metrics,
      push: () => this.#store?.push(),
      damaged: (damagedChunks) =>
        this.#emit("session.chunk-damaged", "a chunk arrived damaged and is sent again", { damagedChunks }),
      fail: (failure) => void this.end(failure),
    });
  }

  get run(): string {
    return this.plan.run;
  }

  get state(): SessionState {
    return this.#state;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Stored bytes that need no room any more. */
  get storedBytes(): number {
    return this.#store?.receivedBytes ?? 0;
  }

  /** What there is to show of it; counted on while it runs. */
  get facts(): SessionFacts {
    const durationMs = this.#host.clock.now() - this.#startedAtMs;
    const backlogBytes = this.#store?.backlogBytes ?? 0;
    const { paused: stalled, slots } = this.#connections;
    const inside = { slots, store: this.#store, finishing: this.#finishing };
    return { totals: this.#totals, durationMs, backlogBytes, stalled, ...inside };
  }

  /** The commit has begun or may at any moment: nobody takes the entry from it now. */
  get fixed(): boolean {
    return this.#state === "finishing" || this.#state === "committed";
  }

  reservedMs(run: string): number {
    return run === this.plan.run ? 0 : this.#absence.reservedMs;
  }

  links(): Link[] {
    return this.#connections.all();
  }

  /** Its slots: what came over them, orders about them. */
  get slots(): SessionConnections {
    return this.#connections;
  }

  get main(): Link | undefined {
    return this.#connections.main;
  }

  stream(slot: number): Link | undefined {
    return this.#connections.stream(slot);
  }

  /** What the store may call from the moment it exists. */
  storeEvents(): SessionEvents {
    return {
      durable: () => this.#acks.urgent(),
      lost: (file, sequence) => this.#acks.lost(file, sequence),
      relief: () => this.#relief(),
      verified: () => {
        this.#catchUp?.stop();
        this.#emit("session.verified", "what was durable before the restart was read again and is right", {});
      },
      failed: (failure) => void this.end(failure),
    };
  }

  /** An earlier start of the server admitted it: it waits for its agent to come back. */
  adopt(left: LeftSession): void {
    this.earlierWallMs = this.plan.startWallMs;
    this.#startedAtMs -= Math.max(0, this.#host.clock.wall() - this.plan.startWallMs);
    this.#store = left.adopt(this.storeEvents());
    Object.assign(this.#totals, { chunks: this.#store.receivedChunks, bytes: this.#store.receivedBytes });
    this.#become("recover");
    this.#emit("session.recovered", "a session of an earlier start of the server goes on", {
      durableBytes: this.#store.receivedBytes,
    });
    this.#park(true);
    this.#catchUp = new CatchUpNotice(this.#host.clock, this.#store, () =>
      this.#finishing === undefined ? this.#connections.main : undefined,
    );
  }

  /** It was admitted: its store exists. */
  start(store: SessionStore, link: Link): void {
    this.#store = store;
    this.#become("admit");
    const slotGeneration = this.#connections.attachMain(link, false);
    link.setGeneration(this.#generation);
    const generations = { generation: this.#generation, slotGeneration };
    link.send("admitted", admittedOf(this.plan, store.archive, generations));
  }

  /** A session connection of the same run comes back; the caller has made sure that the older one is dead. */
  resume(link: Link): void {
    this.#replace(this.#connections.main, "session connection");
    this.#connected();
    this.#generation += 1;
    const slotGeneration = this.#connections.attachMain(link, this.#state === "finishing");
    for (const one of this.links()) one.setGeneration(this.#generation);
    this.#welcome(link, slotGeneration);
    this.#finishing?.tell(link);
    this.#emit("session.resumed", "session connection is back", {});
  }

  /** A stream takes its slot; the caller has made sure that an older one is dead. Throws as `slots.checkSlot` does. */
  joinStream(link: Link, slot: number): void {
    this.#connections.checkSlot(slot);
    this.#replace(this.#connections.stream(slot), `stream ${slot}`);
    const slotGeneration = this.#connections.attachStream(link, slot);
    this.#connected();
    this.#welcome(link, slotGeneration);
    this.#acks.moved();
  }

  /**
   * Ends the session with a reason: everything of it leaves the disk, then its connections hear of it. A commit that has
   * begun is waited for and wins. Resolves when all is done; never rejects.
   */
  end(failure: Failure): Promise<void> {
    return this.#stop(
      () => this.#store?.abort(failure),
      () => {
        this.#become("end");
        for (const link of this.#connections.release()) {
          link.send("ended", { session: this.plan.id, ...failureFields(failure) });
          link.end();
        }
        this.#over({ kind: "ended", failure });
      },
    );
  }

  /**
   * The server stops: what is durable stays on the disk for its next start, and the connections are refused for now. A
   * commit that has begun is waited for and wins. Resolves when all is done; never rejects.
   */
  suspend(failure: Failure): Promise<void> {
    return this.#stop(
      () => this.#store?.suspend(failure),
      () => this.#suspended(failure),
    );
  }

  /** The process ends while this one's disk does not answer: `suspend` was called, and is not waited for any more. */
  abandon(failure: Failure): void {
    this.#finishing?.stop();
    if (!this.#isOver) this.#suspended(failure);
  }

  #become(event: SessionEvent): void {
    this.#state = transition(this.#state, event);
  }

  #connected(): void {
    this.#absence.end();
    this.#become("connect");
  }

  /** The older connection in the same place did not answer its probe. */
  #replace(older: Link | undefined, what: string): void {
    if (older === undefined) return;
    this.#connections.replace(older);
    this.#totals.breaks += 1;
    this.#emit("session.disconnected", `${what} is replaced`, { reason: "E_TIMEOUT: it did not answer a probe" });
  }

  #gone(what: string, failure: Failure | undefined, ordered: boolean): void {
    if (failure !== undefined) this.#totals.breaks += 1;
    if (this.#state !== "receiving" || this.#ending !== undefined) return;
    const reason = failure === undefined ? "goodbye" : String(failure);
    if (!ordered) this.#emit("session.disconnected", `${what} is gone`, { reason });
    if (!this.#connections.none) {
      // The last Sacks may have gone down with it: what stands now is said on another one.
      this.#acks.urgent();
      return;
    }
    this.#become("disconnect");
    if (ordered) this.#absence.begin(false);
    else this.#park(false);
  }

  #park(ofRestart: boolean): void {
    const { idleTimeoutMs } = this.#host;
    this.#emit("session.parked", "all connections are gone: waiting for the agent to come back", { idleTimeoutMs });
    this.#absence.begin(ofRestart);
  }

  #welcome(link: Link, slotGeneration: number): void {
    const { boot, software } = this.#host;
    const generation = this.#generation;
    link.setGeneration(generation);
    link.send("welcome", { version: PROTOCOL_VERSION_MAX, software, boot, generation, slotGeneration });
    if (link === this.#connections.main) this.#connections.orders.tell(link);
    // The agent sends no Data before it knows what is here already.
    this.#acks.greet(link);
    if (link === this.#connections.main) this.#catchUp?.tell();
  }

  #message(message: AnyMessage, link: Link): void {
    switch (message.type) {
      case "ping":
        this.#totals.entries = message.body.entries ?? this.#totals.entries;
        this.#totals.rawBytes = message.body.rawBytes ?? this.#totals.rawBytes;
        return;
      case "finish":
        this.#onFinish(message.body, link);
        return;
      case "disown":
        void this.end(disowned(message.body));
        return;
      default:
        throw new Failure("E_PROTOCOL", `${message.type} came but the session is ${this.#state}`);
    }
  }

  /** Asked again it changes nothing: the answer comes when it is there, or once more. */
  #onFinish(proof: Message<"finish">, link: Link): void {
    if (this.#answer !== undefined) link.send("committed", committedOf(this.#answer));
    if (this.#state !== "receiving" || this.#ending !== undefined) return;
    this.#become("finish");
    Object.assign(this.#totals, { entries: proof.entries, rawBytes: proof.rawBytes, problems: proof.problems });
    this.#connections.resume();
    this.#finishing = new Finishing(this.#host, must(this.#store, "store of a session that runs"), proof, () =>
      this.#ending === undefined ? this.#connections.main : undefined,
    );
    void this.#finish(this.#finishing);
  }

  async #finish(finishing: Finishing): Promise<void> {
    const result = await finishing.result;
    // An end that was decided meanwhile looks at the result itself.
    if (this.#ending !== undefined) return;
    if (result.kind === "committed") this.#commit(result.answer);
    else await this.end(result.failure);
  }

  #commit(answer: CommitAnswer): void {
    this.#become("commit");
    this.#acks.stop();
    this.#answer = answer;
    this.main?.send("committed", committedOf(answer));
    for (const link of this.links()) if (link !== this.main || answer.verify === "none") link.linger();
    this.#over({ kind: "committed", answer });
  }

  /** Whatever is decided first happens: of the end and the answer of a commit only one is told. */
  #stop(store: () => Promise<void> | undefined, stopped: () => void): Promise<void> {
    if (this.#state === "committed" || this.#state === "ended") return Promise.resolve();
    this.#ending ??= (async () => {
      this.#acks.stop();
      this.#absence.end();
      this.#catchUp?.stop();
      await store();
      const result = await this.#finishing?.result;
      if (this.#isOver) return;
      if (result?.kind === "committed") this.#commit(result.answer);
      else stopped();
    })();
    return this.#ending;
  }

  #suspended(failure: Failure): void {
    this.#become("suspend");
    for (const link of this.#connections.release()) link.refuse(failure);
    this.#over({ kind: "suspended", failure });
  }

  #over(outcome: Outcome): void {
    this.#isOver = true;
    this.#catchUp?.stop();
    const durationMs = this.#host.clock.now() - this.#startedAtMs;
    for (const event of endEvents(this.plan, outcome, this.#totals, durationMs)) this.#host.events.emit(event);
    this.#host.over(this, outcome);
  }

  /** Called after bytes went to the store: when its disk is behind, the connections that carry data are not read. */
  #fed(): void {
    if (this.#state === "receiving" && this.#store?.congested === true) this.#connections.pause();
  }

  #relief(): void {
    this.#connections.resume();
    // Who heard that the server stalled hears that it goes on.
    if (this.#stallTold) this.#acks.urgent();
  }

  #beat(link: Link): void {
    if (this.#ending === undefined && this.#answer === undefined) this.#acks.beat(link);
    link.ping();
  }

  #acknowledgement(): Omit<Message<"sack">, "lost"> {
    const stalled = this.#connections.paused;
    this.#stallTold = stalled;
    const store = must(this.#store, "store of a session that acknowledges");
    return sackOf(store, { boot: this.#host.boot, generation: this.#generation, stalled });
  }

  #emit(kind: string, message: string, fields: Record<string, unknown>): void {
    const repeatKey = `${this.plan.id} ${message}`;
    this.#host.events.emit({ ...sessionEvent(this.plan, kind, message, fields), repeatKey });
  }
}
