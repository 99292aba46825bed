/**
 * One connection of an agent, as the server uses it: frames in, control frames out, and whether it lives. It answers
 * Pings, heeds the limits on what a peer may send, and hands everything else to its owner, which changes as the
 * connection finds its place: reception, applicant, session, slot. It knows no sessions.
 */
import { assert } from "#base/assert.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { MovingAverage } from "#base/moving-average.ts";
import type { Connection } from "#net/connection.ts";
import { type DataSource, WriteQueue } from "#net/write-queue.ts";
import type { EventSink } from "#observe/events.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { type DataEnd, FrameDecoder } from "#wire/decoder.ts";
import { encodeMessage } from "#wire/encode.ts";
import { failureFields } from "#wire/failure.ts";
import type { FrameHeader } from "#wire/frame.ts";
import type { AnyMessage, Message, MessageType } from "#wire/messages.ts";
import type { ReceiveState } from "#wire/states.ts";
import { FrameBudget } from "./frame-budget.ts";
import { CONTROL_QUEUE_BYTES_MAX, LINGER_MS, PEER_CHECK_PERIOD_MS } from "./limits.ts";
import { Liveness } from "./liveness.ts";
import { connectionClosed } from "./session-ends.ts";

export interface LinkOwner {
  /** Every message but Pong; Pings after they were answered. */
  message(message: AnyMessage, header: FrameHeader): void;
  /** Nothing was sent for HEARTBEAT_MS. */
  beat(): void;
  /** The connection takes frames again: see `Link.blocked`. */
  drained(): void;
  /** The connection is gone without this side having ended it; exactly once, nothing follows. */
  gone(failure: Failure | undefined): void;
  /** Only on connections that carry data. */
  readonly data?: DataOwner;
  /** What a Pong says beside its id; only on control connections. */
  pongFacts?(): Omit<Message<"pong">, "id">;
  /** The last Ping was answered after so long. */
  answered?(rttMs: number): void;
}

export interface DataOwner {
  start(header: FrameHeader): void;
  bytes(view: Uint8Array): void;
  end(end: DataEnd): void;
}

export interface LinkOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly events: EventSink;
  /** As the certificate says, if that could be read. */
  readonly agent: string | undefined;
  /** Throws when the certificate is not accepted although TLS would take it: it was revoked. */
  readonly judge?: (peer: PeerIdentity) => void;
  /** What it waits for; for Hello unless told. */
  readonly state?: ReceiveState;
  /** The connection is closed, whoever did it; exactly once. */
  readonly onClosed: (link: Link) => void;
}

export class Link {
  readonly remoteAddress: string;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #events: EventSink;
  readonly #agent: string | undefined;
  readonly #judge: (peer: PeerIdentity) => void;
  readonly #onClosed: (link: Link) => void;
  readonly #queue: WriteQueue;
  readonly #decoder: FrameDecoder;
  readonly #liveness: Liveness;
  readonly #budget: FrameBudget;
  #owner: LinkOwner | undefined;
  #ending = false;
  #closed = false;
  #lingerTimer: Timer | undefined;
  #peerCheckedAtMs: number;
  #pingId = 0;
  #pingedAtMs: number | undefined;
  readonly #rtt = new MovingAverage();
  /** Who and where, for log lines and errors; set when Hello was accepted. */
  #label: string;
  #generation = 0;

