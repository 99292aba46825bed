/**
 * Takes connections of agents: TLS 1.3 with a certificate of our CA, or nothing. Strangers cost a bounded number of
 * sockets for a bounded time, and are counted. Names, roles and everything said on the connection are judged above.
 *
 * For new certificates a second listener is made on the port and the first one stopped, because Bun's listener keeps the ones that it
 * began with; so both share it (SO_REUSEPORT). That a second server on the same port is an error all the same, and not half
 * of the connections, is found out by a bind without sharing before the first listener.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { errnoName, Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { formatAddress, type HostPort, remoteAddressOf } from "./address.ts";
import type { Connection, Listener } from "./connection.ts";
import { socketDescriptor, tuneSocket } from "./socket-options.ts";
import { StrangerLog } from "./stranger-log.ts";
import { TrustedCas } from "#pki/trusted-cas.ts";
import { TlsConnection } from "./tls-connection.ts";
import { tlsFailure } from "./tls-failure.ts";
import { TLS_VERSION_NAME, type TlsIdentity, tlsOptions } from "./tls-options.ts";

/**
 * Handshakes under way at once. When one more comes the oldest has to go: a real agent is through in a few round trips,
 * whoever floods us waits longest.
 */
const HANDSHAKES_MAX = 512;

export interface TlsListenOptions {
  /** Port 0: the system chooses. */
  readonly address: HostPort;
  readonly identity: TlsIdentity;
  /** What ALPN must agree on: `nbackup/1`. */
  readonly protocol: string;
  readonly handshakeTimeoutMs: number;
  /** Only for the enrolment port: who has no certificate yet. Peers show one that is verified unless told. */
  readonly peers?: "anybody";
  /** Unless told HANDSHAKES_MAX. */
  readonly handshakesMax?: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** A verified peer; must `attach` in this call. What it throws closes the connection. */
  readonly accept: (connection: Connection) => void;
}

export interface TlsListener extends Listener {
  /** Connections that came to nothing so far. */
  readonly strangerCount: number;
  /** Handshakes under way. */
  readonly handshakeCount: number;
  /**
   * Handshakes that begin from now on are made with this identity; connections that are there go on. Throws Failure E_LISTEN, and then
   * nothing has changed.
   */
  use(identity: TlsIdentity): void;
}

/** Throws Failure E_LISTEN when the address cannot be had. */
export function listenTls(options: TlsListenOptions): TlsListener {
  const gate = new Gate(options);
  try {
    return gate.open();
  } catch (error) {
    throw listenFailure(error, options.address);
  }
}

/** Undefined: refused at once, no event counts any more. */
type Stage = Handshake | TlsConnection<Peer>;

interface Peer {
  stage: Stage | undefined;
}

interface Handshake {
  readonly kind: "handshake";
  readonly socket: Bun.Socket<Peer>;
  readonly address: string;
  readonly deadline: Timer;
}

class Gate {
  readonly #options: TlsListenOptions;
  readonly #strangers: StrangerLog;
  /** In order of arrival. */
  readonly #handshakes = new Set<Handshake>();
  /** Those that handshakes are made with now. */
  #cas: TrustedCas;

  constructor(options: TlsListenOptions) {
    this.#options = options;
    this.#strangers = new StrangerLog(options.clock, options.log);
    this.#cas = new TrustedCas(options.identity.caPem);
  }

  open(): TlsListener {
    const { address, identity } = this.#options;
    if (address.port !== 0) assertFree(address);
    let listener = this.#listen(identity, address.port, this.#cas);
    const { port } = listener;
    let current = identity;
    const gate = this;
    return {
      port,
      get strangerCount(): number {
        return gate.#strangers.total;
      },
      get handshakeCount(): number {
        return gate.#handshakes.size;
      },
      use: (next) => {
        if (sameIdentity(current, next)) return;
        const former = listener;
        const cas = next.caPem === current.caPem ? this.#cas : new TrustedCas(next.caPem);
        try {
          listener = this.#listen(next, port, cas);
        } catch (error) {
          throw listenFailure(error, { host: address.host, port });
        }
        current = next;
        this.#cas = cas;
        former.stop(false);
      },
      stop: () => {
        listener.stop(false);
        this.#stop();
      },
    };
  }

  #listen(identity: TlsIdentity, port: number, cas: TrustedCas): Bun.TCPSocketListener<Peer> {
    const options: SharedListenOptions = {
      hostname: this.#options.address.host,
      port,
      reusePort: true,
      tls: { ...tlsOptions(identity, this.#options.protocol), requestCert: this.#options.peers !== "anybody" },
      socket: {
        binaryType: "uint8array",
        open: (socket) => this.#opened(socket),
        handshake: (socket, success, error) => this.#handshaken(socket, success, error, cas),
        data: (socket, bytes) => connectionOf(socket)?.onData(bytes),
        drain: (socket) => connectionOf(socket)?.onDrain(),
        error: (socket, error) => this.#errored(socket, error),
        close: (socket, error) => this.#closed(socket, error),
      },
    };
    return Bun.listen<Peer>(options);
  }

  #opened(socket: Bun.Socket<Peer>): void {
    const { clock, handshakeTimeoutMs, handshakesMax = HANDSHAKES_MAX } = this.#options;
    const [oldest] = this.#handshakes;
    if (oldest !== undefined && this.#handshakes.size >= handshakesMax) {
      this.#refuse(oldest, new Failure("E_LIMIT", `more than ${handshakesMax} handshakes under way`));
    }
    tuneSocket(socketDescriptor(socket));
    const handshake: Handshake = {
      kind: "handshake",
      socket,
      address: remoteAddressOf(socket),
      deadline: clock.after(handshakeTimeoutMs, () => {
        this.#refuse(handshake, new Failure("E_TIMEOUT", `no handshake within ${handshakeTimeoutMs / 1000} s`));
      }),
    };
    socket.data = { stage: handshake };
    this.#handshakes.add(handshake);
  }

