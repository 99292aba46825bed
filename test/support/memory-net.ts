/**
 * Connections in memory on a clock, with the faults of a real network: delay, a limited rate, bounded buffers, stalls,
 * one-way loss, cuts at any byte. It behaves as src/net does where the contract of connection.ts leaves room: bytes are
 * taken in part, events come in turns of their own, a reset drops what was not read. It has no TLS: who the peers are is
 * said by the test. Nothing in it is random.
 */
import { assert, must } from "#base/assert.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import type { Connection, ConnectionHandlers } from "#net/connection.ts";
import { LINGER_MS } from "#net/tls-connection.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";

/** Which way bytes go: from the client (the agent) or from the server. */
export type Way = "fromClient" | "fromServer";

/** Sees what passes, and may change it: what was handed over for sending, and what is about to be received. */
export interface LinkTap {
  sent(way: Way, bytes: Uint8Array): void;
  /** May change the bytes. Answers how many of them arrive; fewer than all: the connection breaks behind them. */
  arriving(way: Way, bytes: Uint8Array): number;
  /** It breaks because of `cutAfter`. */
  cut(): void;
}

export interface MemoryLinkOptions {
  readonly clock: Clock;
  /** One way. 1 unless told. */
  readonly latencyMs?: number;
  /** Each way; unlimited unless told. */
  readonly bytesPerSecond?: number;
  /** Bytes each way that the sender has handed over and the receiver has not read. 256 KiB unless told. */
  readonly bufferBytes?: number;
  readonly tap?: LinkTap;
  readonly clientAddress?: string;
  readonly serverAddress?: string;
  /** What `peer()` of the server's end says: the agent's certificate, checked now. */
  readonly clientIdentity?: () => PeerIdentity;
  /** What `peer()` of the client's end says. */
  readonly serverIdentity?: () => PeerIdentity;
}

export interface MemoryLink {
  readonly client: Connection;
  readonly server: Connection;
  /** Both ends are closed. */
  readonly over: boolean;
  /** Bytes of one way that were handed over to the receiver. */
  deliveredBytes(way: Way): number;
  /** Both ends break at once, as by a reset from between. */
  cut(): void;
  /** Both ends break when exactly `bytes` more of one way were handed over. */
  cutAfter(way: Way, bytes: number): void;
  /** Nothing passes that way until `release`: buffers fill, nobody is told. */
  stall(way: Way): void;
  release(way: Way): void;
  /** One end breaks; the other hears nothing of it, and what was on its way still arrives. */
  breakEnd(end: "client" | "server"): void;
  /** What is sent that way vanishes from now on, its end too, and is never acknowledged: a cable pulled on one side. */
  lose(way: Way): void;
}

const SEGMENT_BYTES = 64 * KiB;

/** What travels on a lane: bytes, the orderly end after them, or a reset. */
type Parcel = { readonly arrivesAtMs: number } & (
  { readonly kind: "bytes"; readonly bytes: Uint8Array } | { readonly kind: "end" }
);

/** One direction. */
class Lane {
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #latencyMs: number;
  readonly #bytesPerMs: number;
  readonly #bufferBytes: number;
  readonly #way: Way;
  readonly #tap: LinkTap | undefined;
  readonly #parcels: Parcel[] = [];
  from: End | undefined;
  to: End | undefined;
  stalled = false;
  lost = false;
  cutAtBytes = Number.POSITIVE_INFINITY;
  deliveredBytes = 0;
  #heldBytes = 0;
  #drainWanted = false;
  #resetPending = false;
  #lastArrivalMs = 0;
  #timer: Timer | undefined;

  constructor(link: Link, way: Way, options: MemoryLinkOptions) {
    this.#link = link;
    this.#way = way;
    this.#tap = options.tap;
    this.#clock = options.clock;
    this.#latencyMs = options.latencyMs ?? 1;
    this.#bytesPerMs = (options.bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000;
    this.#bufferBytes = options.bufferBytes ?? 256 * KiB;
  }

