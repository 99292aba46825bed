/**
 * Makes connections to the server: TCP, TLS 1.3, its certificate verified and naming the host that was dialled. It tries
 * once; trying again is the caller's part. Time and identity are passed in, so that a renewed certificate counts from
 * the next connection on.
 */
import { assert } from "#base/assert.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { errnoName, Failure } from "#base/errors.ts";
import { formatAddress, type HostPort } from "./address.ts";
import type { Connection, Dialer, DialMarks } from "./connection.ts";
import { socketDescriptor, tuneSocket } from "./socket-options.ts";
import { TlsConnection } from "./tls-connection.ts";
import { connectFailure, OTHER_PROTOCOL_HINT, tlsFailure } from "./tls-failure.ts";
import { TLS_VERSION_NAME, tlsOptions, type TlsTrust } from "./tls-options.ts";

export interface TlsDialerOptions {
  /** Name or IP address; the server's certificate must have it among its names. */
  readonly address: HostPort;
  /** Asked at every dial. Without certificate and key only for the enrolment port. */
  readonly identity: () => TlsTrust;
  /** Whoever answers is believed for now: only to ask for the CA of an enrolment, and nothing worth stealing is said. */
  readonly unverified?: boolean;
  /** What ALPN must agree on: `nbackup/1`. */
  readonly protocol: string;
  /** For connecting and the handshake together. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

export class TlsDialer implements Dialer {
  readonly #options: TlsDialerOptions;

  constructor(options: TlsDialerOptions) {
    this.#options = options;
  }

  /** Rejects with Failure E_CONNECT, E_TLS, E_TIMEOUT (the handshake stalled), E_INTERRUPTED (the signal). */
  async dial(signal?: AbortSignal, marks: DialMarks = {}): Promise<Connection> {
    return new Attempt(this.#options, signal, marks).promise;
  }
}

type DialSocket = Bun.Socket<Attempt>;

/** One try. Settles once; what the socket does afterwards goes to the connection, or is put away. */
class Attempt {
  readonly promise: Promise<Connection>;
  readonly #options: TlsDialerOptions;
  /** For messages. */
  readonly #server: string;
  readonly #signal: AbortSignal | undefined;
  readonly #marks: DialMarks;
  readonly #resolve: (connection: Connection) => void;
  readonly #reject: (failure: Failure) => void;
  readonly #timer: Timer;
  readonly #onAbort = (): void => this.#fail(interrupted(this.#server));
  #settled = false;
  #socket: DialSocket | undefined;
  #connection: TlsConnection<Attempt> | undefined;

  constructor(options: TlsDialerOptions, signal: AbortSignal | undefined, marks: DialMarks) {
    this.#options = options;
    this.#marks = marks;
    this.#signal = signal;
    this.#server = `the server ${formatAddress(options.address)}`;
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#timer = options.clock.after(options.timeoutMs, () => this.#fail(this.#timeout()));
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (signal?.aborted === true) this.#onAbort();
    else void this.#connect();
  }

  /** Bun throws at once for certificates that it cannot use, and rejects for a network that does not lead there. */
  async #connect(): Promise<void> {
    const { address, identity, protocol, unverified = false } = this.#options;
    const trust = identity();
    assert(unverified || trust.caPem !== "", "without a CA everybody would be trusted whom the system trusts");
    try {
      await Bun.connect<Attempt>({
        hostname: address.host,
        port: address.port,
        data: this,
        tls: { ...tlsOptions(trust, protocol), rejectUnauthorized: !unverified, serverName: address.host },
        socket: {
          binaryType: "uint8array",
          open: (socket) => this.#opened(socket),
          handshake: (socket, success, error) => this.#handshaken(socket, success, error),
          data: (_, bytes) => this.#connection?.onData(bytes),
          drain: () => this.#connection?.onDrain(),
          error: (_, error) => this.#errored(error),
          close: (_, error) => this.#closed(error),
        },
      });
    } catch (error) {
      this.#fail(this.#connectFailure(error));
    }
  }

