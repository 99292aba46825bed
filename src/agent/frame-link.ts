/**
 * One framed connection to the server: sends messages and the frames of a data source, hands over what arrives, keeps
 * the connection alive and notices when it is dead. It knows nothing of sessions; PROTOCOL.md "Liveness".
 */
import { every, type Clock, type Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import type { Connection } from "#net/connection.ts";
import { type DataSource, WriteQueue } from "#net/write-queue.ts";
import { type BytesHandlers, FrameDecoder } from "#wire/decoder.ts";
import { encodeMessage } from "#wire/encode.ts";
import { HEARTBEAT_MS, KEEPALIVES_SILENT_MAX, SILENCE_MAX_MS } from "#wire/limits.ts";
import type { AnyMessage, Message, MessageType } from "#wire/messages.ts";
import type { ReceiveState } from "#wire/states.ts";
import { MovingAverage } from "#base/moving-average.ts";

export interface FrameLinkHandlers {
  message(message: AnyMessage): void;
  /** Only on connections where bytes may come. */
  readonly bytes?: BytesHandlers;
  /** The answer to the last Ping. */
  pong?(body: Message<"pong">): void;
  /** Exactly once. No failure after an orderly end by either side. */
  closed(failure: Failure | undefined): void;
}

/** What goes into a heartbeat Ping beside its id. */
export type PingFacts = Omit<Message<"ping">, "id">;

export interface FrameLinkOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  /** For error messages: `session connection`, `stream 3`. */
  readonly name: string;
  /** What it waits for; for Welcome unless told. */
  readonly state?: ReceiveState;
  readonly pingFacts?: () => PingFacts;
  /** What a heartbeat does instead of a Ping at once. */
  readonly beat?: () => void;
  /** Of a control connection, which has a pace of its own. */
  readonly keepaliveMs?: number | undefined;
}

/** How often something is said, and how much silence is death. PROTOCOL.md "Liveness". */
function paceOf(keepaliveMs: number | undefined): { readonly heartbeatMs: number; readonly silenceMsMax: number } {
  if (keepaliveMs === undefined) return { heartbeatMs: HEARTBEAT_MS, silenceMsMax: SILENCE_MAX_MS };
  return { heartbeatMs: keepaliveMs, silenceMsMax: Math.max(SILENCE_MAX_MS, KEEPALIVES_SILENT_MAX * keepaliveMs) };
}

/** Control frames that may wait for a server that does not read. */
const CONTROL_BYTES_MAX = MiB;

/** After `end` the last words have so long to get out, and the server to close its side: a stalled network takes neither. */
const LAST_WORDS_MS = 10_000;

/** A heartbeat later than this shows that the whole process stood still: nothing could be heard meanwhile. */
const LATE_MS_MAX = 1_000;

export class FrameLink {
  readonly rtt = new MovingAverage();
  readonly #options: FrameLinkOptions;
  readonly #queue: WriteQueue;
  readonly #decoder: FrameDecoder;
  readonly #heartbeat: Timer;
  readonly #pace: ReturnType<typeof paceOf>;
  #beatAtMs: number;
  #lastWords: Timer | undefined;
  #handlers: FrameLinkHandlers | undefined;
  #heardAtMs: number;
  #generation = 0;
  #boot = "";
  #pingId = 0;
  #pingSentAtMs: number | undefined;
  #leaving = false;
  #closed = false;

