/**
 * The network between the agents and the one server: it dials, keeps count of what is open, and lets the cables of a host be
 * pulled. What goes wrong on a connection is faults-network.ts; this only gives it the handles.
 */
import { Failure } from "#base/errors.ts";
import type { Connection, Dialer } from "#net/connection.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { type LinkTap, type MemoryLink, memoryLink } from "#test/support/memory-net.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import { ProcessConnection } from "./process-connection.ts";
import type { SimProcess } from "./process.ts";

/** What dial.ts gives connecting and the handshake. */
const DIAL_TIMEOUT_MS = 10_000;

/** A connection that was made, with all who have to do with it. */
export interface SimLink {
  readonly number: number;
  /** The machine at the client's end. */
  readonly host: string;
  readonly link: MemoryLink;
  readonly client: SimProcess;
  readonly server: SimProcess;
}

export interface Listening {
  readonly process: SimProcess;
  readonly accept: (connection: Connection) => void;
}

export interface NetworkOptions {
  readonly clock: SimClock;
  readonly latencyMs: number;
  /** Each connection, each way; undefined: as fast as it goes. */
  readonly bytesPerSecond: number | undefined;
  readonly bufferBytes: number;
  /** Called before anything passes. */
  readonly tap: (link: Pick<SimLink, "number" | "host" | "client" | "server">) => LinkTap;
  /** A connection is up. */
  readonly opened: (link: SimLink) => void;
}

export class SimNetwork {
  /** Who takes connections now. */
  listening: Listening | undefined;
  readonly #options: NetworkOptions;
  readonly #links = new Set<SimLink>();
  /** Hosts whose cable is pulled. */
  readonly #unplugged = new Set<string>();
  #dialled = 0;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** Connections of which one end at least is open. */
  links(): SimLink[] {
    for (const link of this.#links) if (link.link.over) this.#links.delete(link);
    return [...this.#links];
  }

  dialer(process: SimProcess, host: string, commonName: string): Dialer {
    return { dial: (signal) => this.#dial(process, host, commonName, signal) };
  }

  /** Nothing passes between the host and the server, and nobody is told. */
  unplug(host: string): void {
    this.#unplugged.add(host);
    for (const { link, host: at } of this.#links) if (at === host) for (const way of WAYS) link.stall(way);
  }

  plug(host: string): void {
    this.#unplugged.delete(host);
    for (const { link, host: at } of this.#links) if (at === host) for (const way of WAYS) link.release(way);
  }

  /** The machine of a process is gone: its connections are dead, and its peers hear nothing of it. */
  vanish(process: SimProcess): void {
    for (const { link, client, server } of this.#links) {
      if (client !== process && server !== process) continue;
      for (const way of WAYS) link.lose(way);
      (client === process ? link.client : link.server).destroy();
    }
  }

  /** The machine is back, and answers what is sent on connections from before with a reset. */
  returned(process: SimProcess): void {
    for (const { link, client, server } of this.#links) {
      if (client === process) link.breakEnd("server");
      else if (server === process) link.breakEnd("client");
    }
  }

  #dial(process: SimProcess, host: string, commonName: string, signal: AbortSignal | undefined): Promise<Connection> {
    const { clock, latencyMs } = this.#options;
    return new Promise((resolve, reject) => {
      const fail = (failure: Failure): void => {
        timer.cancel();
        signal?.removeEventListener("abort", interrupted);
        reject(failure);
      };
      const interrupted = (): void => fail(new Failure("E_INTERRUPTED", "interrupted while connecting"));
      const silent = this.#unplugged.has(host);
      const timer = clock.after(silent ? DIAL_TIMEOUT_MS : 2 * latencyMs, () =>
        process.enter(() => {
          signal?.removeEventListener("abort", interrupted);
          if (silent || this.#unplugged.has(host)) reject(new Failure("E_TIMEOUT", "the server did not answer"));
          else if (this.listening === undefined) reject(new Failure("E_CONNECT", "nobody listens there"));
          else resolve(this.#connect(process, host, commonName, this.listening));
        }),
      );
      if (signal?.aborted === true) interrupted();
      else signal?.addEventListener("abort", interrupted, { once: true });
    });
  }

  #connect(client: SimProcess, host: string, commonName: string, listening: Listening): Connection {
    const { clock, latencyMs, bytesPerSecond, bufferBytes, tap, opened } = this.#options;
    const { process: server, accept } = listening;
    this.#dialled += 1;
    const number = this.#dialled;
    const identity: PeerIdentity = {
      commonName,
      fingerprint: "00".repeat(32),
      notBeforeMs: 0,
      notAfterMs: 4e12,
      serial: "01",
    };
    const link = memoryLink({
      clock,
      latencyMs,
      bufferBytes,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      clientAddress: `${host}:${40_000 + number}`,
      clientIdentity: () => identity,
      tap: tap({ number, host, client, server }),
    });
    const sim: SimLink = { number, host, link, client, server };
    this.#links.add(sim);
    const atServer = new ProcessConnection(link.server, server);
    server.enter(() => accept(atServer));
    opened(sim);
    return new ProcessConnection(link.client, client);
  }
}

export const WAYS = ["fromClient", "fromServer"] as const;
