/**
 * A server that does what a test tells it, for agents: without a script it obliges (welcomes, admits, acknowledges,
 * commits), and the script takes over where it wants to be different. It stores nothing and checks nothing.
 */
import type { FileNumber } from "#base/chunk.ts";
import { every, type Clock, type Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Connection, Dialer } from "#net/connection.ts";
import { FrameDecoder } from "#wire/decoder.ts";
import { encodeMessage } from "#wire/encode.ts";
import type { FrameHeader } from "#wire/frame.ts";
import { CHUNK_TAIL_BYTES, HEARTBEAT_MS } from "#wire/limits.ts";
import type { AnyMessage, Message, MessageType } from "#wire/messages.ts";
import { type ScriptPipe, scriptPipe } from "./script-pipe.ts";

export const BOOT = "00000000-0000-4000-8000-0000000000b0";
export const SESSION = "00000000-0000-4000-8000-0000000000c0";

/** What arrives: a message, or a whole Data frame. */
export type Arrived = AnyMessage | { readonly type: "data"; readonly body: FrameHeader };

/** True: the script has answered, the server does nothing of its own. */
export type Script = (link: ServedLink, arrived: Arrived, server: ScriptServer) => boolean;

/** The server's end of one connection. */
export class ServedLink {
  readonly pipe: ScriptPipe;
  readonly received: Arrived[] = [];
  hello: Message<"hello"> | undefined;
  closed = false;
  #welcomed = false;
  readonly #connection: Connection;
  readonly #heartbeat: Timer;
  #queue: Uint8Array[] = [];

  constructor(clock: Clock, pipe: ScriptPipe, arrived: (link: ServedLink, arrived: Arrived) => void) {
    this.pipe = pipe;
    this.#connection = pipe.server;
    let header: FrameHeader | undefined;
    const take = (what: Arrived): void => {
      this.received.push(what);
      arrived(this, what);
    };
    const decoder: FrameDecoder = new FrameDecoder({
      state: "server/hello",
      handlers: {
        message: (message) => {
          if (message.type === "hello") {
            this.hello = message.body;
            const { role, session } = message.body;
            decoder.enter(
              role === "read"
                ? "server/read"
                : role === "stream"
                  ? "server/stream"
                  : session === undefined
                    ? "server/begin"
                    : "server/session-data",
            );
          }
          if (message.type === "begin") decoder.enter("server/session-data");
          if (message.type === "ping") this.send("pong", { id: message.body.id });
          take(message);
        },
        dataStart: (begun) => {
          header = begun;
        },
        dataBytes: () => undefined,
        dataEnd: () => {
          if (header !== undefined) take({ type: "data", body: header });
        },
      },
    });
    this.#heartbeat = every(clock, HEARTBEAT_MS, () => {
      if (this.#welcomed) this.send("ping", { id: 0 });
    });
    pipe.server.attach({
      data: (bytes) => decoder.push(bytes),
      drain: () => this.#flush(),
      closed: () => {
        this.closed = true;
        this.#heartbeat.cancel();
      },
    });
  }

  get isSession(): boolean {
    return this.hello?.role === "session";
  }

  /** How many of this type arrived. */
  count(type: Arrived["type"]): number {
    return this.received.filter((what) => what.type === type).length;
  }

  send<T extends MessageType>(type: T, body: Message<T>): void {
    if (type === "welcome") this.#welcomed = true;
    this.#queue.push(encodeMessage(type, body, { generation: 0 }));
    this.#flush();
  }

  /** A frame that is no message. */
  raw(frame: Uint8Array): void {
    this.#queue.push(frame);
    this.#flush();
  }

  /** A pulled cable: nothing passes, and this end will not hear of it. */
  freeze(): void {
    this.pipe.freeze();
    this.#heartbeat.cancel();
    this.closed = true;
  }

  /** Stops reading, as behind a full disk. */
  pause(): void {
    this.#connection.pause();
  }

  /** An orderly end by the server. */
  end(): void {
    this.#connection.end();
  }

  #flush(): void {
    for (let bytes = this.#queue[0]; bytes !== undefined; bytes = this.#queue[0]) {
      const taken = this.#connection.write(bytes);
      if (taken < bytes.length) {
        this.#queue[0] = bytes.subarray(taken);
        return;
      }
      this.#queue.shift();
    }
  }
}

export class ScriptServer implements Dialer {
  readonly links: ServedLink[] = [];
  down = false;
  /** Whoever dials waits, as behind a firewall that drops everything. */
  hanging = false;
  dialled = 0;
  /** Local ports of the next connections; all others are new. */
  readonly portsAgain: number[] = [];
  /** Which start of the server this is. */
  boot = BOOT;
  readonly #clock: Clock;
  readonly #script: Script;
  readonly #files: readonly [Map<number, number>, Map<number, number>] = [new Map(), new Map()];
  #slotGeneration = 0;
  #generation = 1;
  #boots = 0;

  constructor(clock: Clock, script: Script = () => false) {
    this.#clock = clock;
    this.#script = script;
  }