  constructor(options: LinkOptions) {
    this.#connection = options.connection;
    this.remoteAddress = options.connection.remoteAddress;
    this.#clock = options.clock;
    this.#events = options.events;
    this.#agent = options.agent;
    this.#judge = options.judge ?? (() => undefined);
    this.#onClosed = options.onClosed;
    this.#label = `peer ${this.remoteAddress}`;
    this.#queue = new WriteQueue(options.connection, { controlBytesMax: CONTROL_QUEUE_BYTES_MAX });
    this.#budget = new FrameBudget(options.clock.now());
    this.#peerCheckedAtMs = options.clock.now();
    this.#decoder = new FrameDecoder({
      state: options.state ?? "server/hello",
      describe: () => this.#label,
      handlers: {
        message: (message, header) => this.#message(message, header),
        dataStart: (header) => this.#dataOwner().start(header),
        dataBytes: (view) => this.#dataOwner().bytes(view),
        dataEnd: (end) => this.#dataOwner().end(end),
      },
    });
    this.#liveness = new Liveness(options.clock, {
      tick: () => this.#checkPeer(),
      beat: () => this.#owner?.beat(),
      silent: () => this.#broke(new Failure("E_TIMEOUT", `nothing was heard of ${this.#label} for too long`)),
    });
  }

  /** Starts reading; in the turn in which the connection was handed over. */
  open(owner: LinkOwner): void {
    this.#owner = owner;
    this.#connection.attach({
      data: (bytes) => this.#data(bytes),
      drain: () => this.#drain(),
      closed: (failure) => this.#over(failure),
    });
  }

  /** As the certificate says, if that could be read. */
  get agent(): string | undefined {
    return this.#agent;
  }

  /** Who the certificate says it is, checked now. Throws Failure E_TLS, E_IDENTITY or E_REVOKED. */
  peer(): PeerIdentity {
    const peer = this.#connection.peer();
    this.#judge(peer);
    return peer;
  }

  /** Looks at the certificate now: one that is not good any more is told so, and the connection is closed. */
  recheck(): void {
    if (this.over) return;
    this.#peerCheckedAtMs = this.#clock.now();
    try {
      this.peer();
    } catch (error) {
      this.#violation(toFailure(error));
    }
  }

  get label(): string {
    return this.#label;
  }

  /** The connection found its place: who answers from now on, which frames may come, what it is called. */
  hand(owner: LinkOwner, state: ReceiveState, label: string): void {
    if (this.over) return;
    this.#owner = owner;
    this.#label = label;
    this.#decoder.enter(state);
  }

  /** The session's generation, for the headers of what is sent from now on; 0 before there is a session. */
  setGeneration(generation: number): void {
    this.#generation = generation;
  }

  /** Closed, or being closed by this side. */
  get over(): boolean {
    return this.#closed || this.#ending;
  }

  /** Frames wait for the peer to read: a Sack sent now would only stand behind an older one. */
  get blocked(): boolean {
    return this.#queue.blocked;
  }

  /** Sends a control frame; nothing when the connection is over. */
  send<T extends MessageType>(type: T, body: Message<T>): void {
    if (this.over) return;
    try {
      this.#queue.control(encodeMessage(type, body, { generation: this.#generation }));
      if (type !== "pong") this.#liveness.said();
    } catch (error) {
      this.#broke(toFailure(error));
    }
  }

  /** Where frames of bytes come from; `wake` says that there may be one. */
  carry(source: DataSource): void {
    this.#queue.carry(source);
  }

  wake(): void {
    if (!this.over) this.#queue.run();
  }

  /** A control frame of the peer was work that is done: it counts no more. */
  answered(): void {
    this.#budget.give();
  }

  /** The owner found out later that the peer broke the protocol: told why, and closed. The owner hears `gone`. */
  violated(failure: Failure): void {
    this.#violation(failure);
  }

  /** Of the last answered Pings, the newest weighing a quarter; what the peer sends at the time stands before its answer. */
  get rttMs(): number | undefined {
    return this.#rtt.value;
  }

  ping(): void {
    this.#pingedAtMs = this.#clock.now();
    this.#pingId = (this.#pingId + 1) % 2 ** 32;
    this.send("ping", { id: this.#pingId });
  }

  /** Something is said so often from now on, and so much silence is death: control connections have a pace of their own. */
  pace(heartbeatMs: number, silenceMsMax: number): void {
    this.#liveness.pace(heartbeatMs, silenceMsMax);
  }

  /** Asks the peer for a sign of life, as `Liveness.probe` says. */
  probe(): Promise<boolean> {
    if (this.over) return Promise.resolve(false);
    this.ping();
    return this.#liveness.probe(this.#pingId);
  }

  /** Stops reading: the disk behind the owner is late. */
  pause(): void {
    if (this.over) return;
    this.#connection.pause();
    this.#liveness.pause();
  }

  resume(): void {
    if (this.over) return;
    this.#liveness.resume();
    this.#connection.resume();
  }

  /** Says Refused as the last frame and closes. The owner is not told. */
  refuse(failure: Failure): void {
    this.send("refused", failureFields(failure));
    this.end();
  }

  /** Refuses and closes; one that lingers has heard its last word already and is only closed. The owner is not told. */
  dismiss(failure: Failure): void {
    if (this.#lingerTimer === undefined) this.refuse(failure);
    else this.end();
  }

  /** Sends what was queued, then closes; what comes in is dropped unread. The owner is not told. */
  end(): void {
    if (this.over) return;
    this.#ending = true;
    this.#owner = undefined;
    this.#decoder.close();
    this.#liveness.stop();
    this.#lingerTimer?.cancel();
    this.#lingerTimer = this.#clock.after(LINGER_MS, () => this.#connection.destroy());
    // A paused connection might not notice that the peer is gone.
    this.#connection.resume();
    this.#queue.end();
  }

  /** Nothing more is to be said: the peer may close, and if it does not this side will. The owner stays. */
  linger(): void {
    if (this.over) return;
    this.resume();
    this.#lingerTimer ??= this.#clock.after(LINGER_MS, () => this.end());
  }

  /** Closes at once. The owner is not told. */
  destroy(): void {
    if (this.#closed) return;
    this.#ending = true;
    this.#owner = undefined;
    this.#decoder.close();
    this.#liveness.stop();
    this.#connection.destroy();
  }

  #data(bytes: Uint8Array): void {
    if (this.over) return;
    this.#liveness.heard();
    try {
      this.#decoder.push(bytes);
    } catch (error) {
      this.#violation(toFailure(error));
    }
  }

  /** The peer broke the protocol of the connection (or a handler has a bug): it is told why, and closed. */
  #violation(failure: Failure): void {
    if (this.over) return;
    const owner = this.#owner;
    this.#events.emit(connectionClosed(this.remoteAddress, this.#agent, failure));
    this.refuse(failure);
    owner?.gone(failure);
  }

  /** The connection is of no more use: closed without a word, because none would arrive. */
  #broke(failure: Failure): void {
    if (this.over) return;
    const owner = this.#owner;
    this.destroy();
    owner?.gone(failure);
  }

  #message(message: AnyMessage, header: FrameHeader): void {
    if (this.over) return;
    if (!this.#budget.take(this.#clock.now(), header.length)) throw new Failure("E_LIMIT", "too many control frames");
    if (message.type === "ping") this.send("pong", { id: message.body.id, ...this.#owner?.pongFacts?.() });
    if (message.type === "pong") this.#ponged(message.body.id);
    else this.#owner?.message(message, header);
  }

  #ponged(id: number): void {
    this.#liveness.ponged(id);
    if (id !== this.#pingId || this.#pingedAtMs === undefined) return;
    const tripMs = this.#clock.now() - this.#pingedAtMs;
    this.#pingedAtMs = undefined;
    this.#rtt.add(tripMs);
    this.#owner?.answered?.(tripMs);
  }

  #dataOwner(): DataOwner {
    if (this.over) return IGNORE_DATA;
    const data = this.#owner?.data;
    assert(data !== undefined, `data came on ${this.#label}, whose owner takes none`);
    return data;
  }

  /** What stays open for hours is open to the same certificate only as long as that is good. */
  #checkPeer(): void {
    if (this.#clock.now() - this.#peerCheckedAtMs >= PEER_CHECK_PERIOD_MS) this.recheck();
  }

  #drain(): void {
    if (this.#closed) return;
    this.#queue.drain();
    if (!this.blocked) this.#owner?.drained();
  }

  #over(failure: Failure | undefined): void {
    assert(!this.#closed, `${this.#label} closed twice`);
    this.#closed = true;
    this.#lingerTimer?.cancel();
    this.#liveness.stop();
    this.#decoder.close();
    const owner = this.#owner;
    this.#owner = undefined;
    owner?.gone(failure);
    this.#onClosed(this);
  }
}

const IGNORE_DATA: DataOwner = {
  start() {
    // Dropped: this side has said its last word.
  },
  bytes() {
    // Dropped, as above.
  },
  end() {
    // Dropped, as above.
  },
};
