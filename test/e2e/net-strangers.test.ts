/**
 * Whoever is not an agent of ours is refused within the handshake deadline, costs bounded memory, is counted, and does
 * not keep agents out: strange, expired and missing certificates, TLS 1.2, HTTP, random bytes, slow drips, silence.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import net from "node:net";
import { systemClock } from "#bin/system.ts";
import { every } from "#base/clock.ts";
import { MiB } from "#base/units.ts";
import { listenTls, type TlsListenOptions } from "#net/listen.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { makeNetPki, NetEnd, type NetPki, NetServer, PROTOCOL } from "#test/support/net-kit.ts";

const DEADLINE_MS = 400;

let pki: NetPki;
const cleanups: (() => void)[] = [];

beforeAll(async () => {
  pki = await makeNetPki();
});
afterAll(() => pki.remove());
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function serve(options: Partial<TlsListenOptions> = {}): NetServer {
  const server = new NetServer(pki.server, { handshakeTimeoutMs: DEADLINE_MS, ...options });
  cleanups.push(() => server.stop());
  return server;
}

/** A plain TCP connection; `closed` when the server has closed it. */
function stranger(
  port: number,
  act: (socket: net.Socket) => void = () => undefined,
): { closed: Promise<void>; socket: net.Socket } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = net.connect(port, "127.0.0.1", () => act(socket));
  socket.on("error", () => resolve());
  socket.on("close", () => resolve());
  socket.resume();
  cleanups.push(() => void socket.destroy());
  return { closed: promise, socket };
}

interface ClientRun {
  readonly code: number;
  readonly text: string;
}

