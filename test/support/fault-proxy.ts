/**
 * A TCP proxy on the loopback interface with the faults of real networks: it cuts connections, stalls, throttles and
 * refuses them. It forwards bytes without looking at them. For the end-to-end tests only; the simulator has its own net.
 */

/** Bytes of a throttled connection go out in this many portions a second. */
const PORTIONS_PER_SECOND = 50;
const HOST = "127.0.0.1";

export interface FaultProxyOptions {
  /** Where the server listens. */
  readonly targetPort: number;
  /** Called for each new connection before a byte is forwarded: the place to set its faults. */
  readonly onOpen?: (connection: ProxiedConnection) => void;
}

/** What is used of a socket. */
interface Pipe {
  write(bytes: Uint8Array): number;
  pause(): void;
  resume(): void;
  end(): void;
  terminate(): void;
}

/** One side of a proxied connection with the bytes that wait to go out on it. */
class Side {
  socket: Pipe | undefined;
  #waiting: Uint8Array[] = [];
  #paused = false;
  waitingBytes = 0;

  /** Whether this side's bytes are read. */
  read(wanted: boolean): void {
    if (this.#paused !== wanted) return;
    this.#paused = !wanted;
    if (wanted) this.socket?.resume();
    else this.socket?.pause();
  }

  add(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.waitingBytes += bytes.length;
  }

  /** Sends at most `bytesMax` of what waits; returns how many bytes the socket took. */
  flush(bytesMax: number): number {
    const { socket } = this;
    if (socket === undefined) return 0;
    let sent = 0;
    for (let first = this.#waiting[0]; first !== undefined && sent < bytesMax; first = this.#waiting[0]) {
      const portion = first.subarray(0, bytesMax - sent);
      const taken = Math.max(0, socket.write(portion));
      sent += taken;
      if (taken === first.length) this.#waiting.shift();
      else this.#waiting[0] = first.subarray(taken);
      if (taken < portion.length) break;
    }
    this.waitingBytes -= sent;
    return sent;
  }
}

export class ProxiedConnection {
  /** In order of arrival, from 0. */
  readonly number: number;
  readonly #proxy: FaultProxy;
  readonly #client = new Side();
  readonly #server = new Side();
  #stalled = false;
  #bytesPerSecond = Number.POSITIVE_INFINITY;
  #cutAfterBytes = Number.POSITIVE_INFINITY;
  #allowance = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #open = true;
  /** Bytes forwarded from the agent to the server. */
  bytesUp = 0;

  constructor(number: number, proxy: FaultProxy) {
    this.number = number;
    this.#proxy = proxy;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Breaks the connection on both sides at once. */
  cut(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#timer !== undefined) clearInterval(this.#timer);
    this.#client.socket?.terminate();
    this.#server.socket?.terminate();
    this.#proxy.closed(this);
  }

  /** Breaks it after so many more bytes to the server, wherever in a frame that is. */
  cutAfter(bytes: number): void {
    this.#cutAfterBytes = this.bytesUp + bytes;
  }

  /** Nothing goes through any more, but the connection stays up. */
  stall(): void {
    this.#stalled = true;
    this.#client.read(false);
    this.#server.read(false);
  }

  release(): void {
    this.#stalled = false;
    this.#pump();
  }

  /** Holds the way to the server to so many bytes per second. */
  throttle(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
    this.#allowance = 0;
    if (this.#timer !== undefined) clearInterval(this.#timer);
    this.#timer = undefined;
    if (bytesPerSecond === Number.POSITIVE_INFINITY) {
      this.#pump();
      return;
    }
    let filledAtMs = performance.now();
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      const fill = ((nowMs - filledAtMs) / 1000) * bytesPerSecond;
      filledAtMs = nowMs;
      this.#allowance = Math.min(this.#allowance + fill, bytesPerSecond / 4);
      this.#pump();
    }, 1000 / PORTIONS_PER_SECOND);
  }

