/**
 * Control frames on their way to one connection, in order. The server sends nothing large, so frames are kept whole
 * until the connection takes them; how much may wait is limited by the owner, which looks at `queuedBytes`.
 */
import type { Connection } from "#net/connection.ts";

export class Outbox {
  readonly #connection: Connection;
  readonly #frames: Uint8Array[] = [];
  /** Bytes of the first frame that the connection has taken. */
  #sentOfFirst = 0;
  #queuedBytes = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Bytes that the connection has not taken yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#queuedBytes += frame.length;
    if (this.#frames.length === 1) this.flush();
  }

  /** Writes what the connection takes; called again at its `drain`. True when nothing waits any more. */
  flush(): boolean {
    for (let frame = this.#frames[0]; frame !== undefined; frame = this.#frames[0]) {
      const rest = frame.subarray(this.#sentOfFirst);
      const taken = this.#connection.write(rest);
      this.#queuedBytes -= taken;
      if (taken < rest.length) {
        this.#sentOfFirst += taken;
        return false;
      }
      this.#frames.shift();
      this.#sentOfFirst = 0;
    }
    return true;
  }
}