  constructor(options: FrameLinkOptions) {
    this.#options = options;
    this.#pace = paceOf(options.keepaliveMs);
    this.#heardAtMs = options.clock.now();
    this.#beatAtMs = this.#heardAtMs;
    this.#decoder = new FrameDecoder({
      state: options.state ?? "agent/welcome",
      handlers: {
        message: (message) => this.#take(message),
        dataStart: () => this.#unexpectedData(),
        dataBytes: () => this.#unexpectedData(),
        dataEnd: () => this.#unexpectedData(),
        bytes: {
          start: (header) => this.#bytes().start(header),
          bytes: (view) => this.#bytes().bytes(view),
          end: (crcOk) => this.#bytes().end(crcOk),
        },
      },
      describe: () => options.name,
    });
    this.#queue = new WriteQueue(options.connection, { controlBytesMax: CONTROL_BYTES_MAX });
    options.connection.attach({
      data: (bytes) => this.#push(bytes),
      drain: () => this.#queue.drain(),
      closed: (failure) => {
        this.#lastWords?.cancel();
        this.#close(failure);
      },
    });
    this.#heartbeat = every(options.clock, this.#pace.heartbeatMs, () => this.#beat());
  }

  /** The socket takes nothing now: what is queued waits. */
  get blocked(): boolean {
    return this.#queue.blocked;
  }

  /** Port on this side. */
  get localPort(): number {
    return this.#options.connection.localPort;
  }

  /** Who gets what arrives from now on. */
  handle(handlers: FrameLinkHandlers): void {
    this.#handlers = handlers;
  }

  /** Which start of the server this is a connection to; empty before Welcome. */
  get boot(): string {
    return this.#boot;
  }

  /** The server introduced itself. */
  welcomed({ boot, generation }: Message<"welcome">): void {
    this.#boot = boot;
    this.#generation = generation;
  }

  /** The session's generation, for the headers of control frames. */
  setGeneration(generation: number): void {
    this.#generation = generation;
  }

  /** What may arrive from now on: states.ts of the wire. */
  enter(state: ReceiveState): void {
    this.#decoder.enter(state);
  }

  /** Queues a control frame; a server that reads none of them loses the connection. */
  send<T extends MessageType>(type: T, body: Message<T>): void {
    if (this.#closed || this.#leaving) return;
    const frame = encodeMessage(type, body, { generation: this.#generation });
    try {
      this.#queue.control(frame);
    } catch (error) {
      this.destroy(toFailure(error));
    }
  }

  /** Says a Ping now, as at every heartbeat. */
  ping(): void {
    this.#pingId = (this.#pingId + 1) >>> 0;
    this.#pingSentAtMs = this.#options.clock.now();
    this.send("ping", { id: this.#pingId, ...this.#options.pingFacts?.() });
  }

  /** Where Data frames come from. `wake` says that it may have something. */
  carry(source: DataSource): void {
    this.#queue.carry(source);
  }

  wake(): void {
    if (!this.#closed) this.#queue.run();
  }

  /**
   * Says Goodbye behind what was begun, and nothing more. The server, which has read everything then, closes: `closed` without
   * a failure proves it. How long that may take is the caller's part.
   */
  leave(): void {
    this.send("goodbye", {});
    this.#leaving = true;
    this.#heartbeat.cancel();
  }

  /** Sends what is queued, then closes; a server that does not take it is cut off after a while. */
  end(): void {
    if (this.#closed) return;
    const { clock, connection } = this.#options;
    this.#lastWords = clock.after(LAST_WORDS_MS, () => connection.destroy());
    this.#close(undefined, () => this.#queue.end());
  }

  /** Closes at once; `closed` gets the failure. */
  destroy(failure: Failure | undefined): void {
    this.#close(failure, () => this.#options.connection.destroy());
  }

  #push(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#heardAtMs = this.#options.clock.now();
    try {
      this.#decoder.push(bytes);
    } catch (error) {
      this.destroy(toFailure(error));
    }
  }

  #take(message: AnyMessage): void {
    if (message.type === "ping") {
      this.send("pong", { id: message.body.id });
      return;
    }
    if (message.type === "pong") {
      if (message.body.id === this.#pingId && this.#pingSentAtMs !== undefined) {
        this.rtt.add(this.#options.clock.now() - this.#pingSentAtMs);
        this.#pingSentAtMs = undefined;
        this.#handlers?.pong?.(message.body);
      }
      return;
    }
    this.#handlers?.message(message);
  }

  #bytes(): BytesHandlers {
    return this.#handlers?.bytes ?? this.#unexpectedData();
  }

  #unexpectedData(): never {
    throw new Failure("E_PROTOCOL", "the server sent a data frame");
  }

  #beat(): void {
    const now = this.#options.clock.now();
    if (now - this.#beatAtMs > this.#pace.heartbeatMs + LATE_MS_MAX) this.#heardAtMs = now;
    this.#beatAtMs = now;
    const silenceMs = now - this.#heardAtMs;
    if (silenceMs > this.#pace.silenceMsMax) {
      this.destroy(
        new Failure(
          "E_TIMEOUT",
          `${this.#options.name}: nothing heard from the server for ${Math.round(silenceMs / 1000)} s`,
        ),
      );
      return;
    }
    if (this.#decoder.state === "agent/welcome") return;
    if (this.#options.beat === undefined) this.ping();
    else this.#options.beat();
  }

  /** `how` closes the connection, if that is not what happened. */
  #close(failure: Failure | undefined, how?: () => void): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#heartbeat.cancel();
    this.#decoder.close();
    how?.();
    this.#handlers?.closed(failure);
  }
}
