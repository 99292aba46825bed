/**
 * One connection through the fault proxy, with the faults that a single connection can have: it is cut, stands still one
 * way or both, becomes slow, loses one of its ends without the other hearing of it, or has a bit flipped. It knows no
 * frames: bytes go through as they come.
 */

const HOST = "127.0.0.1";
/** Bytes of a throttled connection go out in this many portions a second. */
export const PORTIONS_PER_SECOND = 50;

/** Towards the server, or towards the agent. */
export type Way = "up" | "down";

/** What is used of a socket. */
export interface Pipe {
  write(bytes: Uint8Array): number;
  pause(): void;
  resume(): void;
  end(): void;
  terminate(): void;
}

/** What a connection needs of its proxy. */
export interface ConnectionHost {
  readonly targetPort: number;
  /** How many bytes all connections together may send to the server now. */
  readonly allowanceBytes: number;
  /** So many bytes went to the server. */
  forwarded(bytes: number): void;
  closed(connection: ProxiedConnection): void;
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

  /** What waits will never go out. */
  drop(): void {
    this.#waiting = [];
    this.waitingBytes = 0;
  }
}

/** Flips one bit of the byte at which its count is up. */
class BitFlip {
  #bytesLeft = Number.POSITIVE_INFINITY;
  flipped = false;

  after(bytes: number): void {
    this.#bytesLeft = bytes;
  }

  /** `bytes` belongs to the caller, who may have them changed. */
  pass(bytes: Uint8Array): void {
    if (this.#bytesLeft < bytes.length) {
      bytes[this.#bytesLeft] = (bytes[this.#bytesLeft] ?? 0) ^ 0x10;
      this.flipped = true;
      this.#bytesLeft = Number.POSITIVE_INFINITY;
    } else this.#bytesLeft -= bytes.length;
  }
}

export class ProxiedConnection {
  /** In order of arrival, from 0. */
  readonly number: number;
  readonly #host: ConnectionHost;
  readonly #agent = new Side();
  readonly #server = new Side();
  readonly #flips = { up: new BitFlip(), down: new BitFlip() };
  readonly #stalled = { up: false, down: false };
  #bytesPerSecond = Number.POSITIVE_INFINITY;
  #cutAfterBytes = Number.POSITIVE_INFINITY;
  #allowance = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #open = true;
  /** Its other end is gone, and what comes from this one goes nowhere. */
  #halfOpen = false;
  /** Bytes forwarded from the agent to the server. */
  bytesUp = 0;

  constructor(number: number, host: ConnectionHost) {
    this.number = number;
    this.#host = host;
  }

  get open(): boolean {
    return this.#open;
  }

  /** True when a bit that was to be flipped has been. */
  get damaged(): boolean {
    return this.#flips.up.flipped || this.#flips.down.flipped;
  }

