/** The contract of connection.ts over real TLS on loopback. Refusals are in net-dial and net-strangers. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { systemClock } from "#bin/system.ts";
import { KiB, MiB } from "#base/units.ts";
import { UNSENT_BYTES_MAX } from "#net/socket-options.ts";
import { makeNetPki, type NetEnd, type NetPki, NetServer } from "#test/support/net-kit.ts";

let pki: NetPki;
let server: NetServer;

beforeAll(async () => {
  pki = await makeNetPki();
});
afterAll(() => pki.remove());
beforeEach(() => {
  server = new NetServer(pki.server);
});
afterEach(() => server.stop());

/** Bytes without any pattern, the same in every run. */
function noise(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = 1;
  for (let i = 0; i < length; i += 1) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = x >>> 16;
  }
  return bytes;
}

/** Writes all of `bytes` in pieces of changing length; resolves when the last one was taken. */
function writeAll(end: NetEnd, bytes: Uint8Array, pieceBytesMax: number): Promise<{ shortCount: number }> {
  let at = 0;
  let shortCount = 0;
  const { promise, resolve } = Promise.withResolvers<{ shortCount: number }>();
  const go = (): void => {
    while (at < bytes.length) {
      const length = 1 + ((at * 31 + shortCount * 7919) % pieceBytesMax);
      const piece = bytes.subarray(at, at + length);
      const taken = end.connection.write(piece);
      at += taken;
      if (taken < piece.length) {
        shortCount += 1;
        return;
      }
    }
    resolve({ shortCount });
  };
  end.onDrain = go;
  go();
  return promise;
}

const sha256 = (bytes: Uint8Array): string => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

