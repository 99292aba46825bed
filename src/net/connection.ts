/**
 * One connection of bytes to an authenticated peer, as everything above sees it: TLS over TCP in the executables,
 * simulated in tests. It knows no frames.
 */
import type { Failure } from "#base/errors.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";

export interface ConnectionHandlers {
  /** Bytes arrived; the view is only valid during the call. */
  data(bytes: Uint8Array): void;
  /** After a short write: the connection takes bytes again. */
  drain(): void;
  /**
   * The connection is over, whoever ended it: exactly once, nothing follows. No failure after an orderly end by either
   * side or `destroy()`. Never called inside a call of this side (end, destroy, write), but after it.
   */
  closed(failure: Failure | undefined): void;
}

export interface Connection {
  /** `192.0.2.7:40812`, for logs. */
  readonly remoteAddress: string;
  /** Port on this side; flow rotation shows that it changed. */
  readonly localPort: number;
  /**
   * Checks the peer's certificate now (validity, usage, name) and says who it is; throws Failure E_TLS or E_IDENTITY.
   * Also after the connection closed.
   */
  peer(): PeerIdentity;
  /** Must be called once, in the same turn in which the connection was handed over. */
  attach(handlers: ConnectionHandlers): void;
  /** Takes as many of the bytes as it can now and says how many; fewer than given: wait for `drain`. 0 once closed. */
  write(bytes: Uint8Array): number;
  /** Stops `data` calls: back-pressure to the peer. A paused connection may not notice that the peer is gone. */
  pause(): void;
  resume(): void;
  /**
   * Sends what was taken, then closes: `closed` follows when the peer has closed too. Until then bytes may still arrive;
   * a peer that does not close is cut off after a while.
   */
  end(): void;
  /** Closes at once and drops what was taken but not sent. */
  destroy(): void;
}

export interface DialMarks {
  /** Six bits that mark every packet sent; undefined: none. */
  readonly dscp?: number | undefined;
}

export interface Dialer {
  /** Resolves with an authenticated connection; rejects with Failure E_CONNECT, E_TLS, E_TIMEOUT, E_INTERRUPTED. */
  dial(signal?: AbortSignal, marks?: DialMarks): Promise<Connection>;
}

export interface Listener {
  readonly port: number;
  /** Stops accepting; open connections go on. */
  stop(): void;
}
