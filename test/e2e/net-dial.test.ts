/** Every way in which reaching the server can fail ends in one sentence with a code and a hint. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import net from "node:net";
import { Failure } from "#base/errors.ts";
import type { TlsDialer, TlsDialerOptions } from "#net/dial.ts";
import { connectFailure } from "#net/tls-failure.ts";
import type { TlsIdentity } from "#net/tls-options.ts";
import { dialerTo, makeNetPki, NetEnd, type NetPki, NetServer } from "#test/support/net-kit.ts";

let pki: NetPki;
const cleanups: (() => void)[] = [];

beforeAll(async () => {
  pki = await makeNetPki();
});
afterAll(() => pki.remove());
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function serve(
  identity: TlsIdentity = pki.server,
  options: ConstructorParameters<typeof NetServer>[1] = {},
): NetServer {
  const server = new NetServer(identity, options);
  cleanups.push(() => server.stop());
  return server;
}

/** A TCP server that is not ours. */
async function servePlain(onSocket: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const plain = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => sockets.delete(socket));
    onSocket(socket);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  plain.listen(0, "127.0.0.1", resolve);
  await promise;
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    plain.close();
  });
  const address = plain.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function refusal(dialer: TlsDialer, signal?: AbortSignal): Promise<Failure> {
  try {
    const connection = await dialer.dial(signal);
    connection.destroy();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("the connection was made");
}

/** The sentence without the port, which changes. */
function text(failure: Failure): string {
  return String(failure).replace(/:\d{4,5}\b/g, ":PORT");
}

describe("the server's certificate", () => {
  const hosts: readonly (readonly [string, string])[] = [
    ["127.0.0.1", "127.0.0.1"],
    ["::1", "::1"],
    ["::1", "0:0:0:0:0:0:0:1"],
    ["127.0.0.1", "localhost"],
  ];
  for (const [listen, host] of hosts) {
    test(`is accepted for the name or address that was dialled: ${host}`, async () => {
      const server = serve(pki.server, { address: { host: listen, port: 0 } });
      const { client } = await server.connect(pki.agent, { address: { host, port: server.port } });
      expect(client.connection.peer().commonName).toBe("localhost");
    });
  }

  const strangers: readonly (readonly [string, () => TlsIdentity, string, RegExp])[] = [
    [
      "expired",
      () => pki.expiredServer,
      "E_TLS: the certificate of the server 127.0.0.1:PORT has expired (CERT_HAS_EXPIRED)",
      /check this machine's clock/,
    ],
    [
      "of another CA",
      () => pki.strangeServer,
      "E_TLS: the certificate of the server 127.0.0.1:PORT was issued by a CA that tls.ca_cert does not hold (SELF_SIGNED_CERT_IN_CHAIN)",
      /same CA/,
    ],
    [
      "of an agent",
      () => pki.agent,
      "E_TLS: the certificate of the server 127.0.0.1:PORT is not made for this side of a connection (INVALID_PURPOSE)",
      /pki server/,
    ],
  ];
  for (const [what, identity, sentence, hint] of strangers) {
    test(`that is ${what} is refused before a byte of ours is sent`, async () => {
      const server = serve(identity());
      const failure = await refusal(server.dialer(pki.agent));
      expect(text(failure)).toMatch(sentence.replace(/ \([A-Z_]+\)$/, ""));
      expect(failure.hint).toMatch(hint);
      expect([failure.retryable, server.accepted.length]).toEqual([false, 0]);
    });
  }

  test("that does not name the address is refused, and the sentence says which names it has", async () => {
    const server = serve(pki.server, { address: { host: "127.0.0.2", port: 0 } });
    const failure = await refusal(server.dialer(pki.agent, { address: { host: "127.0.0.2", port: server.port } }));
    expect(text(failure)).toContain("E_TLS: the certificate of the server 127.0.0.2:PORT does not name 127.0.0.2: ");
    expect(failure.message).toContain("127.0.0.1");
    expect(failure.hint).toContain("server.address");
  });
});

describe("this agent's certificate", () => {
  const cases: readonly (readonly [string, () => TlsIdentity])[] = [
    ["of another CA", () => pki.strangeAgent],
    ["expired", () => pki.expiredAgent],
    ["made for a server", () => ({ ...pki.server })],
  ];
  for (const [what, identity] of cases) {
    test(`${what}: the server closes without a word, which the connection tells as E_TLS that may be tried again`, async () => {
      const server = serve();
      const client = new NetEnd(await server.dialer(identity()).dial());
      await client.closed();
      expect(text(client.failure ?? new Failure("E_INTERNAL", "none"))).toBe(
        "E_TLS: the server 127.0.0.1:PORT closed the connection before it said anything",
      );
      expect(client.failure?.hint).toContain("does not accept this agent's certificate");
      expect([client.failure?.retryable, server.accepted.length]).toEqual([true, 0]);
    });
  }

  test("that TLS cannot use at all is said as such", async () => {
    const failure = await refusal(serve().dialer({ ...pki.agent, keyPem: "no key" }));
    expect(failure.code).toBe("E_TLS");
    expect(failure.message).toStartWith("TLS cannot use the configured certificates: ");
  });
});

describe("the network", () => {
  test("nobody listens: E_CONNECT with the address and the errno", async () => {
    const server = serve();
    const { port } = server;
    server.stop();
    const failure = await refusal(dialerTo(port, pki.agent));
    expect(text(failure)).toBe(
      "E_CONNECT: cannot connect to the server 127.0.0.1:PORT: nobody listens there (ECONNREFUSED)",
    );
    expect([failure.retryable, failure.hint]).toEqual([
      true,
      "Check that nbackup-server runs, and the host and port in server.address.",
    ]);
    const closed = connectFailure({ code: "ECONNREFUSED" }, "the server", { host: "backup.example.org", port: 9846 });
    expect(closed.hint).toContain("usually 9846, is only for nbackup-agent enroll");
  });

  test("nobody listens on an IPv6 address: written in brackets", async () => {
    const failure = await refusal(dialerTo(1, pki.agent, { address: { host: "::1", port: 9847 } }));
    expect(text(failure)).toBe(
      "E_CONNECT: cannot connect to the server [::1]:PORT: nobody listens there (ECONNREFUSED)",
    );
  });

  test("a name that nobody knows: E_CONNECT that names it", async () => {
    const failure = await refusal(dialerTo(1, pki.agent, { address: { host: "no-such-host.invalid", port: 9847 } }));
    expect(failure.code).toBe("E_CONNECT");
    expect(failure.message).toContain("the name no-such-host.invalid is not known");
    expect(failure.hint).toContain("name service");
  });

  test("a server that says nothing: E_TIMEOUT at the deadline, and the socket is closed", async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const port = await servePlain((socket) => {
      socket.resume();
      socket.on("close", () => resolve());
    });
    const failure = await refusal(dialerTo(port, pki.agent, { timeoutMs: 200 }));
    expect(text(failure)).toBe("E_TIMEOUT: the server 127.0.0.1:PORT did not finish the TLS handshake within 0.2 s");
    await closed;
  });

  const others: readonly (readonly [string, (socket: net.Socket) => void, string])[] = [
    [
      "a web server",
      (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
      "E_TLS: no TLS connection to the server 127.0.0.1:PORT: it does not speak TLS (WRONG_VERSION_NUMBER)",
    ],
    [
      "a server that closes at once",
      (socket) => socket.destroy(),
      "E_CONNECT: the server 127.0.0.1:PORT broke off the TLS handshake (ECONNRESET)",
    ],
    [
      "a server that speaks garbage",
      (socket) => socket.end(Buffer.alloc(500, 0xa5)),
      "E_TLS: no TLS connection to the server 127.0.0.1:PORT: it does not speak TLS (WRONG_VERSION_NUMBER)",
    ],
  ];
  for (const [what, behave, sentence] of others) {
    test(`${what} is told apart`, async () => {
      const port = await servePlain(behave);
      expect(text(await refusal(dialerTo(port, pki.agent)))).toBe(sentence);
    });
  }

  test("a TLS server of another protocol is told apart, with ALPN and without", async () => {
    const other = serve(pki.server, { protocol: "http/1.1" });
    expect(text(await refusal(other.dialer(pki.agent)))).toBe(
      "E_TLS: no TLS connection to the server 127.0.0.1:PORT: it does not speak the protocol of nbackup (NO_APPLICATION_PROTOCOL)",
    );
    expect((await refusal(other.dialer(pki.agent))).hint).toContain("usually 9846, is only for nbackup-agent enroll");
    const { caPem, certPem, keyPem } = pki.server;
    const plain = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      tls: { ca: caPem, cert: certPem, key: keyPem },
      socket: { open: () => undefined, data: () => undefined },
    });
    cleanups.push(() => plain.stop(true));
    expect(text(await refusal(dialerTo(plain.port, pki.agent)))).toBe(
      "E_TLS: the server 127.0.0.1:PORT speaks TLS but not nbackup/1",
    );
  });

  test("the signal interrupts a dial that waits, and one that has not begun", async () => {
    const { promise: reached, resolve } = Promise.withResolvers<void>();
    const port = await servePlain((socket) => {
      socket.resume();
      resolve();
    });
    const abort = new AbortController();
    const waiting = refusal(dialerTo(port, pki.agent), abort.signal);
    await reached;
    abort.abort();
    expect((await waiting).code).toBe("E_INTERRUPTED");
    expect((await refusal(dialerTo(port, pki.agent), abort.signal)).code).toBe("E_INTERRUPTED");
  });

  test("every dial asks for the identity anew: a renewed certificate counts from the next one on", async () => {
    const server = serve();
    let identity = { ...pki.agent, caPem: pki.strangeCaPem };
    const options: Partial<TlsDialerOptions> = { identity: () => identity };
    expect((await refusal(server.dialer(pki.agent, options))).code).toBe("E_TLS");
    identity = pki.agent;
    const { server: end } = await server.connect(pki.agent, options);
    expect(end.connection.peer().commonName).toBe("web-1");
  });
});
