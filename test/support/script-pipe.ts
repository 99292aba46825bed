/**
 * Two ends of a connection in memory, on a clock, for scripts that talk to the server: a fixed delay, a bounded buffer
 * each way, and ways to break it. It has no TLS: the certificate is said by the test.
 */
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import type { Connection, ConnectionHandlers } from "#net/connection.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";

const DELAY_MS = 1;
const BUFFER_BYTES = 256 * KiB;

class PipeEnd implements Connection {
  readonly remoteAddress: string;
  readonly localPort = 9847;
  peerOf: () => PeerIdentity;
  other: PipeEnd | undefined;
  readonly #clock: Clock;
  #handlers: ConnectionHandlers | undefined;
  /** Arrived and not handed over. */
  #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #wanted = false;
  #paused = false;
  #ended = false;
  #closed = false;
  #lossy = false;

  constructor(clock: Clock, remoteAddress: string, peerOf: () => PeerIdentity) {
    this.#clock = clock;
    this.remoteAddress = remoteAddress;
    this.peerOf = peerOf;
  }

  peer(): PeerIdentity {
    return this.peerOf();
  }

  attach(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }

  write(bytes: Uint8Array): number {
    const other = this.other;
    if (this.#closed || this.#ended || other === undefined) return 0;
    const taken = Math.min(bytes.length, BUFFER_BYTES - other.#inboxBytes);
    if (taken < bytes.length) this.#wanted = true;
    if (taken > 0) other.#arrive(Uint8Array.from(bytes.subarray(0, taken)));
    return taken;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#later();
  }

  end(): void {
    if (this.#ended || this.#closed) return;
    this.#ended = true;
    this.#clock.after(DELAY_MS, () => {
      if (!this.#lossy) this.other?.over(undefined);
      this.over(undefined);
    });
  }

  destroy(): void {
    if (this.#closed) return;
    if (!this.#lossy) this.#clock.after(DELAY_MS, () => this.other?.over(undefined));
    this.over(undefined);
  }

  /** Nothing that this end sends arrives any more, not even its end. */
  lose(): void {
    this.#lossy = true;
  }

  over(failure: Failure | undefined): void {
    if (this.#closed) return;
    // What arrived before the end is handed over before it.
    if (!this.#paused) this.#deliver();
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers?.closed(failure);
  }

  #arrive(bytes: Uint8Array): void {
    // What is lost on the way still fills the sender's buffer: nobody acknowledges it.
    this.#inboxBytes += bytes.length;
    const lossy = this.other === undefined ? false : this.other.#lossy;
    if (lossy) return;
    this.#inbox.push(bytes);
    this.#later();
  }

  #later(): void {
    this.#clock.after(DELAY_MS, () => this.#deliver());
  }

  #deliver(): void {
    while (!this.#paused && !this.#closed) {
      const bytes = this.#inbox.shift();
      if (bytes === undefined) break;
      this.#inboxBytes -= bytes.length;
      this.#handlers?.data(bytes);
    }
    const other = this.other;
    if (other === undefined) return;
    if (!other.#wanted || this.#inboxBytes >= BUFFER_BYTES) return;
    other.#wanted = false;
    this.#clock.after(DELAY_MS, () => {
      if (!other.#closed) other.#handlers?.drain();
    });
  }
}

export interface ScriptPipe {
  /** The agent's end. */
  readonly client: Connection;
  /** The server's end. */
  readonly server: Connection;
  /** Both ends break at once. */
  cut(): void;
  /** Nothing passes in either direction any more, and neither end is told: a pulled cable. */
  freeze(): void;
}

export function scriptPipe(clock: Clock, address: string, peer: () => PeerIdentity): ScriptPipe {
  const client = new PipeEnd(clock, "192.0.2.1:9847", () => {
    throw new Failure("E_TLS", "the script does not look at the server's certificate");
  });
  const server = new PipeEnd(clock, address, peer);
  client.other = server;
  server.other = client;
  return {
    client,
    server,
    cut: () => {
      const failure = new Failure("E_DISCONNECTED", "cut by the test");
      server.over(failure);
      client.over(failure);
    },
    freeze: () => {
      client.lose();
      server.lose();
    },
  };
}