  /** Breaks the connection on both sides at once. */
  cut(): void {
    if (!this.#open) return;
    this.#close();
    this.#agent.socket?.terminate();
    this.#server.socket?.terminate();
  }

  /** Breaks it after so many more bytes to the server, wherever in a frame that is. */
  cutAfter(bytes: number): void {
    this.#cutAfterBytes = this.bytesUp + bytes;
  }

  /** Nothing goes through any more, one way or both, but the connection stays up. */
  stall(way: Way | "both" = "both"): void {
    if (way !== "down") this.#stalled.up = true;
    if (way !== "up") this.#stalled.down = true;
    this.#readWhatMayGo();
  }

  release(): void {
    this.#stalled.up = false;
    this.#stalled.down = false;
    this.#pump();
  }

  /** Flips a bit after so many more bytes that way. */
  flipBitAfter(bytes: number, way: Way): void {
    this.#flips[way].after(bytes);
  }

  /**
   * One end is gone without a word to the other: the one that is left stays connected, is read, and hears nothing any
   * more, as behind a gateway that lost its table.
   */
  lose(end: "agent" | "server"): void {
    if (!this.#open || this.#halfOpen) return;
    this.#halfOpen = true;
    this.#agent.drop();
    this.#server.drop();
    const [gone, left] = end === "agent" ? [this.#agent, this.#server] : [this.#server, this.#agent];
    const { socket } = gone;
    gone.socket = undefined;
    socket?.terminate();
    left.read(true);
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

  /** The agent's side is there; the server's is connected now, and then it forwards. */
  accepted(socket: Pipe): void {
    this.#agent.socket = socket;
    this.#agent.read(false);
    Bun.connect({
      hostname: HOST,
      port: this.#host.targetPort,
      socket: {
        binaryType: "uint8array",
        open: (server) => {
          this.#server.socket = server;
          if (this.#open) this.#pump();
          else server.terminate();
        },
        data: (_, bytes) => this.#received(bytes, "down"),
        drain: () => this.#pump(),
        close: () => this.#ended("server"),
        error: () => this.#failed("server"),
      },
    }).catch(() => this.cut());
  }

  /** Bytes from the agent. */
  received(bytes: Uint8Array): void {
    this.#received(bytes, "up");
  }

  /** There is room again for bytes to the agent, or more may go to the server. */
  pump(): void {
    this.#pump();
  }

  /** The agent closed its side: the server gets what is left, then the same. */
  ended(): void {
    this.#ended("agent");
  }

  /** The agent's side broke. */
  failed(): void {
    this.#failed("agent");
  }

  #received(bytes: Uint8Array, way: Way): void {
    if (this.#halfOpen || !this.#open) return;
    // The socket uses its buffer again, and a bit of it may have to be flipped.
    const copy = Uint8Array.from(bytes);
    this.#flips[way].pass(copy);
    (way === "up" ? this.#server : this.#agent).add(copy);
    this.#pump();
  }

  #pump(): void {
    if (!this.#open || this.#halfOpen || this.#server.socket === undefined) return;
    if (!this.#stalled.up) {
      const allowance = Math.min(this.#allowanceNow(), this.#host.allowanceBytes);
      const sent = this.#server.flush(Math.floor(Math.min(allowance, this.#cutAfterBytes - this.bytesUp)));
      this.#allowance -= sent;
      this.bytesUp += sent;
      this.#host.forwarded(sent);
    }
    if (!this.#stalled.down) this.#agent.flush(Number.POSITIVE_INFINITY);
    if (this.bytesUp >= this.#cutAfterBytes) this.cut();
    else this.#readWhatMayGo();
  }

  /** Who sends faster than the other side takes waits, as a kernel's buffers would make it. */
  #readWhatMayGo(): void {
    this.#agent.read(!this.#stalled.up && this.#server.waitingBytes === 0 && this.#server.socket !== undefined);
    this.#server.read(!this.#stalled.down && this.#agent.waitingBytes === 0);
  }

  #allowanceNow(): number {
    return this.#bytesPerSecond === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : this.#allowance;
  }

  #ended(side: "agent" | "server"): void {
    if (!this.#open || this.#isLost(side)) return;
    if (!this.#stalled.up) this.#server.flush(Number.POSITIVE_INFINITY);
    if (!this.#stalled.down) this.#agent.flush(Number.POSITIVE_INFINITY);
    this.#close();
    this.#agent.socket?.end();
    this.#server.socket?.end();
  }

  #failed(side: "agent" | "server"): void {
    if (!this.#isLost(side)) this.cut();
  }

  /** The end that was lost on purpose: that it closes is no news, and nobody hears of it. */
  #isLost(side: "agent" | "server"): boolean {
    return this.#halfOpen && (side === "agent" ? this.#agent : this.#server).socket === undefined;
  }

  #close(): void {
    this.#open = false;
    if (this.#timer !== undefined) clearInterval(this.#timer);
    this.#host.closed(this);
  }
}
