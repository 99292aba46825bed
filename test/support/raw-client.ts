/**
 * Connections to a real server that do what no agent would: bytes as the test wants them, with any certificate or none.
 * What comes back is kept and parsed as frames; it keeps no rule of the protocol.
 */
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { encode } from "@msgpack/msgpack";
import { decodeHeader, decodeMessage } from "#wire/decode.ts";
import { FRAME_MAGIC, FRAME_TYPES, type FrameType } from "#wire/frame.ts";
import { FRAME_HEADER_BYTES } from "#wire/limits.ts";
import type { AnyMessage } from "#wire/messages.ts";
import type { DemoPair } from "#test/support/pki.ts";

export interface RawTls {
  readonly caPath: string;
  /** None: no certificate is presented. */
  readonly pair?: DemoPair;
  /** `nbackup/1` unless told; "" for none. */
  readonly protocol?: string;
}

const HOST = "127.0.0.1";
const DEADLINE_MS = 30_000;

export class RawClient {
  readonly #openedAtMs = performance.now();
  readonly #closed = Promise.withResolvers<number>();
  readonly #ready = Promise.withResolvers<void>();
  #socket: Bun.Socket<undefined> | undefined;
  #received = Buffer.alloc(0);
  #waiting: Uint8Array[] = [];
  #isClosed = false;
  #waiters: (() => void)[] = [];

  /** Without `tls` plain TCP. Resolves when the connection, and with `tls` its handshake, is up or was refused. */
  static async connect(port: number, tls?: RawTls): Promise<RawClient> {
    const client = new RawClient();
    const socket = {
      binaryType: "uint8array" as const,
      open: () => {
        if (tls === undefined) client.#ready.resolve();
      },
      handshake: () => client.#ready.resolve(),
      data: (_: unknown, bytes: Uint8Array) => client.#take(bytes),
      drain: () => client.#flush(),
      close: () => client.#over(),
      error: () => client.#over(),
    };
    client.#socket =
      tls === undefined
        ? await Bun.connect({ hostname: HOST, port, socket })
        : await Bun.connect({ hostname: HOST, port, socket, tls: tlsOptions(tls) });
    await Promise.race([client.#ready.promise, client.#closed.promise]);
    return client;
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  /** How long after its beginning the server closed it, in milliseconds. */
  async closedAfterMs(withinMs = DEADLINE_MS): Promise<number> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`the server kept a connection for ${withinMs} ms`)), withinMs);
    try {
      return await Promise.race([this.#closed.promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  send(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#flush();
  }

  /** A control frame with any payload, fitting or not. */
  frame(type: FrameType, body: unknown): void {
    this.send(controlFrame(type, body));
  }

  /** All frames that came so far. */
  messages(): AnyMessage[] {
    const messages: AnyMessage[] = [];
    let at = 0;
    while (this.#received.length - at >= FRAME_HEADER_BYTES) {
      const header = decodeHeader(this.#received, at);
      const end = at + FRAME_HEADER_BYTES + header.length;
      if (this.#received.length < end || header.type === "data" || header.type === "copy" || header.type === "bytes")
        break;
      messages.push(decodeMessage(header.type, this.#received.subarray(at + FRAME_HEADER_BYTES, end)));
      at = end;
    }
    return messages;
  }

  /** The first message of that type; waits for it, and rejects when the connection closes without one. */
  async message<T extends AnyMessage["type"]>(type: T): Promise<Extract<AnyMessage, { type: T }>> {
    for (;;) {
      const found = this.messages().find((message) => message.type === type);
      if (found !== undefined) return found as Extract<AnyMessage, { type: T }>;
      if (this.#isClosed) throw new Error(`closed without ${type}; came: ${JSON.stringify(this.messages())}`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  close(): void {
    this.#socket?.terminate();
  }

  #take(bytes: Uint8Array): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    this.#wake();
  }

  #flush(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const taken = Math.max(0, this.#socket?.write(first) ?? 0);
      if (taken < first.length) {
        this.#waiting[0] = first.subarray(taken);
        return;
      }
      this.#waiting.shift();
    }
  }

  #over(): void {
    this.#isClosed = true;
    this.#closed.resolve(performance.now() - this.#openedAtMs);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}

function controlFrame(type: FrameType, body: unknown): Uint8Array {
  const payload = encode(body);
  return Buffer.concat([frameHeader(type, payload.length, crc32(payload)), payload]);
}

/** PROTOCOL.md "Frames"; what it does not name here is 0. */
export function frameHeader(type: FrameType, length: number, crc: number): Uint8Array {
  const header = new DataView(new ArrayBuffer(FRAME_HEADER_BYTES));
  header.setUint32(0, FRAME_MAGIC);
  header.setUint8(4, FRAME_TYPES[type]);
  header.setUint32(8, length);
  header.setUint32(20, crc);
  return new Uint8Array(header.buffer);
}

function tlsOptions({ caPath, pair, protocol = "nbackup/1" }: RawTls): Bun.TLSOptions {
  return {
    ca: readFileSync(caPath, "utf8"),
    serverName: HOST,
    ...(protocol === "" ? {} : { ALPNProtocols: Buffer.from([protocol.length, ...Buffer.from(protocol)]) }),
    ...(pair === undefined
      ? {}
      : { cert: readFileSync(pair.certPath, "utf8"), key: readFileSync(pair.keyPath, "utf8") }),
  };
}