async function openssl(port: number, ...args: readonly string[]): Promise<ClientRun> {
  const child = Bun.spawn(["openssl", "s_client", "-connect", `127.0.0.1:${port}`, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, text: out + err };
}

/** The reason of the last stranger that was logged. */
function lastReason(server: NetServer): string {
  return String(server.log.lines.at(-1)?.fields["reason"]).replace(/127\.0\.0\.1:\d+/g, "PEER");
}

async function greet(server: NetServer): Promise<number> {
  const before = systemClock.now();
  const { client, server: end } = await server.connect(pki.agent);
  client.write("hello");
  await end.until((e) => e.text === "hello");
  client.connection.destroy();
  return systemClock.now() - before;
}

describe("a peer whose certificate is not of our CA, valid and an agent's", () => {
  const certificates = [
    ["strange", () => pki.strangeAgent, /was issued by a CA that tls\.ca_cert does not hold/],
    ["expired", () => pki.expiredAgent, /has expired/],
    ["a server's", () => pki.server, /is not made for this side/],
  ] as const;
  for (const [what, identity, reason] of certificates) {
    test(`${what}: is never handed over, and the log says why`, async () => {
      const server = serve();
      const client = new NetEnd(await server.dialer(identity()).dial());
      client.write("let me in");
      await client.closed();
      expect([server.accepted.length, server.listener.strangerCount, server.listener.handshakeCount]).toEqual([
        0, 1, 0,
      ]);
      expect(lastReason(server)).toMatch(reason);
      await greet(server);
    });
  }

  test("none at all: refused by TLS", async () => {
    const server = serve();
    const run = await openssl(server.port, "-CAfile", pki.files.ca, "-alpn", PROTOCOL, "-ign_eof");
    expect(run.text).toContain("alert");
    expect(server.accepted.length).toBe(0);
    expect(lastReason(server)).toContain("it presented no certificate");
  });
});

describe("a peer that speaks something else", () => {
  const ours = (): string[] => [
    ...["-CAfile", pki.files.ca, "-cert", pki.files.agent.certPath, "-key", pki.files.agent.keyPath],
  ];

  test("TLS 1.2 is refused with an alert, with the best of certificates", async () => {
    const server = serve();
    const run = await openssl(server.port, ...ours(), "-alpn", PROTOCOL, "-tls1_2");
    expect(run.code).not.toBe(0);
    expect(run.text).toContain("alert protocol version");
    expect(lastReason(server)).toContain("it does not speak TLS 1.3");
    expect(server.accepted.length).toBe(0);
  });

  test("TLS 1.3 of openssl with our protocol is let in: nothing here is Bun's own", async () => {
    const server = serve();
    const run = await openssl(server.port, ...ours(), "-alpn", PROTOCOL, "-tls1_3");
    expect(run.text).toContain("ALPN protocol: nbackup/1");
    expect(server.accepted[0]?.connection.peer().commonName).toBe("web-1");
  });

  test("another ALPN or none is refused", async () => {
    const server = serve();
    await openssl(server.port, ...ours(), "-alpn", "h2");
    expect(lastReason(server)).toContain("it does not speak the protocol of nbackup");
    await openssl(server.port, ...ours());
    expect([server.accepted.length, server.listener.strangerCount]).toEqual([0, 2]);
  });

  test("plain HTTP and random bytes are closed at once", async () => {
    const server = serve();
    await stranger(server.port, (socket) => socket.write("GET / HTTP/1.1\r\nHost: backup.example\r\n\r\n")).closed;
    expect(lastReason(server)).toBe("no TLS connection to PEER: it speaks HTTP (HTTP_REQUEST)");
    await stranger(server.port, (socket) => socket.write(Buffer.alloc(100_000, 0xa5))).closed;
    expect([server.accepted.length, server.listener.strangerCount]).toEqual([0, 2]);
  });
});

describe("a peer that takes its time", () => {
  test("silent or dripping, it is closed at the deadline", async () => {
    const server = serve();
    const before = systemClock.now();
    const silent = stranger(server.port);
    // The start of a TLS record that announces 512 bytes, one byte every 20 ms.
    const record = Buffer.concat([Buffer.from("1603010200010001fc0303", "hex"), Buffer.alloc(500)]);
    let at = 0;
    const drip = stranger(server.port, (socket) => {
      const timer = every(systemClock, 20, () => socket.write(record.subarray(at, ++at)));
      cleanups.push(() => timer.cancel());
      socket.on("close", () => timer.cancel());
    });
    await Promise.all([silent.closed, drip.closed]);
    const tookMs = systemClock.now() - before;
    expect(tookMs).toBeGreaterThan(DEADLINE_MS * 0.9);
    expect(tookMs).toBeLessThan(DEADLINE_MS * 5);
    expect(at).toBeGreaterThan(3);
    expect([server.listener.strangerCount, server.listener.handshakeCount]).toEqual([2, 0]);
    expect(server.log.lines[0]?.fields["reason"]).toBe("no handshake within 0.4 s");
  });

  test("200 half-open connections do not keep an agent waiting, and are gone after the deadline", async () => {
    const server = serve({ handshakeTimeoutMs: 2_000 });
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    const strangers = Array.from({ length: 200 }, () => stranger(server.port));
    await greet(server);
    const tookMs = await greet(server);
    expect(tookMs).toBeLessThan(1_000);
    expect(server.listener.handshakeCount).toBeGreaterThan(100);
    await Promise.all(strangers.map(({ closed }) => closed));
    expect([server.listener.strangerCount, server.listener.handshakeCount]).toEqual([200, 0]);
    expect(process.memoryUsage().rss - before).toBeLessThan(40 * MiB);
    expect(server.log.lines.length).toBeLessThan(4);
  });

  test("beyond the limit of handshakes the oldest has to go, so that an agent still gets through", async () => {
    const server = serve({ handshakeTimeoutMs: 60_000, handshakesMax: 16 });
    const strangers = Array.from({ length: 40 }, () => stranger(server.port));
    await Promise.race(strangers.map(({ closed }) => closed));
    await greet(server);
    expect(server.listener.handshakeCount).toBeLessThanOrEqual(16);
    expect(server.listener.strangerCount).toBeGreaterThanOrEqual(20);
    expect(lastReason(server)).toBe("more than 16 handshakes under way");
  });
});

describe("the listener", () => {
  test("closes a connection that its owner cannot take, and goes on", async () => {
    const log = memoryLogger();
    let calls = 0;
    const server = serve({
      log,
      accept: (connection) => {
        calls += 1;
        if (calls === 1) throw new Error("a bug of the owner");
        new NetEnd(connection).onData = (bytes) => void connection.write(bytes);
      },
    });
    const first = new NetEnd(await server.dialer(pki.agent).dial());
    await first.closed();
    expect(log.lines[0]).toMatchObject({ level: "error", message: "a new connection could not be taken" });
    const second = new NetEnd(await server.dialer(pki.agent).dial());
    second.write("echo");
    await second.until((e) => e.text === "echo");
    expect(calls).toBe(2);
    second.connection.destroy();
  });

  test("says who has the port, and which addresses this machine does not have", () => {
    const server = serve();
    const options = {
      ...{
        identity: pki.server,
        protocol: PROTOCOL,
        handshakeTimeoutMs: 1000,
        clock: systemClock,
        log: memoryLogger(),
      },
      accept: () => undefined,
    };
    const taken = { ...options, address: { host: "127.0.0.1", port: server.port } };
    expect(() => listenTls(taken)).toThrow(
      `cannot listen on 127.0.0.1:${server.port}: another program has the port (EADDRINUSE)`,
    );
    expect(() => listenTls({ ...options, address: { host: "192.0.2.1", port: 0 } })).toThrow(
      /cannot listen on 192\.0\.2\.1:0: /,
    );
  });

  test("another identity counts for the next handshake, and what is open goes on", async () => {
    const server = serve();
    const first = await server.connect(pki.agent);
    server.listener.use({ ...pki.strangeServer, caPem: pki.strangeCaPem });
    const port = server.port;
    for (let i = 0; i < 20; i++) {
      const next = server.next();
      const end = new NetEnd(await server.dialer({ ...pki.strangeAgent, caPem: pki.strangeCaPem }).dial());
      (await next).connection.destroy();
      end.connection.destroy();
    }
    expect(server.port).toBe(port);
    await expect(server.dialer(pki.agent).dial()).rejects.toThrow();
    first.client.write("echo");
    await first.server.until((end) => end.text === "echo");
    first.client.connection.destroy();
  });

  test("stop ends handshakes, and leaves what is open", async () => {
    const server = serve({ handshakeTimeoutMs: 60_000 });
    const { client, server: end } = await server.connect(pki.agent);
    const silent = stranger(server.port);
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    silent.socket.once("connect", resolve);
    await connected;
    await greet(server);
    server.listener.stop();
    await silent.closed;
    client.write("still open");
    await end.until((e) => e.text === "still open");
    expect(server.listener.handshakeCount).toBe(0);
  });
});
