/**
 * The connections of one session: its session connection and its streams, opened, watched, opened again when they break,
 * and closed at the end. It knows which connection feeds which slot, and not what is sent or acknowledged.
 */
import type { BackoffLimits } from "#base/backoff.ts";
import type { ErrorCode } from "#base/catalogue.ts";
import { Failure } from "#base/errors.ts";
import { failureFromFields } from "#wire/failure.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { AdmissionDeps } from "./admission.ts";
import type { DataSlot } from "./data-slot.ts";
import type { FrameLink, PingFacts } from "./frame-link.ts";
import type { LinkTarget, OpenedLink } from "./handshake.ts";
import type { SlotActivity, SlotProgress } from "./session-progress.ts";
import { Departure } from "./departure.ts";
import { Reconnector } from "./reconnector.ts";
import { SessionStream } from "./session-stream.ts";

export interface SessionLinksOptions {
  readonly deps: AdmissionDeps;
  readonly session: string;
  readonly slots: readonly DataSlot[];
  /** The session connection carries the data, as slot 0; else each slot has a stream of its own. */
  readonly dataOnSession: boolean;
  /** Marks what carries data; undefined: nothing is marked. */
  readonly dscp?: number | undefined;
  /** How many of the streams are active from the start; the others are parked. */
  readonly active: number;
  readonly backoff: BackoffLimits;
  readonly pingFacts: () => PingFacts;
  /** The server introduced itself on a new connection: whether it is another start of it, or an earlier one. */
  readonly welcomed: (welcome: Message<"welcome">) => "same" | "restarted" | "late";
  /** The server does not read because its disk is behind. */
  readonly stalled: () => boolean;
  /** What the server says of the session, on any connection. */
  readonly message: (message: AnyMessage) => void;
  /** The session connection is back: orders that stand come anew (`welcomed`), and that were all (`told`). */
  readonly resumed: (phase: "welcomed" | "told") => void;
  /** The server takes no stream for this slot until it says so. */
  readonly unwanted: (slot: number) => void;
  /** The server ended the session, does not know it, or cannot be talked to. */
  readonly over: (failure: Failure) => void;
}

/** Neither side can mend this by trying again. */
const BROKEN: readonly ErrorCode[] = ["E_PROTOCOL", "E_FRAME_TOO_LARGE", "E_VERSION"];

/** What the server says to a session connection about a session that is no more, or no longer this agent's. */
const OVER: readonly ErrorCode[] = [
  "E_SESSION_GONE",
  "E_SESSION_EXPIRED",
  "E_SUPERSEDED",
  "E_IDENTITY",
  "E_REVOKED",
  "E_ABORTED",
  "E_INTERNAL",
];

const SESSION_FINAL: ReadonlySet<ErrorCode> = new Set([...BROKEN, ...OVER]);
/** What became of the session is said on the session connection only: a stream that is refused tries again. */
const STREAM_FINAL: ReadonlySet<ErrorCode> = new Set(BROKEN);

/** The server has parked the slot, and its order is still on its way: PROTOCOL.md "Orchestration". */
function isParking({ code, retryable }: Failure): boolean {
  return code === "E_LIMIT" && !retryable;
}

export class SessionLinks {
  readonly #options: SessionLinksOptions;
  readonly #reconnector: Reconnector;
  /** By slot; none when the session connection carries the data. */
  readonly #streams: SessionStream[] = [];
  #link: FrameLink | undefined;
  /** Of the session connection, which is closed in order and opened again. */
  #departure: Departure | undefined;
  #portBefore: number | undefined;
  #rotations = 0;
  #lostCount = 0;
  #closed = false;

  constructor(options: SessionLinksOptions) {
    this.#options = options;
    const { session } = options;
    const up = (opened: OpenedLink): void => this.#resumed(opened);
    this.#reconnector = this.#makeReconnector({ role: "session", session }, "session connection", up, true);
  }

  /** The session connection, while it is up and not about to be exchanged. */
  get session(): FrameLink | undefined {
    return this.#departure === undefined ? this.#link : undefined;
  }

  /** Connections lost so far. */
  get lostCount(): number {
    return this.#lostCount;
  }

