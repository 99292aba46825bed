/**
 * One mutual TLS 1.3 handshake on loopback between two identities, and what each side said of it. It is for tests of
 * certificates; the product's own dialer and listener are in src/net.
 */
import { constants, type X509Certificate } from "node:crypto";
import type { Socket } from "bun";

/** What goes to TLS: PEM. Without `cert` and `key` no certificate is presented. */
export interface TlsSide {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface SideResult {
  /** `accepted`, or the error code with which this side refused or saw the end. */
  readonly verdict: string;
  /** The other side's certificate, when this side accepted it. */
  readonly peer?: X509Certificate;
}

export interface HandshakeResult {
  readonly server: SideResult;
  readonly client: SideResult;
  /** Whether bytes went from the client to the server and back. */
  readonly echoed: boolean;
}

const TLS13_ONLY = constants.SSL_OP_NO_TLSv1_2 | constants.SSL_OP_NO_TLSv1_1 | constants.SSL_OP_NO_TLSv1;

/** Ends when both sides have ended. A server that refuses says so first; the client may only see the end. */
export async function handshake(server: TlsSide, client: TlsSide, serverName = "localhost"): Promise<HandshakeResult> {
  const results: { server?: SideResult; client?: SideResult } = {};
  let echoed = false;
  const ended = { server: Promise.withResolvers<void>(), client: Promise.withResolvers<void>() };
  const judge = (side: "server" | "client", socket: Socket, success: boolean, error: Error | null): boolean => {
    // `success` is true for a certificate that failed verification: only these two together mean accepted.
    if (success && socket.authorized && error === null) {
      results[side] = { verdict: "accepted", peer: socket.getPeerX509Certificate() };
      return true;
    }
    results[side] ??= { verdict: codeOf(error) };
    socket.terminate();
    return false;
  };
  const tls = { requestCert: true, rejectUnauthorized: true, secureOptions: TLS13_ONLY };
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    tls: { ...tls, ...server },
    socket: {
      handshake: (socket, success, error) => void judge("server", socket, success, error),
      data: (socket, bytes) => void socket.end(bytes),
      close: () => ended.server.resolve(),
      error: (_socket, error) => {
        results.server = { verdict: codeOf(error) };
      },
    },
  });
  try {
    const connecting = Bun.connect({
      hostname: "127.0.0.1",
      port: listener.port,
      tls: { ...tls, ...client, serverName },
      socket: {
        handshake: (socket, success, error) => {
          if (judge("client", socket, success, error)) socket.write("ping");
        },
        data: (_socket, bytes) => {
          echoed = Buffer.from(bytes).toString() === "ping";
        },
        close: () => ended.client.resolve(),
        error: (_socket, error) => {
          results.client = { verdict: codeOf(error) };
        },
      },
    });
    await connecting;
    await Promise.all([ended.server.promise, ended.client.promise]);
  } finally {
    listener.stop(true);
  }
  const silent: SideResult = { verdict: "no handshake" };
  return { server: results.server ?? silent, client: results.client ?? silent, echoed };
}

function codeOf(error: Error | null): string {
  if (error === null) return "not authorized";
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}