  /** Takes what the buffers have room for. */
  send(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, this.#bufferBytes - this.#heldBytes);
    if (taken < bytes.length) this.#drainWanted = true;
    this.#heldBytes += taken;
    this.#tap?.sent(this.#way, bytes.subarray(0, taken));
    // Nobody acknowledges what is lost, so that it fills the sender's buffer for ever.
    if (this.lost) return taken;
    for (let at = 0; at < taken; at += SEGMENT_BYTES) {
      const segment = bytes.slice(at, Math.min(taken, at + SEGMENT_BYTES));
      this.#parcels.push({ kind: "bytes", bytes: segment, arrivesAtMs: this.#arrival(segment.length) });
    }
    this.schedule();
    return taken;
  }

  sendEnd(): void {
    if (this.lost) return;
    this.#parcels.push({ kind: "end", arrivesAtMs: this.#arrival(0) });
    this.schedule();
  }

  /** A reset overtakes nothing that has arrived, and drops what has not been read when it arrives. */
  sendReset(): void {
    this.clear();
    if (this.lost) return;
    this.#resetPending = this.stalled;
    const to = must(this.to, "receiving end");
    if (!this.stalled) this.#clock.after(this.#latencyMs, () => to.broken("reset by the other side"));
  }

  release(): void {
    this.stalled = false;
    if (this.#resetPending) this.sendReset();
    this.schedule();
  }

  clear(): void {
    this.#parcels.length = 0;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Sees to it that the first parcel is handed over when it may be. */
  schedule(): void {
    const first = this.#parcels[0];
    if (this.#timer !== undefined || first === undefined || this.stalled || this.to?.reading !== true) return;
    this.#timer = this.#clock.after(Math.max(0, first.arrivesAtMs - this.#clock.now()), () => {
      this.#timer = undefined;
      this.#deliverFirst();
    });
  }

  #arrival(bytes: number): number {
    const sentAtMs = Math.max(this.#clock.now(), this.#lastArrivalMs - this.#latencyMs);
    this.#lastArrivalMs = sentAtMs + bytes / this.#bytesPerMs + this.#latencyMs;
    return this.#lastArrivalMs;
  }

  #deliverFirst(): void {
    const to = must(this.to, "receiving end");
    // Stalled or paused since the timer was set.
    if (this.stalled || !to.reading) return;
    const parcel = this.#parcels.shift();
    if (parcel === undefined) return;
    if (parcel.kind === "end") {
      to.peerEnded();
      return;
    }
    const uncut = parcel.bytes.subarray(0, this.cutAtBytes - this.deliveredBytes);
    const view = uncut.subarray(0, this.#tap?.arriving(this.#way, uncut) ?? uncut.length);
    this.deliveredBytes += view.length;
    this.#heldBytes -= parcel.bytes.length;
    if (view.length > 0) to.arrive(view);
    const cut = this.deliveredBytes >= this.cutAtBytes;
    if (cut) this.#tap?.cut();
    if (view.length < uncut.length || cut) {
      this.#link.cut();
      return;
    }
    this.#offerRoom();
    this.schedule();
  }

  #offerRoom(): void {
    if (!this.#drainWanted) return;
    this.#drainWanted = false;
    const from = must(this.from, "sending end");
    this.#clock.after(this.#latencyMs, () => from.drained());
  }
}

class End implements Connection {
  readonly remoteAddress: string;
  readonly localPort: number;
  readonly #clock: Clock;
  readonly #out: Lane;
  readonly #in: Lane;
  readonly #peer: () => PeerIdentity;
  #handlers: ConnectionHandlers | undefined;
  #paused = false;
  #ended = false;
  #destroyed = false;
  #closed = false;
  #linger: Timer | undefined;