describe("a TLS connection", () => {
  test("says who the peer is: the agent's name for the server, the server for the agent", async () => {
    const { client, server: end } = await server.connect(pki.agent);
    expect(end.connection.peer().commonName).toBe("web-1");
    expect(client.connection.peer().commonName).toBe("localhost");
    expect(client.connection.remoteAddress).toBe(`127.0.0.1:${server.port}`);
    expect(end.connection.remoteAddress).toBe(`127.0.0.1:${client.connection.localPort}`);
    client.connection.destroy();
    await end.closed();
    expect(end.connection.peer().commonName).toBe("web-1");
  });

  test("judges the peer's certificate by the CA of a reload, and not by a renewed certificate under the same one", async () => {
    const { server: end } = await server.connect(pki.agent);
    server.listener.use({ ...pki.expiredServer });
    expect(end.connection.peer().commonName).toBe("web-1");
    server.listener.use({ ...pki.server, caPem: `${pki.strangeCaPem}${pki.server.caPem}` });
    expect(end.connection.peer().commonName).toBe("web-1");
    server.listener.use({ ...pki.strangeServer, caPem: pki.strangeCaPem });
    expect(() => end.connection.peer()).toThrow("its CA is not trusted any more");
    const { server: other } = await server.connect({ ...pki.strangeAgent, caPem: pki.strangeCaPem });
    expect(other.connection.peer().commonName).toBe("web-1");
  });

  test("judges the peer's certificate by the clock at every question, long after the handshake", async () => {
    let wallMs = Date.now();
    const clock = { ...systemClock, wall: () => wallMs };
    const late = new NetServer(pki.server, { clock });
    const { server: end } = await late.connect(pki.agent);
    expect(end.connection.peer().commonName).toBe("web-1");
    wallMs += 365 * 86_400_000;
    expect(() => end.connection.peer()).toThrow(/the certificate of agent "?web-1"?: /);
    late.stop();
  });

  test("delivers every byte in order whatever is written after a short write, in both directions at once", async () => {
    const { client, server: end } = await server.connect(pki.agent);
    const up = noise(24 * MiB);
    const down = up.subarray(MiB, 9 * MiB);
    const [sent] = await Promise.all([
      writeAll(client, up, 300 * KiB),
      writeAll(end, down, 40 * KiB),
      end.until((e) => e.bytes >= up.length),
      client.until((e) => e.bytes >= down.length),
    ]);
    expect(end.hash.digest("hex")).toBe(sha256(up));
    expect(client.hash.digest("hex")).toBe(sha256(down));
    expect(sent.shortCount).toBeGreaterThan(0);
  });

  test("takes little more than the kernel may hold unsent while the receiver does not read, and goes on when it does", async () => {
    const { client, server: end } = await server.connect(pki.agent);
    end.connection.pause();
    const bytes = noise(16 * MiB);
    let taken = 0;
    for (let at = 0; at < bytes.length;) {
      const now = client.connection.write(bytes.subarray(at, at + 256 * KiB));
      taken += now;
      at += now;
      if (now < 256 * KiB) break;
    }
    // Unsent bytes, one write in Bun's hands, and what the receiver's kernel takes unread.
    expect(taken).toBeLessThan(UNSENT_BYTES_MAX + 256 * KiB + 512 * KiB);
    const before = end.bytes;
    expect(before).toBe(0);
    end.connection.resume();
    await writeAll(client, bytes.subarray(taken), 256 * KiB);
    await end.until((e) => e.bytes >= bytes.length);
    expect(end.hash.digest("hex")).toBe(sha256(bytes));
    expect(client.drains).toBeGreaterThan(0);
  });

  test("end delivers what was taken before it closes, and both ends close once, in order", async () => {
    const { client, server: end } = await server.connect(pki.agent);
    end.connection.pause();
    const bytes = noise(2 * MiB);
    const taken = client.connection.write(bytes);
    expect(taken).toBeGreaterThan(0);
    client.connection.end();
    expect(client.write("too late")).toBe(0);
    end.connection.resume();
    await Promise.all([end.closed(), client.closed()]);
    expect([end.bytes, end.failure, end.closedCount]).toEqual([taken, undefined, 1]);
    expect([client.failure, client.closedCount]).toEqual([undefined, 1]);
  });

  test("last words reach a peer that is still sending, and what it sends until it closes is read", async () => {
    const { client, server: end } = await server.connect(pki.agent);
    const feed = noise(64 * KiB);
    const go = (): void => {
      while (client.connection.write(feed) === feed.length);
    };
    client.onDrain = go;
    go();
    await end.until((e) => e.bytes > MiB);
    end.write("refused");
    end.connection.end();
    await client.closed();
    expect(client.text).toBe("refused");
    expect(client.failure).toBeUndefined();
    await end.closed();
    expect(end.failure).toBeUndefined();
  });

  test("destroy is an end for this side and a broken connection for the other", async () => {
    const { client, server: end } = await server.connect(pki.agent);
    client.connection.destroy();
    client.connection.destroy();
    expect(client.closedCount).toBe(0);
    await Promise.all([client.closed(), end.closed()]);
    expect([client.failure, client.closedCount]).toEqual([undefined, 1]);
    expect([end.failure?.code, end.failure?.message]).toEqual([
      "E_DISCONNECTED",
      `the connection to the agent ${end.connection.remoteAddress} broke: the other side closed it at once (ECONNRESET)`,
    ]);
    expect(client.write("x")).toBe(0);
  });

  test("an owner that throws loses its connection and nothing else", async () => {
    const first = await server.connect(pki.agent);
    first.server.onData = () => {
      throw new Error("a bug of the owner");
    };
    first.client.write("x");
    await Promise.all([first.server.closed(), first.client.closed()]);
    expect([first.server.failure?.code, first.server.failure?.message]).toEqual(["E_INTERNAL", "a bug of the owner"]);
    const second = await server.connect(pki.agent);
    second.client.write("still here");
    await second.server.until((e) => e.text === "still here");
    expect(server.accepted.length).toBe(2);
  });

  test("pause stops the bytes in the middle of what has arrived, and resume loses none", async () => {
    const { client, server: end } = await server.connect(pki.agent);
    let paused = false;
    let calls = 0;
    let callsWhilePaused = 0;
    end.onData = () => {
      if (paused) callsWhilePaused += 1;
      calls += 1;
      paused = true;
      end.connection.pause();
    };
    const bytes = noise(4 * MiB);
    const sending = writeAll(client, bytes, 256 * KiB);
    while (end.bytes < bytes.length) {
      const seen = end.bytes;
      await end.until((e) => e.bytes > seen);
      // A round through the event loop of the same process, in which the socket could have been read.
      await server.connect(pki.agent);
      paused = false;
      end.connection.resume();
    }
    await sending;
    expect(callsWhilePaused).toBe(0);
    expect(calls).toBeGreaterThan(4);
    expect(end.hash.digest("hex")).toBe(sha256(bytes));
  });

  test("bytes that come with the handshake wait for the owner", async () => {
    const next = server.next();
    const connection = await server.dialer(pki.agent).dial();
    connection.write(Buffer.from("early"));
    const end = await next;
    await end.until((e) => e.text === "early");
    expect(end.text).toBe("early");
    connection.destroy();
  });
});
