/** A dialer whose connections a test listens to, and whose bytes it may change on their way to the server. */
import type { Connection, Dialer } from "#net/connection.ts";

/** What is written on the connection dialled as number `index` (from 0), a copy; what is returned travels instead. */
export type Tap = (index: number, bytes: Uint8Array) => Uint8Array;

export class TappedDialer implements Dialer {
  readonly #inner: Dialer;
  readonly #tap: Tap;
  #dialled = 0;

  constructor(inner: Dialer, tap: Tap) {
    this.#inner = inner;
    this.#tap = tap;
  }

  async dial(signal?: AbortSignal): Promise<Connection> {
    const index = this.#dialled;
    this.#dialled += 1;
    const connection = await this.#inner.dial(signal);
    return {
      remoteAddress: connection.remoteAddress,
      localPort: connection.localPort,
      peer: () => connection.peer(),
      attach: (handlers) => connection.attach(handlers),
      // What the connection did not take is offered again, and tapped again.
      write: (bytes) => connection.write(this.#tap(index, bytes.slice())),
      pause: () => connection.pause(),
      resume: () => connection.resume(),
      end: () => connection.end(),
      destroy: () => connection.destroy(),
    };
  }
}