  #handshaken(socket: Bun.Socket<Peer>, success: boolean, error: Error | null, cas: TrustedCas): void {
    const handshake = handshakeOf(socket);
    if (handshake === undefined) return;
    const failure = this.#judge(handshake, success, error);
    if (failure !== undefined) {
      this.#refuse(handshake, failure);
      return;
    }
    this.#finish(handshake);
    const connection = new TlsConnection({
      ...{ socket, role: "agent", clock: this.#options.clock },
      withdrawn: (der) => this.#cas.withdrawn(der, cas),
    });
    socket.data.stage = connection;
    try {
      this.#options.accept(connection);
    } catch (cause) {
      this.#options.log.error("a new connection could not be taken", {
        address: handshake.address,
        reason: String(cause),
      });
      connection.destroy();
    }
  }

  /** A handshake counts as a success for Bun even when the certificate was not verified. */
  #judge(handshake: Handshake, success: boolean, error: Error | null): Failure | undefined {
    const { socket, address } = handshake;
    const { protocol } = this.#options;
    const verified = this.#options.peers === "anybody" || (socket.authorized && isNothing(error));
    if (!verified && !isNothing(error)) return tlsFailure(error, address, undefined);
    if (!success || !verified) return new Failure("E_TLS", `${address} could not be verified`);
    if (socket.getTLSVersion() !== TLS_VERSION_NAME) {
      return new Failure("E_TLS", `${address} speaks ${socket.getTLSVersion()}, expected ${TLS_VERSION_NAME}`);
    }
    if (socket.alpnProtocol !== protocol) return new Failure("E_TLS", `${address} did not ask for ${protocol}`);
    return undefined;
  }

  #errored(socket: Bun.Socket<Peer>, error: unknown): void {
    connectionOf(socket)?.onError(error);
    const handshake = handshakeOf(socket);
    if (handshake !== undefined) this.#refuse(handshake, tlsFailure(error, handshake.address, undefined));
  }

  #closed(socket: Bun.Socket<Peer>, error: unknown): void {
    connectionOf(socket)?.onClose(error);
    const handshake = handshakeOf(socket);
    if (handshake === undefined) return;
    const failure =
      error === undefined || error === null
        ? new Failure("E_DISCONNECTED", `${handshake.address} went away during the handshake`)
        : tlsFailure(error, handshake.address, undefined);
    this.#refuse(handshake, failure);
  }

  #refuse(handshake: Handshake, failure: Failure): void {
    this.#finish(handshake);
    this.#strangers.add(handshake.address, failure);
    handshake.socket.data.stage = undefined;
    handshake.socket.terminate();
  }

  #finish(handshake: Handshake): void {
    handshake.deadline.cancel();
    this.#handshakes.delete(handshake);
  }

  #stop(): void {
    for (const handshake of [...this.#handshakes]) {
      this.#finish(handshake);
      handshake.socket.data.stage = undefined;
      handshake.socket.terminate();
    }
    this.#strangers.stop();
  }
}

/** Bun's types do not name `reusePort`. */
interface SharedListenOptions extends Bun.TCPSocketListenOptions<Peer> {
  readonly reusePort: true;
}

/** Throws as Bun.listen does when somebody listens there, sharing or not. */
function assertFree({ host, port }: HostPort): void {
  const nothing = (): void => undefined;
  Bun.listen({ hostname: host, port, socket: { data: nothing } }).stop(true);
}

function isNothing(error: Error | null | undefined): boolean {
  return error === null || error === undefined;
}

function sameIdentity(a: TlsIdentity, b: TlsIdentity): boolean {
  return a.caPem === b.caPem && a.certPem === b.certPem && a.keyPem === b.keyPem;
}

function connectionOf(socket: Bun.Socket<Peer>): TlsConnection<Peer> | undefined {
  // A socket whose `open` never ran has no data.
  const stage = (socket.data as Peer | undefined)?.stage;
  return stage instanceof TlsConnection ? stage : undefined;
}

function handshakeOf(socket: Bun.Socket<Peer>): Handshake | undefined {
  const stage = (socket.data as Peer | undefined)?.stage;
  return stage === undefined || stage instanceof TlsConnection ? undefined : stage;
}

function listenFailure(error: unknown, address: HostPort): Failure {
  const errno = errnoName(error);
  const where = formatAddress(address);
  if (errno === undefined) {
    const text = error instanceof Error ? error.message : String(error);
    return new Failure("E_LISTEN", `cannot listen on ${where}: ${text}`, { cause: error });
  }
  const meaning = LISTEN_REASONS.get(errno);
  return new Failure("E_LISTEN", `cannot listen on ${where}: ${meaning ?? "refused"} (${errno})`, { cause: error });
}

const LISTEN_REASONS: ReadonlyMap<string, string> = new Map([
  ["EADDRINUSE", "another program has the port"],
  ["EADDRNOTAVAIL", "this machine does not have the address"],
  ["EACCES", "ports below 1024 need a privilege"],
]);
