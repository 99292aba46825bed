/** A session from Hello to Committed, told frame by frame to a whole server in memory. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { dataFrame, finishOf, makeChunks, type ScriptChunk, type ScriptLink } from "#test/support/script-client.ts";
import { beginOf, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

function bytesOf(chunks: readonly ScriptChunk[]): Buffer {
  return Buffer.concat(chunks.map((chunk) => chunk.stored));
}

function sendAll(link: ScriptLink, chunks: readonly ScriptChunk[], generation: number): void {
  for (const chunk of chunks) link.data(chunk, { generation });
}

describe("a session on one connection (parallels 0)", () => {
  test("Hello, Begin, Data in any order and Finish end in an archive of the chunks in order", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    expect(admitted).toMatchObject({ generation: 1, slotGeneration: 1, chunkBytes: 65_536, lastEntries: 0 });
    expect(admitted.compression).toEqual({ mode: "gzip", level: 3 });
    expect(admitted.archive).toMatch(/^web-1\/home\/2026-01-01T00-00-00-\d{3}Z\.tar\.gz$/);
    const chunks = makeChunks(5, 1000);
    for (const index of [1, 0, 2, 4, 3]) link.data(must(chunks[index], "chunk"), { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 5));
    link.send("finish", finishOf(chunks), 1);
    const committed = await w.wait(link.expect("committed"));
    expect(committed).toMatchObject({ session: admitted.session, archive: admitted.archive, bytes: 5000, removed: [] });
    expect(committed.sha256).toEqual(must(finishOf(chunks).files[0], "file 0").sha256);
    expect([...w.tree().keys()].filter((path) => path.startsWith("web-1/"))).toEqual([
      "web-1/",
      "web-1/home/",
      admitted.archive,
      `${admitted.archive}.sha256`,
    ]);
    expect(w.content(admitted.archive)).toEqual(bytesOf(chunks));
    const [ended] = w.eventsOf("session.committed");
    expect(ended?.fields).toMatchObject({ agent: "web-1", backup: "home", storage: "main", chunks: 5, bytes: 5000 });
  });

  test("file 1 travels beside file 0 and is committed as the index", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    const archive = makeChunks(2, 500);
    const index = makeChunks(2, 300, 1);
    sendAll(link, [...archive, ...index], 1);
    const sack = await w.wait(link.sack((s) => s.files.length === 2 && s.files[1]?.durableChunks === 2));
    expect(sack.files.map((file) => file.durableBytes)).toEqual([1000, 600]);
    link.send("finish", finishOf(archive, index), 1);
    await w.wait(link.expect("committed"));
    const name = admitted.archive.replace(".tar.gz", ".idx");
    expect(w.content(name)).toEqual(bytesOf(index));
  });

  test("a storage of zst says so to the agent, with the default chunk size where the agent leaves it open", async () => {
    const w = await start({ storages: [storageConfig({ compression: { mode: "zst", level: 1 } })] });
    const { admitted } = await w.session({ chunkBytes: 0 });
    expect(admitted.compression).toEqual({ mode: "zst", level: 1 });
    expect(admitted.chunkBytes).toBe(4 * 1024 * 1024);
    expect(admitted.archive).toEndWith(".tar.zst");
  });

  test("the totals of the last committed session reach the next one, and its connection may close at once", async () => {
    const w = await start();
    for (const [entries, rawBytes] of [
      [0, 0],
      [3, 1000],
    ]) {
      const { link, admitted } = await w.session();
      expect([admitted.lastEntries, admitted.lastRawBytes]).toEqual([
        must(entries, "entries"),
        must(rawBytes, "bytes"),
      ]);
      const chunks = makeChunks(1, 100);
      sendAll(link, chunks, 1);
      link.send("finish", finishOf(chunks), 1);
      await w.wait(link.expect("committed"));
      link.destroy();
    }
  });

  test("after Committed the server closes what the agent leaves open", async () => {
    const w = await start();
    const { link } = await w.session();
    const chunks = makeChunks(1, 100);
    sendAll(link, chunks, 1);
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    expect(await w.wait(link.closed())).toBeUndefined();
  });

  test("rotation keeps max_backups archives and Committed names those it removed", async () => {
    const w = await start({ storages: [storageConfig({ maxBackups: 2 })] });
    const archives: string[] = [];
    for (let run = 0; run < 3; run += 1) {
      const { link, admitted } = await w.session();
      archives.push(admitted.archive);
      const chunks = makeChunks(1, 100 + run);
      sendAll(link, chunks, 1);
      link.send("finish", finishOf(chunks), 1);
      const { removed } = await w.wait(link.expect("committed"));
      expect(removed).toEqual(run === 2 ? [must(archives[0], "first archive")] : []);
    }
  });
});

describe("streams", () => {
  test("chunks come on any of the slots, each with the generation that its Welcome gave", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 3 });
    expect(admitted.slotGeneration).toBe(0);
    const chunks = makeChunks(9, 700);
    const streams = await Promise.all(
      [0, 1, 2].map(async (slot) => {
        const { link: stream } = w.stream(admitted.session, slot);
        const welcome = await w.wait(stream.expect("welcome"));
        expect(welcome).toMatchObject({ generation: 1, slotGeneration: 1 });
        return stream;
      }),
    );
    for (const [index, chunk] of chunks.entries()) {
      must(streams[index % 3], "stream").data(chunk, { slot: index % 3, generation: 1 });
    }
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 9));
    for (const stream of streams) stream.send("goodbye", {});
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    expect(w.content(admitted.archive)).toEqual(bytesOf(chunks));
  });

  test("a stream that breaks comes back with a new generation, and its half-received chunk may come again", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 1 });
    const [chunk] = makeChunks(1, 5000);
    const first = w.stream(admitted.session, 0);
    await w.wait(first.link.expect("welcome"));
    const frame = must(chunk, "chunk");
    first.link.raw(Buffer.concat([encoded(frame, 1).subarray(0, 3000)]));
    await w.clock.advance(10);
    first.pipe.cut();
    const second = w.stream(admitted.session, 0);
    const welcome = await w.wait(second.link.expect("welcome"));
    expect(welcome.slotGeneration).toBe(2);
    second.link.data(frame, { generation: 2 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 1));
    const [event] = w.eventsOf("session.disconnected");
    expect(event?.message).toBe("stream 0 is gone");
  });

  test("Sacks go on a stream while the session connection is away", async () => {
    const w = await start();
    const { pipe, admitted } = await w.session({ parallels: 2 });
    const { link: stream } = w.stream(admitted.session, 1);
    await w.wait(stream.expect("welcome"));
    pipe.cut();
    sendOn(stream, makeChunks(2, 400), 1, 1);
    const sack = await w.wait(stream.sack((s) => s.files[0]?.durableChunks === 2));
    expect(sack.generation).toBe(1);
    expect(w.eventsOf("session.parked")).toHaveLength(0);
  });

  test("the same chunk on two streams is stored once, and the duplicate costs nothing but its bytes", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 2 });
    const chunks = makeChunks(2, 900);
    const streams = [w.stream(admitted.session, 0).link, w.stream(admitted.session, 1).link];
    for (const stream of streams) await w.wait(stream.expect("welcome"));
    for (const [slot, stream] of streams.entries()) sendOn(stream, chunks, slot, 1);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    await w.clock.advance(100);
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    const [event] = w.eventsOf("session.committed");
    expect(event?.fields).toMatchObject({ chunks: 2, bytes: 1800, duplicateBytes: 1800 });
  });

  test("data that is still on its way on another stream when Finish comes is read and dropped", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 2 });
    const chunks = makeChunks(2, 900);
    const first = w.stream(admitted.session, 0).link;
    const slow = w.stream(admitted.session, 1).link;
    for (const stream of [first, slow]) await w.wait(stream.expect("welcome"));
    sendOn(first, chunks, 0, 1);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    const again = encoded(must(chunks[0], "chunk"), 1, 1);
    slow.raw(again.subarray(0, 500));
    await w.clock.advance(10);
    link.send("finish", finishOf(chunks), 1);
    slow.raw(again.subarray(500));
    slow.raw(again);
    await w.wait(link.expect("committed"));
    expect(slow.received.map((message) => message.type)).not.toContain("refused");
  });
});

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

  test("an idle session hears a Sack on each of its connections every 5 s, a waiting agent a Ping", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 1 });
    const { link: stream } = w.stream(admitted.session, 0);
    await w.wait(stream.expect("welcome"));
    const idle = await w.hello("web-2");
    const before = [link, stream, idle.link].map((one) => one.received.length);
    for (let beat = 0; beat < 4; beat += 1) {
      await w.clock.advance(5_000);
      for (const one of [link, stream, idle.link]) one.send("ping", { id: beat });
    }
    const heard = [link, stream, idle.link].map((one, index) =>
      one.received.slice(before[index]).filter((message) => message.type !== "pong"),
    );
    expect(heard.map((messages) => new Set(messages.map((message) => message.type)))).toEqual([
      new Set(["sack"]),
      new Set(["sack"]),
      new Set(["ping"]),
    ]);
    expect(heard.map((messages) => messages.length)).toEqual([4, 4, 4]);
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

describe("admission", () => {
  test("beyond max_sessions agents wait in order of arrival, hear their position, and move up", async () => {
    const w = await start({ sessionsMax: 1 });
    const running = await w.session();
    const waiting = await Promise.all(
      ["web-2", "web-3", "web-4"].map(async (agent) => {
        const { link, pipe } = await w.hello(agent);
        link.send("begin", beginOf());
        return { link, pipe };
      }),
    );
    const [second, third, fourth] = waiting.map((one) => one.link);
    const positions = await w.wait(
      Promise.all(waiting.map(async ({ link }) => (await link.expect("queued")).position)),
    );
    expect(positions).toEqual([1, 2, 3]);
    must(waiting[1], "third agent").pipe.cut();
    const moved = await w.wait(must(fourth, "fourth").expect("queued"));
    expect(moved.position).toBe(2);
    running.link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.wait(must(second, "second").expect("admitted"));
    expect((await w.wait(must(fourth, "fourth").expect("queued"))).position).toBe(1);
    expect(must(third, "third").received.map((message) => message.type)).not.toContain("admitted");
  });

  test("memory_limit makes agents wait as well, but never the first", async () => {
    const w = await start({ memoryBytesMax: 1 });
    await w.session();
    const { link } = await w.hello("web-2");
    link.send("begin", beginOf());
    expect((await w.wait(link.expect("queued"))).position).toBe(1);
  });

  test("an agent that gives up waiting frees its place and its entry", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session({}, { agent: "web-2" });
    const { link } = await w.hello();
    link.send("begin", beginOf());
    await w.wait(link.expect("queued"));
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.wait(link.closed());
    expect(w.server.view().waitingCount).toBe(0);
    const again = await w.hello();
    again.link.send("begin", beginOf());
    expect((await w.wait(again.link.expect("queued"))).position).toBe(1);
  });

  test("a session that does not fit beside reserve and running ones is refused with the missing bytes", async () => {
    const disk = new MemoryDisk({ capacityBytes: 100 * 1024 * 1024 });
    const w = await start({ disk, storages: [storageConfig({ reserve: { percent: 10, bytesMax: 2 ** 40 } })] });
    await w.session({ estimateBytes: 50 * 1024 * 1024 }, { agent: "web-2" });
    const { link } = await w.hello();
    link.send("begin", beginOf({ estimateBytes: 60 * 1024 * 1024 }));
    const refused = await w.wait(link.expect("refused"));
    expect(refused).toMatchObject({ code: "E_FULL", retry: false });
    expect(refused.hint).toMatch(/^Free \d+ more bytes \(20\.\d MB\) .*nbackup-server prune/);
    await w.wait(link.closed());
  });

  test("the size of the last archive counts when the agent announces less", async () => {
    const disk = new MemoryDisk({ capacityBytes: 10_000 });
    const w = await start({ disk, storages: [storageConfig({ reserve: { percent: 0, bytesMax: 0 } })] });
    const { link } = await w.session();
    const chunks = makeChunks(1, 6_000);
    sendAll(link, chunks, 1);
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    const next = await w.hello();
    next.link.send("begin", beginOf({ estimateBytes: 1 }));
    expect((await w.wait(next.link.expect("refused"))).code).toBe("E_FULL");
  });

  test("two entries of one agent run beside each other", async () => {
    const w = await start();
    const home = await w.session({ backup: "home" });
    const etc = await w.session({ backup: "etc" });
    expect(home.admitted.session).not.toBe(etc.admitted.session);
    expect(w.server.view().sessionCount).toBe(2);
  });
});

function sendOn(link: ScriptLink, chunks: readonly ScriptChunk[], slot: number, generation: number): void {
  for (const chunk of chunks) link.data(chunk, { slot, generation });
}

function encoded(chunk: ScriptChunk, generation: number, slot = 0): Uint8Array {
  return dataFrame(chunk, { slot, generation });
}