  /** In the turn of Admitted: `link` is the connection on which it came. */
  start(link: FrameLink, slotGeneration: number): void {
    const { slots, dataOnSession } = this.#options;
    this.#adopt(link, () => undefined);
    if (dataOnSession) slots[0]?.up(link, slotGeneration);
    else for (const slot of slots) this.#addStream(slot);
  }

  /** The stream of `slot` is to carry data, or to be drained and stay away. */
  setActive(slot: number, active: boolean): void {
    const stream = this.#streams[slot];
    if (active) stream?.activate();
    else stream?.park();
  }

  /**
   * Exchanges the connection of `slot` for one from another port, with nothing lost, sent again or counted as a failure. False
   * when none is up that could be exchanged.
   */
  rotate(slot: number): boolean {
    const first = this.#options.slots[0];
    if (!this.#options.dataOnSession) return this.#streams[slot]?.rotate() ?? false;
    const link = this.#link;
    if (slot !== 0 || first === undefined || !first.isUp || link === undefined || this.#departure !== undefined)
      return false;
    const { deps, stalled } = this.#options;
    this.#portBefore = link.localPort;
    this.#departure = new Departure({ clock: deps.clock, link, slot: first, name: "session connection", stalled });
    this.#departure.begin();
    return true;
  }

  activity(slot: number): SlotActivity {
    const stream = this.#streams[slot];
    if (stream !== undefined) return stream.activity;
    if (this.#departure !== undefined) return "draining";
    return this.#options.slots[slot]?.isUp === true ? "up" : "idle";
  }

  /** What is known of each slot's connections. */
  slots(): SlotProgress[] {
    return this.#options.slots.map((slot) => {
      const stream = this.#streams[slot.slot];
      return {
        slot: slot.slot,
        state: this.activity(slot.slot),
        sentBytes: slot.meter.sentBytes,
        chunks: slot.meter.chunks,
        rttMs: stream === undefined ? this.#link?.rtt.value : stream.rttMs,
        reconnects: stream?.reconnects ?? this.#lostCount,
        rotations: stream?.rotations ?? this.#rotations,
      };
    });
  }

  /** A chunk was acknowledged. */
  progressed(): void {
    this.#reconnector.progressed();
    for (const stream of this.#streams) stream.progressed();
  }

  wake(): void {
    for (const slot of this.#options.slots) slot.wake();
  }

  /** Everything was sent: only the session connection stays, to hear what the server still has to say. */
  closeStreams(): void {
    for (const stream of this.#streams) stream.close();
  }

  /** The end: nothing is opened or reported any more. After an orderly one the server hears that the streams go on purpose. */
  close(orderly: boolean): void {
    this.#closed = true;
    this.#reconnector.stop();
    if (orderly) this.closeStreams();
    for (const stream of this.#streams) stream.abandon();
    this.#departure?.ended(undefined);
    this.#link?.end();
  }

  #resumed({ link, welcome }: OpenedLink): void {
    const { deps, session, slots, dataOnSession } = this.#options;
    link.enter("agent/session");
    if (this.#isLate(link, welcome)) return;
    deps.log.info("session resumed", { session, generation: welcome.generation });
    if (this.#portBefore !== undefined) {
      this.#rotations += 1;
      deps.log.info("session connection rotated", { portBefore: this.#portBefore, port: link.localPort });
      this.#portBefore = undefined;
    }
    this.#options.resumed("welcomed");
    this.#adopt(link, () => {
      if (dataOnSession) slots[0]?.up(link, welcome.slotGeneration);
      this.#options.resumed("told");
    });
    for (const stream of this.#streams) stream.nudge();
  }

  /**
   * True for a connection to an earlier start of the server, which is closed. After a Welcome of a newer one all other
   * connections are to nobody: they are closed at once, and nothing that still lies unread in them counts.
   */
  #isLate(link: FrameLink, welcome: Message<"welcome">): boolean {
    const which = this.#options.welcomed(welcome);
    // Its opening fails with this, and is tried again.
    if (which === "late") link.destroy(new Failure("E_DISCONNECTED", "an earlier start of the server answered late"));
    if (which !== "restarted") return which === "late";
    this.#options.deps.log.info("the server was started anew", { session: this.#options.session });
    const restarted = (): Failure => new Failure("E_DISCONNECTED", "the server was started anew");
    this.#link?.destroy(restarted());
    for (const stream of this.#streams) stream.break(restarted());
    return false;
  }

  /** Makes `link` the session connection. */
  #adopt(link: FrameLink, firstSack: () => void): void {
    this.#link = link;
    link.handle({
      message: this.#messagesOf(link, firstSack),
      closed: (failure) => {
        if (this.#link !== link) return;
        this.#link = undefined;
        const inOrder = this.#departure?.ended(failure) ?? false;
        this.#departure = undefined;
        if (this.#closed) return;
        if (inOrder) {
          this.#options.slots[0]?.left();
          this.#reconnector.renew(link.localPort);
          return;
        }
        this.#portBefore = undefined;
        if (this.#options.dataOnSession) this.#options.slots[0]?.down();
        this.#lostCount += 1;
        this.#reconnector.lost(failure ?? new Failure("E_DISCONNECTED", "the server closed the session connection"));
      },
    });
  }

  #addStream(slot: DataSlot): void {
    const { deps, session, stalled, active } = this.#options;
    const target: LinkTarget = { role: "stream", session, slot: slot.slot };
    const stream = new SessionStream({
      clock: deps.clock,
      log: deps.log,
      slot,
      stalled,
      makeReconnector: (name, up) => this.#makeReconnector(target, name, up, false),
      isLate: (link, welcome) => this.#isLate(link, welcome),
      messagesOf: (link, firstSack) => this.#messagesOf(link, firstSack),
      joined: () => this.#reconnector.nudge(),
      lost: () => {
        this.#lostCount += 1;
        this.wake();
      },
    });
    this.#streams.push(stream);
    if (slot.slot < active) stream.activate();
  }

  /**
   * No Data goes out on a new connection before the Sack that follows Welcome has said what the server holds: else all
   * that was under way when the last one broke would be sent again.
   */
  #messagesOf(link: FrameLink, firstSack: () => void): (message: AnyMessage) => void {
    let waiting = true;
    return (message) => {
      if (message.type === "refused" || message.type === "ended") {
        this.#lastWord(link, message.type, message.body);
        return;
      }
      this.#options.message(message);
      if (!waiting || message.type !== "sack" || this.#closed) return;
      waiting = false;
      firstSack();
    };
  }

  /** Ended on the session connection ends the session; all else is the end of that connection, and it is asked again. */
  #lastWord(link: FrameLink, type: "refused" | "ended", body: Message<"refused"> | Message<"ended">): void {
    const failure = failureFromFields(body);
    if (type === "refused" || link !== this.#link) {
      link.destroy(failure);
      return;
    }
    this.#link = undefined;
    this.#departure?.ended(failure);
    this.#departure = undefined;
    link.end();
    this.#options.over(failure);
  }

  #makeReconnector(target: LinkTarget, name: string, up: (opened: OpenedLink) => void, isUp: boolean): Reconnector {
    const { deps, backoff, pingFacts, over, unwanted } = this.#options;
    const isStream = target.role === "stream";
    const dscp = isStream || this.#options.dataOnSession ? this.#options.dscp : undefined;
    return new Reconnector(
      {
        deps,
        target,
        backoff,
        final: (failure) =>
          isStream ? STREAM_FINAL.has(failure.code) || isParking(failure) : SESSION_FINAL.has(failure.code),
        link: { name, pingFacts, dscp },
        up,
        retrying: (failure, delayMs) => {
          const { code, message } = failure;
          const fields = { connection: name, code, reason: message, delayMs: Math.round(delayMs) };
          deps.log.warn("connection lost, trying again", fields);
          // The server answers, and knows of an end that the session connection has not heard of.
          if (isStream && OVER.includes(code)) this.#reconnector.nudge();
        },
        gaveUp: (failure) => {
          if (isStream && isParking(failure) && target.slot !== undefined) unwanted(target.slot);
          else over(failure);
        },
      },
      isUp,
    );
  }
}
