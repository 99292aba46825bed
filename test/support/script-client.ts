/**
 * An agent that does what a test tells it, frame by frame, right or wrong. It keeps no state of the protocol: what it
 * sends is what the script says, what it gets is kept in order until the script asks for it.
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { ChunkKind, FileNumber } from "#base/chunk.ts";
import type { Failure } from "#base/errors.ts";
import { RootHasher } from "#base/root-hash.ts";
import { RootTrail } from "#base/root-trail.ts";
import type { Connection } from "#net/connection.ts";
import { decodeHeader, decodeMessage } from "#wire/decode.ts";
import { encodeDataFrame, encodeMessage } from "#wire/encode.ts";
import { FRAME_HEADER_BYTES } from "#wire/limits.ts";
import type { AnyMessage, Message, MessageType } from "#wire/messages.ts";

/** One chunk as a script sends it. */
export interface ScriptChunk {
  readonly file?: FileNumber;
  readonly sequence: number;
  readonly offset: number;
  readonly stored: Uint8Array;
  readonly kind?: ChunkKind;
  readonly rawLength?: number;
  readonly push?: boolean;
}

export interface DataOptions {
  readonly slot?: number;
  readonly generation: number;
  /** Flip a bit of the stored bytes on the way. */
  readonly damaged?: boolean;
}

type Waiter = () => void;

export class ScriptLink {
  /** Every message received, in order. */
  readonly received: AnyMessage[] = [];
  /** Every Bytes frame received, in order. */
  readonly bytes: {
    readonly request: number;
    readonly file: FileNumber;
    readonly offset: number;
    readonly payload: Uint8Array;
  }[] = [];
  /** Generation in the header of each. */
  readonly generations: number[] = [];
  /** Data stops being read by the server: how much of what was sent it has not taken. */
  #queue: Uint8Array[] = [];
  readonly #connection: Connection;
  #buffer = Buffer.alloc(0);
  #taken = 0;
  #waiters: Waiter[] = [];
  #closed: { readonly failure: Failure | undefined } | undefined;
  #answerPings = true;

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.attach({
      data: (bytes) => this.#data(bytes),
      drain: () => this.#flush(),
      closed: (failure) => {
        this.#closed = { failure };
        this.#wake();
      },
    });
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** Bytes that the connection has not taken yet. */
  get unsentBytes(): number {
    return this.#queue.reduce((sum, piece) => sum + piece.length, 0);
  }

  /** From now on Pings are left unanswered, as by a process that hangs. */
  ignorePings(): void {
    this.#answerPings = false;
  }

  send<T extends MessageType>(type: T, body: Message<T>, generation = 0): void {
    this.raw(encodeMessage(type, body, { generation }));
  }

  raw(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#flush();
  }

  data(chunk: ScriptChunk, options: DataOptions): void {
    this.raw(dataFrame(chunk, options));
  }