  #opened(socket: DialSocket): void {
    this.#socket = socket;
    if (this.#settled) socket.terminate();
    else tuneSocket(socketDescriptor(socket), this.#marks);
  }

  #handshaken(socket: DialSocket, success: boolean, error: Error | null): void {
    if (this.#settled) return;
    const failure = this.#judge(socket, success, error);
    if (failure !== undefined) {
      this.#fail(failure);
      return;
    }
    // Made first: were it to throw after the attempt was settled, nobody would ever hear of the attempt again.
    this.#connection = new TlsConnection({ socket, role: "server", clock: this.#options.clock });
    this.#settle();
    this.#resolve(this.#connection);
  }

  /** Bun has compared the certificate's names with the host; nothing else is taken on trust. */
  #judge(socket: DialSocket, success: boolean, error: Error | null): Failure | undefined {
    const { protocol } = this.#options;
    // Of one that is not verified Bun calls the handshake a failure over a name that differs; TLS is up all the same.
    const unverified = this.#options.unverified === true && socket.getTLSVersion() === TLS_VERSION_NAME;
    if (error !== null && error !== undefined && !unverified) return this.#handshakeFailure(error);
    if (!unverified && !(success && socket.authorized))
      return new Failure("E_TLS", `${this.#server} could not be verified`);
    if (socket.getTLSVersion() !== TLS_VERSION_NAME) {
      return new Failure("E_TLS", `${this.#server} speaks ${socket.getTLSVersion()}, expected ${TLS_VERSION_NAME}`);
    }
    if (socket.alpnProtocol !== protocol) {
      return new Failure("E_TLS", `${this.#server} speaks TLS but not ${protocol}`, {
        hint: OTHER_PROTOCOL_HINT,
      });
    }
    return undefined;
  }

  #errored(error: unknown): void {
    if (this.#connection !== undefined) this.#connection.onError(error);
    else this.#fail(this.#handshakeFailure(error));
  }

  #closed(error: unknown): void {
    if (this.#connection !== undefined) this.#connection.onClose(error);
    else this.#fail(this.#handshakeFailure(error ?? Object.assign(new Error("closed"), { code: "ECONNRESET" })));
  }

  #handshakeFailure(error: unknown): Failure {
    const failure = tlsFailure(error, this.#server, this.#options.address.host);
    if (failure.code !== "E_DISCONNECTED") return failure;
    const errno = errnoName(error) ?? "";
    return new Failure("E_CONNECT", `${this.#server} broke off the TLS handshake (${errno})`, { cause: error });
  }

  #connectFailure(error: unknown): Failure {
    const errno = errnoName(error);
    if (errno !== undefined && !errno.startsWith("ERR_")) {
      return connectFailure(error, this.#server, this.#options.address);
    }
    // Not the network: an identity that TLS does not take.
    const text = error instanceof Error ? error.message : String(error);
    return new Failure("E_TLS", `TLS cannot use the configured certificates: ${text}`, { cause: error });
  }

  #timeout(): Failure {
    const seconds = this.#options.timeoutMs / 1000;
    if (this.#socket !== undefined) {
      return new Failure("E_TIMEOUT", `${this.#server} did not finish the TLS handshake within ${seconds} s`);
    }
    return new Failure("E_CONNECT", `cannot connect to ${this.#server}: no answer within ${seconds} s`, {
      hint: "Check server.address, that the server is up, and the firewalls between.",
    });
  }

  #fail(failure: Failure): void {
    if (this.#settled) return;
    this.#settle();
    this.#reject(failure);
    this.#socket?.terminate();
  }

  #settle(): void {
    this.#settled = true;
    this.#timer.cancel();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}

function interrupted(server: string): Failure {
  return new Failure("E_INTERRUPTED", `interrupted while connecting to ${server}`);
}