  constructor(
    clock: Clock,
    lanes: { out: Lane; in: Lane },
    addresses: { own: string; remote: string },
    peer: () => PeerIdentity,
  ) {
    this.#clock = clock;
    this.#out = lanes.out;
    this.#in = lanes.in;
    this.#peer = peer;
    this.remoteAddress = addresses.remote;
    this.localPort = Number(addresses.own.slice(addresses.own.lastIndexOf(":") + 1));
    lanes.out.from = this;
    lanes.in.to = this;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether what has arrived may be handed over. */
  get reading(): boolean {
    return this.#handlers !== undefined && !this.#paused && !this.#destroyed && !this.#closed;
  }

  peer(): PeerIdentity {
    return this.#peer();
  }

  attach(handlers: ConnectionHandlers): void {
    assert(this.#handlers === undefined, `connection to ${this.remoteAddress} was attached twice`);
    this.#handlers = handlers;
    this.#in.schedule();
  }

  write(bytes: Uint8Array): number {
    return this.#ended || this.#destroyed || this.#closed ? 0 : this.#out.send(bytes);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#in.schedule();
  }

  end(): void {
    if (this.#ended || this.#destroyed || this.#closed) return;
    this.#ended = true;
    this.#out.sendEnd();
    this.#linger = this.#clock.after(LINGER_MS, () => this.destroy());
  }

  destroy(): void {
    if (this.#destroyed || this.#closed) return;
    this.#destroyed = true;
    this.#out.sendReset();
    this.#clock.after(0, () => this.#close(undefined));
  }

  arrive(bytes: Uint8Array): void {
    this.#handlers?.data(bytes);
  }

  drained(): void {
    if (!this.#ended && !this.#destroyed && !this.#closed) this.#handlers?.drain();
  }

  /** The peer closed its side: this one closes too, and lets it know. */
  peerEnded(): void {
    if (!this.#ended) this.#out.sendEnd();
    this.#close(undefined);
  }

  broken(reason: string): void {
    if (this.#destroyed) return;
    this.#close(new Failure("E_DISCONNECTED", `the connection to ${this.remoteAddress} broke: ${reason}`));
  }

  #close(failure: Failure | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#linger?.cancel();
    this.#in.clear();
    this.#handlers?.closed(failure);
  }
}

class Link implements MemoryLink {
  readonly client: End;
  readonly server: End;
  readonly #clock: Clock;
  readonly #lanes: Readonly<Record<Way, Lane>>;

  constructor(options: MemoryLinkOptions) {
    const { clock, clientAddress = "192.0.2.7:40000", serverAddress = "192.0.2.1:9847" } = options;
    const fromClient = new Lane(this, "fromClient", options);
    const fromServer = new Lane(this, "fromServer", options);
    this.#clock = clock;
    this.#lanes = { fromClient, fromServer };
    this.client = new End(
      clock,
      { out: fromClient, in: fromServer },
      { own: clientAddress, remote: serverAddress },
      options.serverIdentity ?? unknownPeer,
    );
    this.server = new End(
      clock,
      { out: fromServer, in: fromClient },
      { own: serverAddress, remote: clientAddress },
      options.clientIdentity ?? unknownPeer,
    );
  }

  get over(): boolean {
    return this.client.closed && this.server.closed;
  }

  deliveredBytes(way: Way): number {
    return this.#lanes[way].deliveredBytes;
  }

  cut(): void {
    for (const lane of Object.values(this.#lanes)) lane.clear();
    for (const end of [this.client, this.server]) this.#clock.after(0, () => end.broken("cut"));
  }

  cutAfter(way: Way, bytes: number): void {
    const lane = this.#lanes[way];
    lane.cutAtBytes = lane.deliveredBytes + bytes;
    if (bytes === 0) this.cut();
  }

  breakEnd(end: "client" | "server"): void {
    this[end].broken("given up on the way");
  }

  stall(way: Way): void {
    this.#lanes[way].stalled = true;
  }

  release(way: Way): void {
    this.#lanes[way].release();
  }

  lose(way: Way): void {
    this.#lanes[way].lost = true;
    this.#lanes[way].clear();
  }
}

function unknownPeer(): PeerIdentity {
  throw new Failure("E_TLS", "this test says nothing of certificates");
}

/** A connection that is up, seen from both ends. */
export function memoryLink(options: MemoryLinkOptions): MemoryLink {
  return new Link(options);
}
