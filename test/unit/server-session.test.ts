/** A session from Hello to Committed, told frame by frame to a whole server in memory. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { dataFrame, finishOf, makeChunks, type ScriptChunk, type ScriptLink } from "#test/support/script-client.ts";
import { ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";

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

  test("a stream hears at once what the session connection may have taken down with it", async () => {
    const w = await start();
    const { pipe, link, admitted } = await w.session({ parallels: 1 });
    const { link: stream } = w.stream(admitted.session, 0);
    await w.wait(stream.expect("welcome"));
    sendOn(stream, makeChunks(2, 400), 0, 1);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    const before = w.clock.now();
    pipe.cut();
    await w.wait(stream.sack((sack) => sack.files[0]?.durableChunks === 2));
    expect(w.clock.now() - before).toBeLessThan(100);
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

  test("without streams, data that was asked for again before Finish was heard is read and dropped", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session();
    const chunks = makeChunks(2, 900);
    sendOn(link, chunks, 0, 1);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    const { promise: slow, resolve: go } = Promise.withResolvers<void>();
    w.disk.hook = ({ call }) => (call === "link" ? slow : undefined);
    link.send("finish", finishOf(chunks), 1);
    sendOn(link, chunks.slice(1), 0, 1);
    await w.clock.advance(10);
    expect(link.received.map(({ type }) => type)).not.toContain("refused");
    pipe.cut();
    const back = w.resume(admitted.session);
    const welcome = await w.wait(back.link.expect("welcome"));
    back.link.data(must(chunks[1], "chunk"), { generation: welcome.slotGeneration });
    back.link.send("finish", finishOf(chunks), 2);
    await w.clock.advance(10);
    go();
    await w.wait(back.link.expect("committed"));
    const [event] = w.eventsOf("session.committed");
    expect(event?.fields).toMatchObject({ chunks: 2, bytes: 1800, duplicateBytes: 0 });
  });
});

function sendOn(link: ScriptLink, chunks: readonly ScriptChunk[], slot: number, generation: number): void {
  for (const chunk of chunks) link.data(chunk, { slot, generation });
}

function encoded(chunk: ScriptChunk, generation: number, slot = 0): Uint8Array {
  return dataFrame(chunk, { slot, generation });
}
