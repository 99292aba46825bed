/** One end of a connection as a process has it: it hears nothing while the process stands still, and never again once it is dead. */
import type { Connection, ConnectionHandlers } from "#net/connection.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import type { SimProcess } from "./process.ts";

export class ProcessConnection implements Connection {
  readonly remoteAddress: string;
  readonly localPort: number;
  readonly #inner: Connection;
  readonly #process: SimProcess;
  #handlers: ConnectionHandlers | undefined;
  /** The process asked for it. */
  #paused = false;
  #abandoned = false;

  constructor(inner: Connection, process: SimProcess) {
    this.#inner = inner;
    this.#process = process;
    this.remoteAddress = inner.remoteAddress;
    this.localPort = inner.localPort;
    process.connections.add(this);
    inner.attach({
      data: (bytes) => process.enter(() => this.#handlers?.data(bytes)),
      drain: () => process.enter(() => this.#handlers?.drain()),
      closed: (failure) => {
        process.connections.delete(this);
        process.enter(() => this.#handlers?.closed(failure));
      },
    });
    if (!process.isRunning) inner.pause();
  }

  peer(): PeerIdentity {
    return this.#inner.peer();
  }

  attach(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }

  write(bytes: Uint8Array): number {
    return this.#abandoned ? 0 : this.#inner.write(bytes);
  }

  pause(): void {
    this.#paused = true;
    this.#inner.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#process.isRunning) this.#inner.resume();
  }

  end(): void {
    if (!this.#abandoned) this.#inner.end();
  }

  destroy(): void {
    if (!this.#abandoned) this.#inner.destroy();
  }

  /** The process stands still. */
  hold(): void {
    this.#inner.pause();
  }

  /** It goes on. */
  release(): void {
    if (!this.#paused) this.#inner.resume();
  }

  /** The process is dead: its system closes the connection, unless it is gone too. */
  abandon(silent: boolean): void {
    this.#abandoned = true;
    this.#handlers = undefined;
    if (!silent) this.#inner.destroy();
  }
}
