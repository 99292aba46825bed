/**
 * A TCP proxy on the loopback interface with the faults of real networks: it cuts connections, stalls, throttles and
 * refuses them, one (proxied-connection.ts) or all. It forwards bytes without looking at them. For the end-to-end tests
 * only; the simulator has its own net.
 */
import { PORTIONS_PER_SECOND, ProxiedConnection } from "./proxied-connection.ts";
import { limitReceiveBuffer } from "./socket-buffer.ts";

const HOST = "127.0.0.1";

export interface FaultProxyOptions {
  /** Where the server listens. */
  readonly targetPort: number;
  /** Called for each new connection before a byte is forwarded: the place to set its faults. */
  readonly onOpen?: (connection: ProxiedConnection) => void;
  /** What the kernel takes for a connection that is throttled; without it as much as it likes. */
  readonly receiveBufferBytes?: number;
}

interface ProgressWaiter {
  readonly bytes: number;
  readonly resolve: () => void;
}

type Listener = Bun.TCPSocketListener<ProxiedConnection | undefined>;

export class FaultProxy {
  readonly port: number;
  readonly targetPort: number;
  readonly #receiveBufferBytes: number | undefined;
  readonly #onOpen: ((connection: ProxiedConnection) => void) | undefined;
  readonly #connections = new Set<ProxiedConnection>();
  #listener: Listener | undefined;
  #count = 0;
  #refusing = false;
  #waiters: ProgressWaiter[] = [];
  /** What all connections together may send to the server now. */
  #allowanceBytes = Number.POSITIVE_INFINITY;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Bytes forwarded to the server over all connections so far. */
  bytesUp = 0;

  constructor(options: FaultProxyOptions) {
    this.targetPort = options.targetPort;
    this.#onOpen = options.onOpen;
    this.#receiveBufferBytes = options.receiveBufferBytes;
    this.#listener = this.#listen(0);
    this.port = this.#listener.port;
  }

  /** The connections that are up. */
  get connections(): readonly ProxiedConnection[] {
    return [...this.#connections];
  }

  /** All connections that ever were. */
  get connectionCount(): number {
    return this.#count;
  }

  /** Breaks all connections; returns how many there were. */
  cutAll(): number {
    const all = this.connections;
    for (const connection of all) connection.cut();
    return all.length;
  }

  /** From now on new connections are broken as soon as they come, or let in again. */
  refuse(refusing: boolean): void {
    this.#refusing = refusing;
  }

  /** As if its process had died: every connection breaks, and new ones are refused by the kernel until `restart`. */
  die(): void {
    this.#listener?.stop(true);
    this.#listener = undefined;
    this.cutAll();
  }

  /** After `die`: listens again on the same port. */
  restart(): void {
    this.#listener ??= this.#listen(this.port);
  }

  /** Holds all connections together to so many bytes per second to the server, whoever comes first; infinity: no more. */
  throttleAll(bytesPerSecond: number): void {
    if (this.#timer !== undefined) clearInterval(this.#timer);
    this.#timer = undefined;
    this.#allowanceBytes = bytesPerSecond === Number.POSITIVE_INFINITY ? bytesPerSecond : 0;
    if (bytesPerSecond === Number.POSITIVE_INFINITY) {
      this.#pumpAll();
      return;
    }
    let filledAtMs = performance.now();
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      const fill = ((nowMs - filledAtMs) / 1000) * bytesPerSecond;
      filledAtMs = nowMs;
      this.#allowanceBytes = Math.min(this.#allowanceBytes + fill, bytesPerSecond / 4);
      this.#pumpAll();
    }, 1000 / PORTIONS_PER_SECOND);
  }

  /** Resolves when so many bytes in all have gone to the server. */
  reached(bytes: number): Promise<void> {
    if (this.bytesUp >= bytes) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ bytes, resolve });
    return promise;
  }

  stop(): void {
    if (this.#timer !== undefined) clearInterval(this.#timer);
    this.die();
  }

  /** For its connections. */
  get allowanceBytes(): number {
    return this.#allowanceBytes;
  }

  /** For its connections. */
  forwarded(bytes: number): void {
    this.bytesUp += bytes;
    this.#allowanceBytes -= bytes;
    this.#waiters = this.#waiters.filter((waiter) => {
      const there = this.bytesUp >= waiter.bytes;
      if (there) waiter.resolve();
      return !there;
    });
  }

  /** For its connections. */
  closed(connection: ProxiedConnection): void {
    this.#connections.delete(connection);
  }

  #pumpAll(): void {
    // The one that was first goes last next time: else it would take everything.
    const [first, ...others] = this.connections;
    if (first === undefined) return;
    this.#connections.delete(first);
    this.#connections.add(first);
    for (const connection of [first, ...others]) connection.pump();
  }

  #listen(port: number): Listener {
    return Bun.listen<ProxiedConnection | undefined>({
      hostname: HOST,
      port,
      socket: {
        binaryType: "uint8array",
        open: (socket) => this.#opened(socket),
        data: (socket, bytes) => socket.data?.received(bytes),
        drain: (socket) => socket.data?.pump(),
        close: (socket) => socket.data?.ended(),
        error: (socket) => socket.data?.failed(),
      },
    });
  }

  #opened(socket: Bun.Socket<ProxiedConnection | undefined>): void {
    if (this.#refusing) {
      socket.terminate();
      return;
    }
    if (this.#receiveBufferBytes !== undefined) limitReceiveBuffer(socket, this.#receiveBufferBytes);
    const connection = new ProxiedConnection(this.#count, this);
    this.#count += 1;
    this.#connections.add(connection);
    socket.data = connection;
    connection.accepted(socket);
    this.#onOpen?.(connection);
  }
}
