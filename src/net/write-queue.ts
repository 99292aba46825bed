/**
 * The order in which bytes go out on one connection: control frames before data, but never inside a data frame. Data is
 * asked for only when the connection has taken the last piece wholly, so that at most one piece waits in user memory.
 * It knows where frames begin and end, and nothing of what is in them.
 */
import { Failure } from "#base/errors.ts";
import type { Connection } from "./connection.ts";

/** A piece of a data frame; its bytes stay as they are until the next piece is asked for. */
export interface DataPiece {
  readonly bytes: Uint8Array;
  readonly endsFrame: boolean;
}

export interface DataSource {
  /** The next piece, never empty; undefined: nothing now, and `run` is called when there may be something. */
  next(): DataPiece | undefined;
}

export interface WriteQueueOptions {
  /** Control bytes that may wait for a peer that does not read. */
  readonly controlBytesMax: number;
}

export class WriteQueue {
  readonly #connection: Pick<Connection, "write" | "end">;
  readonly #controlBytesMax: number;
  readonly #control: Uint8Array[] = [];
  #controlBytes = 0;
  #source: DataSource | undefined;
  /** What the connection has not taken of the piece or control frame in hand. */
  #rest: Uint8Array | undefined;
  /** A data frame has begun and not ended: no control frame may come between. */
  #inData = false;
  #blocked = false;
  #ending = false;
  #ended = false;
  #running = false;

  constructor(connection: Pick<Connection, "write" | "end">, options: WriteQueueOptions) {
    this.#connection = connection;
    this.#controlBytesMax = options.controlBytesMax;
  }

  /** Bytes of control frames that the connection has not begun to take. */
  get controlBytes(): number {
    return this.#controlBytes;
  }

  /** Whether the connection refuses bytes: its `drain` has to come first. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Queues a whole control frame; nothing after `end`. Throws Failure E_LIMIT when too much waits. */
  control(frame: Uint8Array): void {
    if (this.#ending) return;
    if (this.#controlBytes + frame.length > this.#controlBytesMax) {
      throw new Failure("E_LIMIT", `${this.#controlBytes} bytes of control frames wait for a peer that does not read`);
    }
    this.#control.push(frame);
    this.#controlBytes += frame.length;
    this.run();
  }

  /** Where data frames come from, from now on; asked at once. */
  carry(source: DataSource): void {
    this.#source = source;
    this.run();
  }

  /** The connection takes bytes again: its `drain`. */
  drain(): void {
    this.#blocked = false;
    this.run();
  }

  /**
   * Takes nothing more; sends what waits and the data frame that has begun, then ends the connection. A source that
   * cannot go on with its frame at once leaves it cut off: the peer drops it.
   */
  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    this.run();
  }

  /** Hands bytes to the connection until it takes no more or there are none. */
  run(): void {
    // A source that is woken while it is asked must not begin a second round inside the first.
    if (this.#running || this.#blocked) return;
    this.#running = true;
    try {
      this.#pump();
    } finally {
      this.#running = false;
    }
    if (this.#ending && !this.#blocked && !this.#ended) {
      this.#ended = true;
      this.#connection.end();
    }
  }

  #pump(): void {
    for (;;) {
      this.#rest ??= this.#take();
      if (this.#rest === undefined) return;
      const taken = this.#connection.write(this.#rest);
      if (taken < this.#rest.length) {
        this.#rest = this.#rest.subarray(taken);
        this.#blocked = true;
        return;
      }
      this.#rest = undefined;
    }
  }

  #take(): Uint8Array | undefined {
    if (!this.#inData) {
      const frame = this.#control.shift();
      if (frame !== undefined) {
        this.#controlBytes -= frame.length;
        return frame;
      }
      if (this.#ending) return undefined;
    }
    const piece = this.#source?.next();
    if (piece === undefined) return undefined;
    this.#inData = !piece.endsFrame;
    return piece.bytes;
  }
}
