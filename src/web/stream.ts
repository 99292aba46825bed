/**
 * The live stream: server-sent events to every page that is open. A message is written once for all clients, and only when there is one;
 * a client that does not read is let go when it has missed so many messages, and comes back by itself. Nobody waits for a client.
 */
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { StreamMessage } from "./api-types.ts";
import { liveSession } from "./live-sessions.ts";
import { Refused, type WebAnswer } from "./http.ts";
import { serverNumbers } from "./routes-server.ts";
import { sessionUpdate } from "./routes-sessions.ts";
import type { ReadModel } from "./read-model.ts";

/** Pages open at a time. */
export const STREAM_CLIENTS_MAX = 50;
/** What a client has not read yet: a minute of a busy server, beside what its socket holds. */
const WAITING_BYTES_MAX = 1_048_576;
/** While nothing runs a tick comes every so many looks, which also shows a broken connection. */
const IDLE_LOOKS = 5;
/** Events in one second; a storm is in the log. */
const EVENTS_PER_LOOK = 50;
/** What a browser waits before it comes back. */
const RETRY_MS = 3_000;

type Changed = Extract<StreamMessage, { readonly type: "changed" }>["data"]["routes"][number];

interface Client {
  readonly session: string | undefined;
  readonly isStill: () => boolean;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
}

export class LiveStream {
  readonly #model: ReadModel;
  readonly #clients = new Set<Client>();
  readonly #changed = new Set<Changed>();
  readonly #encoder = new TextEncoder();
  #looks = 0;
  #revision = 0;
  #eventsLeft = EVENTS_PER_LOOK;

  constructor(model: ReadModel) {
    this.#model = model;
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  /** Goes up with every event, end and change, whether or not somebody listens: what was answered at another one may lack something. */
  get revision(): number {
    return this.#revision;
  }

  /** Throws Refused when there are too many. `isStill`: whether it may go on, asked every second. */
  open(session: string | undefined, isStill: () => boolean, signal: AbortSignal): WebAnswer {
    if (this.#clients.size >= STREAM_CLIENTS_MAX) {
      throw new Refused(503, "too-many", `${STREAM_CLIENTS_MAX} pages are open already`, {
        headers: { "retry-after": "30" },
      });
    }
    let client: Client | undefined;
    const close = (): void => {
      if (client !== undefined) this.#clients.delete(client);
    };
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          client = { session, isStill, controller };
          this.#clients.add(client);
          this.#greet(client);
        },
        cancel: close,
      },
      new ByteLengthQueuingStrategy({ highWaterMark: WAITING_BYTES_MAX }),
    );
    signal.addEventListener("abort", close, { once: true });
    // Who has gone already is not heard of any more.
    if (signal.aborted) close();
    const headers = {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    };
    return { status: 200, headers, body, isStream: true };
  }

  /** An event was recorded. */
  event(record: EventRecord): void {
    this.#revision += 1;
    if (this.#eventsLeft <= 0) return;
    this.#eventsLeft -= 1;
    this.#tellAll({ type: "event", data: record });
  }

  ended(record: SessionRecord): void {
    this.#revision += 1;
    this.#tellAll({ type: "ended", data: record });
  }

  /** Told with the next tick, however often it changes. */
  changed(route: Changed): void {
    this.#revision += 1;
    this.#changed.add(route);
  }

  /** Once a second. */
  look(): void {
    this.#looks += 1;
    this.#eventsLeft = EVENTS_PER_LOOK;
    for (const client of [...this.#clients]) if (!client.isStill()) this.#drop(client);
    if (this.#clients.size === 0) {
      this.#changed.clear();
      return;
    }
    if (this.#changed.size > 0) {
      this.#tellAll({ type: "changed", data: { routes: [...this.#changed] } });
      this.#changed.clear();
    }
    if (this.#model.live().length === 0 && this.#looks % IDLE_LOOKS !== 0) return;
    this.#tellAll(this.#tick());
    this.#tellSessions();
  }

  close(): void {
    for (const client of [...this.#clients]) this.#drop(client);
  }

  /** With the first tick: a page that is live and does not know yet what runs would say that nothing does. */
  #greet(client: Client): void {
    const { boot, software } = this.#model.status();
    this.#send(client, this.#encoder.encode(`retry: ${RETRY_MS}\n`));
    const nowWallMs = this.#model.clock.wall();
    this.#send(client, this.#text({ type: "hello", data: { boot, software, nowWallMs, revision: this.#revision } }));
    this.#send(client, this.#text(this.#tick()));
  }

  #tick(): Extract<StreamMessage, { readonly type: "tick" }> {
    const { clock, series } = this.#model;
    return {
      type: "tick",
      data: {
        nowWallMs: clock.wall(),
        server: serverNumbers(this.#model.status(), this.#model),
        sessions: this.#model.live().map((one) => liveSession(one, series)),
        waiting: this.#model.waiting(),
      },
    };
  }

  #tellSessions(): void {
    const bySession = Map.groupBy(this.#clients, ({ session }) => session);
    for (const [session, clients] of bySession) {
      const data = session === undefined ? undefined : sessionUpdate(this.#model, session);
      if (data === undefined) continue;
      const bytes = this.#text({ type: "session", data });
      for (const client of clients) this.#send(client, bytes);
    }
  }

  #tellAll(message: StreamMessage): void {
    if (this.#clients.size === 0) return;
    const bytes = this.#text(message);
    for (const client of [...this.#clients]) this.#send(client, bytes);
  }

  /** JSON has no line breaks of its own: one `data:` line is all of it. */
  #text({ type, data }: StreamMessage): Uint8Array {
    return this.#encoder.encode(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #send(client: Client, bytes: Uint8Array): void {
    // What the socket has taken is not in the queue any more.
    const left = client.controller.desiredSize;
    if (left === null || left < bytes.length) {
      this.#drop(client);
      return;
    }
    client.controller.enqueue(bytes);
  }

  /** What it has not read goes with it: closed in order, its connection would wait for it to be read, for ever. */
  #drop(client: Client): void {
    this.#clients.delete(client);
    // Without a reason, which Bun would write to the standard error.
    client.controller.error();
  }
}
