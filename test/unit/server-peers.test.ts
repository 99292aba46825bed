/** What a peer with a good certificate may cost: floods, drips, silence, too much of everything. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import {
  AGENT_CONNECTIONS_MAX,
  AGENT_PRE_HELLO_CONNECTIONS_MAX,
  CONTROL_FRAMES_BURST,
  SACK_GAP_MS,
  TURNED_AWAY_MAX,
} from "#server/limits.ts";
import { finishOf, makeChunks, type ScriptLink } from "#test/support/script-client.ts";
import { beginOf, helloOf, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";
import { encodeMessage } from "#wire/encode.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

function count(link: ScriptLink, type: string): number {
  return link.received.filter((message) => message.type === type).length;
}

test("who is welcomed and does not say Begin within 10 s is refused", async () => {
  const w = await start();
  const { link } = await w.hello();
  await w.clock.advance(9_900);
  expect(link.isClosed).toBe(false);
  expect((await w.wait(link.expect("refused"))).code).toBe("E_TIMEOUT");
  await w.wait(link.closed());
  expect(w.eventsOf("admission.refused")).toMatchObject([{ fields: { agent: "web-1", code: "E_TIMEOUT" } }]);
});

describe("before Hello", () => {
  test("who says nothing, or a byte now and then, is refused after 10 s", async () => {
    const w = await start();
    const [silent, dripping] = [w.connect("web-1"), w.connect("web-2")];
    const hello = encodeMessage("hello", helloOf({ agent: "web-2" }), { generation: 0 });
    for (let at = 0; at < 10; at += 1) {
      dripping.link.raw(hello.subarray(at, at + 1));
      await w.clock.advance(990);
    }
    expect([silent.link.isClosed, dripping.link.isClosed]).toEqual([false, false]);
    await w.clock.advance(200);
    expect([silent.link.isClosed, dripping.link.isClosed]).toEqual([true, true]);
    expect(silent.link.received.map((message) => message.type)).toEqual(["refused"]);
    expect(w.server.view().connectionCount).toBe(0);
  });

  test("one certificate has a limited number of silent connections, and others still come in", async () => {
    const w = await start();
    for (let one = 0; one < AGENT_PRE_HELLO_CONNECTIONS_MAX; one += 1) w.connect("web-1");
    const more = w.connect("web-1");
    expect((await w.wait(more.link.expect("refused"))).code).toBe("E_LIMIT");
    await w.hello("web-2");
  });

  test("beyond its limit a certificate's connections hear why, and further ones are closed without a word", async () => {
    const w = await start();
    for (let one = 0; one < AGENT_PRE_HELLO_CONNECTIONS_MAX; one += 1) w.connect("web-1");
    const refused = Array.from({ length: TURNED_AWAY_MAX + 50 }, () => w.connect("web-1"));
    await w.clock.advance(100);
    expect(refused.map(({ link }) => count(link, "refused")).reduce((sum, one) => sum + one)).toBe(TURNED_AWAY_MAX);
    expect(refused.every(({ link }) => link.isClosed)).toBe(true);
    await w.hello("web-2");
    const again = w.connect("web-1");
    expect((await w.wait(again.link.expect("refused"))).code).toBe("E_LIMIT");
  });
});

test("a certificate has a limited number of connections, welcomed or not", async () => {
  const w = await start();
  for (let one = 0; one < AGENT_CONNECTIONS_MAX; one += 1) {
    w.connect().link.send("hello", helloOf({}));
    if (one % 100 === 0) await w.clock.advance(5);
  }
  await w.clock.advance(10);
  expect((await w.wait(w.connect().link.expect("refused"))).code).toBe("E_LIMIT");
  await w.hello("web-2");
});

describe("floods", () => {
  test("of Pings cost the connection, and the session goes on without it", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    for (let id = 0; id <= CONTROL_FRAMES_BURST; id += 1) link.send("ping", { id });
    expect(await w.wait(link.expect("refused"))).toMatchObject({ code: "E_LIMIT", retry: true });
    await w.clock.advance(10);
    expect(w.eventsOf("session.parked")).toHaveLength(1);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
  });

  test("of connections that break the protocol or break off are told once a minute", async () => {
    const w = await start();
    const { admitted, pipe } = await w.session();
    pipe.cut();
    for (let time = 0; time < 3; time += 1) {
      const { link, pipe: again } = w.resume(admitted.session);
      await w.wait(link.expect("welcome"));
      if (time === 1) link.raw(Buffer.from("GET / HTTP/1.1\r\nHost: somebody\r\n\r\n"));
      await w.clock.advance(100);
      again.cut();
    }
    const closed = w.eventsOf("connection.closed");
    expect(closed).toMatchObject([
      { level: "warn", repeatKey: "web-1 E_PROTOCOL", fields: { agent: "web-1", code: "E_PROTOCOL" } },
    ]);
    expect(w.logged.filter((line) => line.includes("connection closed"))).toEqual([]);
    for (const kind of ["session.disconnected", "session.parked", "session.resumed"]) {
      const keys = w.eventsOf(kind).map(({ repeatKey }) => repeatKey);
      expect(keys.length).toBeGreaterThanOrEqual(3);
      expect(new Set(keys).size).toBe(1);
      expect(keys[0]).toStartWith(admitted.session);
    }
  });

  test("of tiny chunks with PUSH, new or known, are answered with a Sack every few milliseconds at most", async () => {
    const w = await start();
    const { link } = await w.session();
    const chunks = makeChunks(500, 1).map((chunk) => ({ ...chunk, push: true }));
    const before = w.clock.now();
    for (let round = 0; round < 4; round += 1) {
      for (const chunk of chunks) {
        link.data(chunk, { generation: 1 });
        if (chunk.sequence % 10 === 0) await w.clock.advance(1);
      }
    }
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 500));
    const sacks = count(link, "sack");
    expect(sacks).toBeGreaterThan(2);
    expect(sacks).toBeLessThanOrEqual(2 + (w.clock.now() - before) / SACK_GAP_MS);
  });

  test("of Finish change nothing and are answered once each, at most", async () => {
    const w = await start();
    const { link } = await w.session();
    const chunks = makeChunks(2, 100);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    for (let time = 0; time < 50; time += 1) link.send("finish", finishOf(time === 0 ? chunks : makeChunks(1, 7)), 1);
    await w.wait(link.expect("committed"));
    await w.clock.advance(1_000);
    expect(count(link, "committed")).toBeLessThanOrEqual(50);
    expect(w.eventsOf("session.committed")).toHaveLength(1);
  });

  test("of sessions that are begun and given up leave nothing behind", async () => {
    const w = await start();
    for (let time = 0; time < 50; time += 1) {
      const { link } = await w.session();
      link.destroy();
      await w.clock.advance(5);
    }
    expect(w.server.view().sessionCount).toBe(1);
    expect(w.unfinished().filter((path) => path.endsWith("/"))).toHaveLength(1);
    expect(w.eventsOf("session.ended").every((event) => event.fields["code"] === "E_SUPERSEDED")).toBe(true);
  });

  test("of Pings whose answers are not read cost the connection when 256 KiB of them wait", async () => {
    const w = await start({ sessionsMax: 1 });
    const running = await w.session({}, { agent: "web-2" });
    const { pipe, link } = await w.hello();
    link.send("begin", beginOf());
    await w.wait(link.expect("queued"));
    pipe.client.pause();
    let second = 0;
    for (; second < 1_000 && !w.logged.some((line) => line.includes("does not read")); second += 1) {
      for (let id = 0; id < 30; id += 1) link.send("ping", { id });
      running.link.send("ping", { id: second });
      await w.clock.advance(1_000);
      if (w.server.view().connectionCount === 1) break;
    }
    expect(second).toBeWithin(100, 999);
    expect(w.server.view().connectionCount).toBe(1);
    expect(String(w.eventsOf("admission.left")[0]?.fields["reason"])).toStartWith("E_LIMIT");
  });

  test("of chunks are no reason to queue Sacks for a session connection that is not read", async () => {
    const w = await start();
    const { pipe, admitted } = await w.session({ parallels: 1 });
    pipe.client.pause();
    const { link: stream } = w.stream(admitted.session, 0);
    await w.wait(stream.expect("welcome"));
    const chunks = makeChunks(4_000, 1);
    for (const chunk of chunks.filter((one) => one.sequence % 2 === 1)) stream.data(chunk, { generation: 1 });
    await w.clock.advance(19_000);
    // The session connection takes no more than fits its buffer: Sacks are made when they can be sent, not queued.
    expect(stream.isClosed).toBe(false);
    stream.send("ping", { id: 1 });
    expect((await w.wait(stream.expect("pong"))).id).toBe(1);
    pipe.client.resume();
  });
});

describe("a certificate", () => {
  test("that runs out while its connection is busy loses it within the hour", async () => {
    const w = await start();
    let good = true;
    const { link } = w.connectAs(() => {
      if (!good) throw new Failure("E_TLS", "the certificate has run out");
      return { commonName: "web-1", fingerprint: "00".repeat(32), notBeforeMs: 0, notAfterMs: 2e12, serial: "01" };
    });
    link.send("hello", helloOf({}));
    await w.wait(link.expect("welcome"));
    link.send("begin", beginOf());
    await w.wait(link.expect("admitted"));
    good = false;
    // A chunk a second, each answered: there is never time for a heartbeat.
    const chunks = makeChunks(3_700, 10);
    for (const chunk of chunks) {
      if (link.isClosed) break;
      link.data(chunk, { generation: 1 });
      await w.clock.advance(1_000);
    }
    expect(must(link.received.at(-1), "last word")).toMatchObject({ type: "refused", body: { code: "E_TLS" } });
  });
});