  /** The next message that is none of `except`; waits for it. Rejects when the connection closes first. */
  async next(except: readonly MessageType[] = ["ping", "pong", "sack"]): Promise<AnyMessage> {
    for (;;) {
      while (this.#taken < this.received.length) {
        const message = this.received[this.#taken];
        this.#taken += 1;
        if (message !== undefined && !except.includes(message.type)) return message;
      }
      if (this.#closed !== undefined) throw new Error(`closed: ${String(this.#closed.failure)}`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** The next message but heartbeats, which must be of this type. */
  async expect<T extends MessageType>(type: T): Promise<Message<T>> {
    const skip = (["ping", "pong", "sack", "queued", "phase"] as const).filter((other) => other !== type);
    const message = await this.next(skip);
    if (message.type !== type)
      throw new Error(`${type} was expected, came ${message.type} ${JSON.stringify(message.body)}`);
    // The type was compared.
    return message.body as Message<T>;
  }

  /** The next Sack that `good` accepts. */
  async sack(good: (sack: Message<"sack">) => boolean = () => true): Promise<Message<"sack">> {
    for (;;) {
      const sack = await this.expect("sack");
      if (good(sack)) return sack;
    }
  }

  /** Resolves when the server or a break closed the connection. */
  async closed(): Promise<Failure | undefined> {
    while (this.#closed === undefined) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.#closed.failure;
  }

  end(): void {
    this.#connection.end();
  }

  destroy(): void {
    this.#connection.destroy();
  }

  #flush(): void {
    for (let piece = this.#queue[0]; piece !== undefined; piece = this.#queue[0]) {
      const taken = this.#connection.write(piece);
      if (taken < piece.length) {
        this.#queue[0] = piece.subarray(taken);
        return;
      }
      this.#queue.shift();
    }
  }

  #data(bytes: Uint8Array): void {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    for (;;) {
      if (this.#buffer.length < FRAME_HEADER_BYTES) break;
      const header = decodeHeader(this.#buffer, 0);
      const end = FRAME_HEADER_BYTES + header.length;
      if (this.#buffer.length < end) break;
      if (header.type === "data" || header.type === "copy") throw new Error(`the server sent ${header.type}`);
      const payload = this.#buffer.subarray(FRAME_HEADER_BYTES, end);
      if (crc32(payload) !== header.crc) throw new Error("the server sent a frame with a wrong CRC");
      if (header.type === "bytes") {
        this.bytes.push({ request: header.sequence, file: header.file, offset: header.offset, payload });
        this.#buffer = this.#buffer.subarray(end);
        continue;
      }
      const message = decodeMessage(header.type, payload);
      this.#buffer = this.#buffer.subarray(end);
      this.received.push(message);
      this.generations.push(header.generation);
      if (message.type === "ping" && this.#answerPings && this.#closed === undefined) {
        this.send("pong", { id: message.body.id });
      }
    }
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }
}

/** The bytes of a Data frame. */
export function dataFrame(chunk: ScriptChunk, options: DataOptions): Uint8Array {
  const { head, tail } = encodeDataFrame({
    slot: options.slot ?? 0,
    generation: options.generation,
    file: chunk.file ?? 0,
    sequence: chunk.sequence,
    offset: chunk.offset,
    storedLength: chunk.stored.length,
    storedCrc: crc32(chunk.stored),
    rawLength: chunk.rawLength ?? chunk.stored.length,
    kind: chunk.kind ?? (chunk.file === 1 ? "index" : "data"),
    digest: createHash("sha256").update(chunk.stored).digest(),
    push: chunk.push ?? false,
  });
  const stored = Uint8Array.from(chunk.stored);
  if (options.damaged === true) stored[0] = (stored[0] ?? 0) ^ 1;
  return Buffer.concat([head, stored, tail]);
}

/** `count` chunks of `length` bytes each, every one different, contiguous from offset 0. */
export function makeChunks(count: number, length: number, file: FileNumber = 0): ScriptChunk[] {
  return Array.from({ length: count }, (_, sequence) => ({
    file,
    sequence,
    offset: sequence * length,
    stored: Uint8Array.from({ length }, (_byte, at) => (at * 31 + sequence * 7 + file) & 0xff),
    push: sequence === count - 1,
  }));
}

/** What the agent would say of these chunks at the end. */
export function finishOf(...files: readonly (readonly ScriptChunk[])[]): Message<"finish"> {
  return {
    files: files.map((chunks, file) => {
      const flat = createHash("sha256");
      const root = new RootHasher();
      const trail = new RootTrail(root);
      let bytes = 0;
      for (const chunk of chunks) {
        flat.update(chunk.stored);
        root.add(chunk.offset, chunk.stored.length, createHash("sha256").update(chunk.stored).digest());
        trail.follow();
        bytes += chunk.stored.length;
      }
      return {
        file: file === 1 ? 1 : 0,
        chunks: chunks.length,
        bytes,
        sha256: Uint8Array.from(flat.digest()),
        root: root.root(),
        trail: trail.bytes(),
      };
    }),
    entries: 3,
    rawBytes: 1000,
    problems: 0,
  };
}
