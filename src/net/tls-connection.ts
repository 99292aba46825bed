/**
 * A TLS socket of Bun as a Connection. It begins when the handshake is over and the peer's certificate is verified;
 * dial.ts and listen.ts lead there and forward the socket's events. Bytes go through as they come: it queues nothing
 * but what has been read already when its owner pauses it.
 */
import { assert } from "#base/assert.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import { type PeerIdentity, peerIdentity } from "#pki/peer-identity.ts";
import { remoteAddressOf } from "./address.ts";
import type { Connection, ConnectionHandlers } from "./connection.ts";
import { brokenFailure, tlsFailure } from "./tls-failure.ts";

/** After `end` the peer has so long to take the last bytes and to close its side. */
export const LINGER_MS = 30_000;

/**
 * What may arrive while nobody wants it: in the turn between the handshake and `attach`, or after `pause` out of the
 * read under way, of which Bun hands over 512 KiB and then a rest.
 */
const HELD_BYTES_MAX = 1024 * KiB;

export interface TlsConnectionOptions<T> {
  /** After its handshake. */
  readonly socket: Bun.Socket<T>;
  /** What the peer is. */
  readonly role: "server" | "agent";
  readonly clock: Clock;
  /** Whether the CA of that certificate is trusted no more; never unless told. */
  readonly withdrawn?: (der: Uint8Array) => boolean;
}

/** Events of the socket, called by the handlers that Bun calls. */
export interface SocketEvents {
  onData(bytes: Uint8Array): void;
  onDrain(): void;
  onError(error: unknown): void;
  onClose(error: unknown): void;
}

export class TlsConnection<T> implements Connection, SocketEvents {
  readonly remoteAddress: string;
  readonly localPort: number;
  readonly #socket: Bun.Socket<T>;
  readonly #role: "server" | "agent";
  readonly #clock: Clock;
  /** Kept, because a closed socket does not have it any more. */
  readonly #certificateDer: Uint8Array | undefined;
  readonly #withdrawn: (der: Uint8Array) => boolean;
  #handlers: ConnectionHandlers | undefined;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #paused = false;
  #heard = false;
  #ending = false;
  #destroyed = false;
  #closed = false;
  /** The first error reported: those that follow from it say less. */
  #error: unknown;
  #linger: Timer | undefined;

  constructor(options: TlsConnectionOptions<T>) {
    const { socket } = options;
    this.#socket = socket;
    this.#role = options.role;
    this.#clock = options.clock;
    this.#withdrawn = options.withdrawn ?? (() => false);
    this.remoteAddress = remoteAddressOf(socket);
    this.localPort = socket.localPort;
    this.#certificateDer = socket.getPeerX509Certificate()?.raw;
  }

  peer(): PeerIdentity {
    const der = this.#certificateDer;
    const peer = peerIdentity(der, this.#role, this.#clock.wall());
    if (der === undefined || !this.#withdrawn(der)) return peer;
    throw new Failure("E_TLS", `the certificate of ${this.#role} ${peer.commonName}: its CA is not trusted any more`);
  }

  attach(handlers: ConnectionHandlers): void {
    assert(this.#handlers === undefined, `connection to ${this.remoteAddress} was attached twice`);
    this.#handlers = handlers;
    // Later, as every event: the owner is not called while it is still setting itself up.
    this.#deliverHeldLater();
    if (this.#closed) this.#tellClosed();
  }

  write(bytes: Uint8Array): number {
    if (this.#over) return 0;
    // -1 says that the socket is gone; its close event follows.
    return Math.max(0, this.#socket.write(bytes as Uint8Array<ArrayBuffer>));
  }

  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    this.#socket.resume();
    this.#deliverHeldLater();
  }

  end(): void {
    if (this.#over) return;
    this.#ending = true;
    // Bun sends what it holds, closes our side, and goes on reading until the peer closes.
    this.#socket.end();
    if (!this.#closed) this.#linger = this.#clock.after(LINGER_MS, () => this.destroy());
  }

  destroy(): void {
    if (this.#closed || this.#destroyed) return;
    this.#destroyed = true;
    this.#socket.terminate();
  }

  onData(bytes: Uint8Array): void {
    if (this.#closed || this.#destroyed || bytes.length === 0) return;
    this.#heard = true;
    if (this.#handlers === undefined || this.#paused || this.#heldBytes > 0) this.#hold(bytes);
    else this.#call((handlers) => handlers.data(bytes));
  }

  onDrain(): void {
    if (!this.#over) this.#call((handlers) => handlers.drain());
  }

  onError(error: unknown): void {
    this.#error ??= error;
  }

  onClose(error: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error ??= error;
    this.#linger?.cancel();
    this.#tellClosed();
  }

  /** Nothing more may be written. */
  get #over(): boolean {
    return this.#closed || this.#ending || this.#destroyed;
  }

  #hold(bytes: Uint8Array): void {
    this.#held.push(bytes.slice());
    this.#heldBytes += bytes.length;
    if (this.#heldBytes <= HELD_BYTES_MAX) return;
    this.onError(new Failure("E_INTERNAL", `${this.remoteAddress} was read for ${this.#heldBytes} bytes while paused`));
    this.#socket.terminate();
  }

  #deliverHeldLater(): void {
    if (this.#heldBytes > 0) queueMicrotask(() => this.#deliverHeld());
  }

  #deliverHeld(): void {
    while (!this.#paused && !this.#destroyed) {
      const bytes = this.#held.shift();
      if (bytes === undefined) return;
      this.#heldBytes -= bytes.length;
      this.#call((handlers) => handlers.data(bytes));
    }
  }

  /** Calls the owner; what it throws is a bug of this side, which shall cost this connection and not the process. */
  #call(event: (handlers: ConnectionHandlers) => void): void {
    if (this.#handlers === undefined) return;
    try {
      event(this.#handlers);
    } catch (error) {
      this.onError(toFailure(error));
      this.#socket.terminate();
    }
  }

  /** In a turn of its own: the close event can come in the middle of a call of the owner. */
  #tellClosed(): void {
    const handlers = this.#handlers;
    if (handlers === undefined) return;
    queueMicrotask(() => {
      this.#deliverHeld();
      handlers.closed(this.#failure());
    });
  }

  #failure(): Failure | undefined {
    const error = this.#error;
    if (error instanceof Failure) return error;
    if (this.#destroyed) return undefined;
    const peer = `the ${this.#role} ${this.remoteAddress}`;
    const errno = errnoName(error);
    if (this.#role === "server" && !this.#heard && !this.#ending && isPeerEnd(error, errno))
      return refusedSilently(peer, error);
    if (error === undefined || error === null) return undefined;
    if (errno === undefined || errno === "EPROTO") return tlsFailure(error, peer, undefined);
    return brokenFailure(errno, peer, { cause: error });
  }
}

/** The peer closed, orderly or not; nothing broke on the way. */
function isPeerEnd(error: unknown, errno: string | undefined): boolean {
  return error === undefined || error === null || errno === "ECONNRESET" || errno === "EPIPE";
}

/**
 * A server that refuses our certificate closes without a word: in TLS 1.3 our side of the handshake is over by then. It
 * may also have been stopped just now, so that trying again is right.
 */
function refusedSilently(peer: string, cause: unknown): Failure {
  return new Failure("E_TLS", `${peer} closed the connection before it said anything`, {
    hint: "If this happens again it does not accept this agent's certificate: its log says why.",
    retry: true,
    cause,
  });
}
