/** What the server says of chunks and of itself while a session runs: Sacks, heartbeats, a disk that is behind. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { finishOf, makeChunks, type ScriptChunk, type ScriptLink } from "#test/support/script-client.ts";
import { beginOf, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

function sendAll(link: ScriptLink, chunks: readonly ScriptChunk[], generation: number): void {
  for (const chunk of chunks) link.data(chunk, { generation });
}

describe("Sack", () => {
  test("a chunk is acknowledged as received within 50 ms and as durable once it is synced", async () => {
    const w = await start();
    const { link } = await w.session();
    const sentAt = w.clock.now();
    link.data(must(makeChunks(3, 100)[1], "chunk 1"), { generation: 1 });
    const received = await w.wait(link.sack());
    expect(w.clock.now() - sentAt).toBeLessThanOrEqual(55);
    expect(received.files).toEqual([{ file: 0, durableChunks: 0, durableBytes: 0, received: [[1, 1]] }]);
    link.data(must(makeChunks(3, 100)[0], "chunk 0"), { generation: 1 });
    const durable = await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    expect(durable.files).toEqual([{ file: 0, durableChunks: 2, durableBytes: 200, received: [] }]);
  });

  test("many chunks at once are answered with one Sack", async () => {
    const w = await start();
    const { link } = await w.session();
    sendAll(link, makeChunks(50, 100).slice(1, 40), 1);
    const sack = await w.wait(link.sack());
    expect(sack.files[0]?.received).toEqual([[1, 39]]);
    expect(link.received.filter((message) => message.type === "sack")).toHaveLength(1);
  });

  test("a PUSH chunk is answered at once", async () => {
    const w = await start();
    const { link } = await w.session();
    const chunk = must(makeChunks(1, 100)[0], "chunk");
    const sentAt = w.clock.now();
    link.data(chunk, { generation: 1 });
    await w.wait(link.sack());
    expect(w.clock.now() - sentAt).toBeLessThan(50);
  });

  test("a damaged chunk is named as lost at once, counted, and may come again", async () => {
    const w = await start();
    const { link } = await w.session();
    const chunks = makeChunks(2, 100);
    link.data(must(chunks[0], "chunk 0"), { generation: 1, damaged: true });
    const lost = await w.wait(link.sack());
    expect(lost.lost).toEqual([[0, 0]]);
    expect(lost.files[0]?.received).toEqual([]);
    sendAll(link, chunks, 1);
    const next = await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    expect(next.lost).toEqual([]);
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    expect(w.eventsOf("session.committed")[0]?.fields).toMatchObject({ damagedChunks: 1 });
  });

  test("an idle session hears a Sack and a Ping on each of its connections every 5 s, a waiting agent a Ping", async () => {
    const w = await start({ sessionsMax: 1 });
    const { link, admitted } = await w.session({ parallels: 1 });
    const { link: stream } = w.stream(admitted.session, 0);
    await w.wait(stream.expect("welcome"));
    const idle = await w.hello("web-2");
    idle.link.send("begin", beginOf());
    await w.wait(idle.link.expect("queued"));
    const before = [link, stream, idle.link].map((one) => one.received.length);
    for (let beat = 0; beat < 4; beat += 1) {
      await w.clock.advance(5_000);
      for (const one of [link, stream, idle.link]) one.send("ping", { id: beat });
    }
    const heard = [link, stream, idle.link].map((one, index) =>
      one.received.slice(before[index]).filter((message) => message.type !== "pong"),
    );
    expect(heard.map((messages) => new Set(messages.map((message) => message.type)))).toEqual([
      new Set(["sack", "ping"]),
      new Set(["sack", "ping"]),
      new Set(["ping"]),
    ]);
    expect(heard.map((messages) => messages.length)).toEqual([8, 8, 4]);
  });

  test("an agent that says nothing for 20 s is cut off, and its session is parked", async () => {
    const w = await start();
    const { link } = await w.session();
    link.ignorePings();
    await w.clock.advance(19_900);
    expect(link.isClosed).toBe(false);
    await w.clock.advance(200);
    expect(link.isClosed).toBe(true);
    expect(w.eventsOf("session.parked")).toHaveLength(1);
  });

  test("a Ping is answered with a Pong of its id", async () => {
    const w = await start();
    const { link } = await w.session();
    link.send("ping", { id: 77, entries: 12, rawBytes: 3400 });
    const pong = await w.wait(link.expect("pong"));
    expect(pong.id).toBe(77);
  });
});

describe("a chunk that was lost", () => {
  test("is named again when the connection that said so broke, until it is received", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session({ parallels: 1 });
    const stream = w.stream(admitted.session, 0);
    await w.wait(stream.link.expect("welcome"));
    const chunk = must(makeChunks(1, 100)[0], "chunk");
    link.ignorePings();
    pipe.freeze();
    stream.link.data(chunk, { generation: 1, damaged: true });
    for (let beat = 0; beat < 5; beat += 1) {
      await w.clock.advance(5_000);
      stream.link.send("ping", { id: beat });
    }
    expect(namedLost(link)).toEqual([]);
    // Said into the void; said again on the stream when the session connection was found dead, and only once.
    expect(namedLost(stream.link)).toEqual([[0, 0]]);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    await w.clock.advance(1_000);
    expect(namedLost(back.link)).toEqual([]);
    stream.pipe.cut();
    await w.clock.advance(100);
    expect(namedLost(back.link)).toEqual([[0, 0]]);
    const again = w.stream(admitted.session, 0);
    await w.wait(again.link.expect("welcome"));
    again.link.data(chunk, { generation: 2 });
    await w.wait(back.link.sack((sack) => sack.files[0]?.durableChunks === 1));
    back.pipe.cut();
    const third = w.resume(admitted.session);
    await w.wait(third.link.expect("welcome"));
    expect((await w.wait(third.link.sack())).lost).toEqual([]);
  });

  test("while no connection is up is named by the first Sack of the next generation", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session();
    link.data(must(makeChunks(1, 100)[0], "chunk"), { generation: 1, damaged: true });
    await w.clock.advance(1);
    pipe.freeze();
    await w.clock.advance(21_000);
    expect(w.eventsOf("session.parked")).toHaveLength(1);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    expect(await w.wait(back.link.sack())).toMatchObject({ generation: 2, lost: [[0, 0]] });
  });
});

test("every frame of a session carries the generation of the session", async () => {
  const w = await start();
  const { link, pipe, admitted } = await w.session();
  link.send("ping", { id: 1 });
  await w.wait(link.expect("pong"));
  expect(new Set(link.generations.slice(link.received.findIndex((one) => one.type === "admitted")))).toEqual(
    new Set([1]),
  );
  pipe.cut();
  const back = w.resume(admitted.session);
  await w.wait(back.link.expect("welcome"));
  back.link.send("ping", { id: 2 });
  await w.wait(back.link.expect("pong"));
  expect(new Set(back.link.generations)).toEqual(new Set([2]));
});

describe("a disk that is behind", () => {
  test("pauses the connections that carry data, says stalled on all, counts no silence, and goes on", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, admitted } = await w.session({ parallels: 1 });
    const { link: stream } = w.stream(admitted.session, 0);
    await w.wait(stream.expect("welcome"));
    let release: () => void = () => undefined;
    const stuck = new Promise<void>((resolve) => {
      release = resolve;
    });
    disk.hook = (event) => (event.call === "write" && event.path.endsWith("archive.part") ? stuck : undefined);
    const chunks = makeChunks(40, 512 * 1024);
    sendOn(stream, chunks, 0, 1);
    for (let beat = 0; beat < 10; beat += 1) {
      await w.clock.advance(4_000);
      link.send("ping", { id: beat });
    }
    expect(stream.unsentBytes).toBeGreaterThan(8 * 1024 * 1024);
    expect(stream.isClosed).toBe(false);
    for (const one of [link, stream]) {
      const sacks = one.received.filter((message) => message.type === "sack");
      expect(sacks.filter((sack) => sack.body.stalled).length).toBeGreaterThanOrEqual(7);
    }
    disk.hook = () => undefined;
    release();
    const sack = await w.wait(link.sack((s) => s.files[0]?.durableChunks === 40));
    expect(sack.stalled).toBe(false);
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
  });
});

function sendOn(link: ScriptLink, chunks: readonly ScriptChunk[], slot: number, generation: number): void {
  for (const chunk of chunks) link.data(chunk, { slot, generation });
}

function namedLost(link: ScriptLink): unknown[] {
  return link.received.flatMap((message) => (message.type === "sack" ? message.body.lost : []));
}