  dial(signal?: AbortSignal): Promise<Connection> {
    this.dialled += 1;
    if (this.hanging) {
      return new Promise((_, reject) => {
        const give = (): void => reject(new Failure("E_INTERRUPTED", "interrupted while connecting"));
        signal?.addEventListener("abort", give, { once: true });
      });
    }
    if (this.down) return Promise.reject(new Failure("E_CONNECT", "the network is down"));
    const port = this.portsAgain.shift() ?? 50_000 + this.dialled;
    const pipe = scriptPipe(this.#clock, `192.0.2.7:${port}`, () => {
      throw new Failure("E_TLS", "the script looks at no certificate");
    });
    this.links.push(new ServedLink(this.#clock, pipe, (link, what) => this.#arrived(link, what)));
    return Promise.resolve(pipe.client);
  }

  get open(): readonly ServedLink[] {
    return this.links.filter((link) => !link.closed);
  }

  get sessionLink(): ServedLink | undefined {
    return this.open.find((link) => link.isSession);
  }

  /** Connections made for a slot so far. */
  streamLinks(slot: number): readonly ServedLink[] {
    return this.links.filter((link) => link.hello?.role === "stream" && link.hello.slot === slot);
  }

  /** Another start of the server: of what it held, the first `durableChunks` of the archive are left. */
  restart(durableChunks: number): void {
    this.#boots += 1;
    this.boot = `${BOOT.slice(0, -6)}${String(this.#boots).padStart(6, "0")}`;
    for (const sequence of [...this.#files[0].keys()]) if (sequence >= durableChunks) this.#files[0].delete(sequence);
    this.#files[1].clear();
  }

  welcome(link: ServedLink): void {
    this.#slotGeneration += 1;
    if (link.isSession && link.hello?.session !== undefined) this.#generation += 1;
    link.send("welcome", {
      version: 1,
      software: "nbackup-server 0.0.0",
      boot: this.boot,
      generation: this.#generation,
      slotGeneration: this.#slotGeneration,
    });
  }

  admit(link: ServedLink, fields: Partial<Message<"admitted">> = {}): void {
    for (const file of this.#files) file.clear();
    link.send("admitted", {
      session: SESSION,
      generation: this.#generation,
      slotGeneration: this.#slotGeneration,
      compression: { mode: "gzip", level: 3 },
      chunkBytes: 65_536,
      archive: "web-1/home/2026-01-01T00-00-00-000Z.tar.gz",
      lastEntries: 0,
      lastRawBytes: 0,
      ...fields,
    });
  }

  /** What arrived is durable as far as it has no gap, the rest received. */
  sack(link: ServedLink, fields: Partial<Message<"sack">> = {}): void {
    const files = ([0, 1] as const).map((file) => this.#acknowledged(file));
    link.send("sack", { boot: this.boot, generation: this.#generation, files, lost: [], stalled: false, ...fields });
  }

  refuse(
    link: ServedLink,
    code: string,
    fields: Partial<Message<"refused">> & { readonly as?: "refused" | "ended" } = {},
  ): void {
    const { as = "refused", ...rest } = fields;
    const body = { code, message: `${code} by script`, hint: "Do as the script says.", retry: true, ...rest };
    if (as === "ended") link.send("ended", { session: SESSION, ...body });
    else link.send("refused", body);
    link.end();
  }

  commit(link: ServedLink, fields: Partial<Message<"committed">> = {}): void {
    const finish = this.links.flatMap((each) => each.received).findLast((what) => what.type === "finish");
    if (finish?.type !== "finish") throw new Error("no Finish has come");
    const archive = finish.body.files[0];
    if (archive === undefined) throw new Error("Finish has no file");
    const { bytes, sha256 } = archive;
    link.send("committed", { session: SESSION, archive: "a/b/c.tar.gz", bytes, sha256, removed: [], ...fields });
  }

  #arrived(link: ServedLink, what: Arrived): void {
    // What arrived counts as held only when nothing else was made of it.
    if (this.#script(link, what, this)) return;
    switch (what.type) {
      case "hello":
        this.welcome(link);
        if (what.body.session !== undefined) this.sack(link);
        break;
      case "begin":
        this.admit(link);
        break;
      case "data":
        this.hold(what.body);
        this.sack(link);
        break;
      case "finish":
        this.commit(link);
        break;
      case "goodbye":
        link.end();
        break;
      default:
        break;
    }
  }

  hold(header: FrameHeader): void {
    this.#files[header.file].set(header.sequence, header.length - CHUNK_TAIL_BYTES);
  }

  #acknowledged(file: FileNumber): Message<"sack">["files"][number] {
    const held = this.#files[file];
    let durableChunks = 0;
    let durableBytes = 0;
    for (let length = held.get(0); length !== undefined; length = held.get(durableChunks)) {
      durableBytes += length;
      durableChunks += 1;
    }
    const above = [...held.keys()].filter((sequence) => sequence >= durableChunks).toSorted((a, b) => a - b);
    return { file, durableChunks, durableBytes, received: above.map((n) => [n, n]) };
  }
}