  /** Both sides are there from the proxy: it forwards from now on. */
  accepted(socket: Pipe): void {
    this.#client.socket = socket;
    this.#client.read(false);
    Bun.connect({
      hostname: HOST,
      port: this.#proxy.targetPort,
      socket: {
        binaryType: "uint8array",
        open: (server) => {
          this.#server.socket = server;
          if (this.#open) this.#pump();
          else server.terminate();
        },
        data: (_, bytes) => {
          this.#client.add(Uint8Array.from(bytes));
          this.#pump();
        },
        drain: () => this.#pump(),
        close: () => this.#ended(),
        error: () => this.cut(),
      },
    }).catch(() => this.cut());
  }

  /** From the agent. */
  received(bytes: Uint8Array): void {
    this.#server.add(Uint8Array.from(bytes));
    this.#pump();
  }

  drained(): void {
    this.#pump();
  }

  /** One side closed: the other one gets what is left, then the same. */
  ended(): void {
    this.#ended();
  }

  #pump(): void {
    if (!this.#open || this.#stalled || this.#server.socket === undefined) return;
    const bytesMax = Math.floor(Math.min(this.#allowanceNow(), this.#cutAfterBytes - this.bytesUp));
    const sent = this.#server.flush(bytesMax);
    this.#allowance -= sent;
    this.bytesUp += sent;
    this.#client.flush(Number.POSITIVE_INFINITY);
    this.#proxy.forwarded(sent);
    if (this.bytesUp >= this.#cutAfterBytes) {
      this.cut();
      return;
    }
    // Who sends faster than the other side takes waits, as a kernel's buffers would make it.
    this.#client.read(this.#server.waitingBytes === 0);
    this.#server.read(this.#client.waitingBytes === 0);
  }

  #allowanceNow(): number {
    return this.#bytesPerSecond === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : this.#allowance;
  }

  #ended(): void {
    if (!this.#open) return;
    if (!this.#stalled) {
      this.#server.flush(Number.POSITIVE_INFINITY);
      this.#client.flush(Number.POSITIVE_INFINITY);
    }
    this.#open = false;
    if (this.#timer !== undefined) clearInterval(this.#timer);
    this.#client.socket?.end();
    this.#server.socket?.end();
    this.#proxy.closed(this);
  }
}

interface ProgressWaiter {
  readonly bytes: number;
  readonly resolve: () => void;
}

export class FaultProxy {
  readonly port: number;
  readonly targetPort: number;
  readonly #listener: Bun.TCPSocketListener<ProxiedConnection | undefined>;
  readonly #onOpen: ((connection: ProxiedConnection) => void) | undefined;
  readonly #connections = new Set<ProxiedConnection>();
  #count = 0;
  #refusing = false;
  #waiters: ProgressWaiter[] = [];
  /** Bytes forwarded to the server over all connections so far. */
  bytesUp = 0;

  constructor(options: FaultProxyOptions) {
    this.targetPort = options.targetPort;
    this.#onOpen = options.onOpen;
    this.#listener = Bun.listen<ProxiedConnection | undefined>({
      hostname: HOST,
      port: 0,
      socket: {
        binaryType: "uint8array",
        open: (socket) => this.#opened(socket),
        data: (socket, bytes) => socket.data?.received(bytes),
        drain: (socket) => socket.data?.drained(),
        close: (socket) => socket.data?.ended(),
        error: (socket) => socket.data?.cut(),
      },
    });
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

  /** Resolves when so many bytes in all have gone to the server. */
  reached(bytes: number): Promise<void> {
    if (this.bytesUp >= bytes) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ bytes, resolve });
    return promise;
  }

  stop(): void {
    this.#listener.stop(true);
    this.cutAll();
  }

  /** For its connections. */
  forwarded(bytes: number): void {
    this.bytesUp += bytes;
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

  #opened(socket: Bun.Socket<ProxiedConnection | undefined>): void {
    if (this.#refusing) {
      socket.terminate();
      return;
    }
    const connection = new ProxiedConnection(this.#count, this);
    this.#count += 1;
    this.#connections.add(connection);
    socket.data = connection;
    connection.accepted(socket);
    this.#onOpen?.(connection);
  }
}
