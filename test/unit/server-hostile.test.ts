/** Frames that no right agent sends: each ends its connection or its session with a code, and the server goes on. */
import { afterEach, describe, expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import { encode as encodeMsgpack } from "@msgpack/msgpack";
import { must } from "#base/assert.ts";
import { MiB } from "#base/units.ts";
import { dataFrame, finishOf, makeChunks, type ScriptChunk, type ScriptLink } from "#test/support/script-client.ts";
import { beginOf, helloOf, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";
import { encodeMessage } from "#wire/encode.ts";
import { FRAME_HEADER_BYTES } from "#wire/limits.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

/** Whatever happened, the next agent is served. */
afterEach(async () => {
  if (world !== undefined) await world.session({}, { agent: "the-next" });
  await world?.close();
  world = undefined;
});

const first = must(makeChunks(1, 100)[0], "chunk");

/** The connection ends with Refused and this code; the session, if there is one, does not. */
async function endsConnection(w: ServerWorld, link: ScriptLink, code: string): Promise<void> {
  const refused = await w.wait(link.expect("refused"));
  expect(refused.code).toBe(code);
  await w.wait(link.closed());
  expect(w.eventsOf("session.ended")).toEqual([]);
}

/** The session ends with this code and leaves nothing on the disk. */
async function endsSession(w: ServerWorld, link: ScriptLink, code: string): Promise<void> {
  const ended = await w.wait(link.expect("ended"));
  expect(ended.code).toBe(code);
  await w.wait(link.closed());
  expect(w.eventsOf("session.ended").map((event) => event.fields["code"])).toEqual([code]);
  expect(w.unfinished()).toEqual([]);
}

describe("a frame out of its turn ends the connection", () => {
  test("anything but Hello first", async () => {
    const w = await start();
    for (const bytes of [
      encodeMessage("begin", beginOf(), { generation: 0 }),
      encodeMessage("ping", { id: 1 }, { generation: 0 }),
      dataFrame(first, { generation: 1 }),
    ]) {
      const { link } = w.connect();
      link.raw(bytes);
      await endsConnection(w, link, "E_PROTOCOL");
    }
  });

  test("a second Hello", async () => {
    const w = await start();
    const { link } = await w.hello();
    link.send("hello", helloOf({}));
    await endsConnection(w, link, "E_PROTOCOL");
  });

  test("anything between Hello and Welcome", async () => {
    const w = await start();
    const { admitted, pipe } = await w.session();
    pipe.freeze();
    const { link } = w.resume(admitted.session);
    link.send("ping", { id: 1 });
    await endsConnection(w, link, "E_PROTOCOL");
  });

  test("Data, Finish or Disown before Begin", async () => {
    const w = await start();
    for (const bytes of [
      dataFrame(first, { generation: 1 }),
      encodeMessage("finish", finishOf([first]), { generation: 0 }),
      encodeMessage("disown", { code: "E_INTERRUPTED", message: "" }, { generation: 0 }),
    ]) {
      const { link } = await w.hello();
      link.raw(bytes);
      await endsConnection(w, link, "E_PROTOCOL");
    }
  });

  test("Data while it waits in line, which loses its place", async () => {
    const w = await start({ sessionsMax: 2 });
    await w.session({}, { agent: "web-2" });
    const last = await w.session({}, { agent: "web-3" });
    const { link } = await w.hello();
    link.send("begin", beginOf());
    await w.wait(link.expect("queued"));
    link.data(first, { generation: 1 });
    await endsConnection(w, link, "E_PROTOCOL");
    expect(w.server.view().waitingCount).toBe(0);
    last.link.send("disown", { code: "E_INTERRUPTED", message: "" });
    await w.wait(last.link.expect("ended"));
  });

  test("a second Begin, and the session waits for its agent", async () => {
    const w = await start();
    const { link } = await w.session();
    link.send("begin", beginOf());
    await endsConnection(w, link, "E_PROTOCOL");
    expect(w.eventsOf("session.parked")).toHaveLength(1);
  });

  test("Data on the session connection of a session with streams", async () => {
    const w = await start();
    const { link } = await w.session({ parallels: 1 });
    link.data(first, { generation: 1 });
    await endsConnection(w, link, "E_PROTOCOL");
  });

  test("Finish on a stream, and anything after Goodbye is not read", async () => {
    const w = await start();
    const { admitted } = await w.session({ parallels: 2 });
    const one = w.stream(admitted.session, 0).link;
    const two = w.stream(admitted.session, 1).link;
    for (const link of [one, two]) await w.wait(link.expect("welcome"));
    one.send("finish", finishOf([first]), 1);
    await endsConnection(w, one, "E_PROTOCOL");
    two.send("goodbye", {});
    two.raw(new Uint8Array(5_000).fill(0xff));
    await w.wait(two.closed());
    expect(two.received.map((message) => message.type)).not.toContain("refused");
  });

  test("frames that only a server sends, and the reserved Copy", async () => {
    const w = await start();
    const { link } = await w.session();
    link.send("queued", { position: 1 });
    await endsConnection(w, link, "E_PROTOCOL");
    const copy = await w.session({ backup: "etc" });
    const frame = dataFrame(first, { generation: 1 });
    frame[4] = 0x08;
    copy.link.raw(frame);
    await endsConnection(w, copy.link, "E_PROTOCOL");
  });
});

describe("bytes that are no frames end the connection", () => {
  test("random ones, HTTP, a header of a frame too large", async () => {
    const w = await start();
    const huge = Uint8Array.from(dataFrame(first, { generation: 1 }));
    new DataView(huge.buffer).setUint32(8, 0x4000_0000);
    const cases = [
      { bytes: Buffer.from("GET / HTTP/1.1\r\nHost: backup.example.org\r\n\r\n"), code: "E_PROTOCOL" },
      { bytes: Uint8Array.from({ length: 64 }, (_, at) => (at * 97) & 0xff), code: "E_PROTOCOL" },
      { bytes: huge, code: "E_FRAME_TOO_LARGE" },
    ];
    for (const [index, { bytes, code }] of cases.entries()) {
      const { link } = await w.session({ backup: `entry-${index}` });
      link.raw(bytes);
      await endsConnection(w, link, code);
    }
  });

  test("a control frame whose payload does not match its CRC", async () => {
    const w = await start();
    const { link } = await w.session();
    const ping = encodeMessage("ping", { id: 9 }, { generation: 1 });
    ping[ping.length - 1] = (ping[ping.length - 1] ?? 0) ^ 1;
    link.raw(ping);
    await endsConnection(w, link, "E_PROTOCOL");
  });

  test("a message that does not fit its schema: names that leave the base directory, slots beyond 254", async () => {
    const w = await start();
    for (const backup of ["../../etc", "a/b", ".hidden", "", "x".repeat(65), "a\0b"]) {
      const { link } = await w.hello();
      link.raw(unchecked("begin", { ...beginOf(), backup }));
      await endsConnection(w, link, "E_PROTOCOL");
    }
    const { link } = w.connect();
    link.raw(unchecked("hello", { ...helloOf({ role: "stream" }), slot: 255 }));
    await endsConnection(w, link, "E_PROTOCOL");
    expect([...w.tree().keys()].filter((path) => !path.startsWith(".nbackup"))).toEqual([]);
  });
});

describe("a chunk that cannot be ends the session", () => {
  const chunks = makeChunks(4, 1_000);
  const at = (index: number): ScriptChunk => must(chunks[index], `chunk ${index}`);

  test.each([
    ["an offset that leaves a gap", { ...at(1), offset: 1_001 }],
    ["an offset that overlaps", { ...at(1), offset: 999 }],
    ["sequence 0 that is not at offset 0", { ...at(0), offset: 1_000 }],
    ["a later chunk at offset 0", { ...at(2), offset: 0 }],
    ["bytes beyond the window", { ...at(3), offset: 64 * MiB }],
    ["a tail with more raw bytes than a chunk holds", { ...at(1), rawLength: 16 * MiB }],
    ["a tail of an index piece in the archive", { ...at(1), kind: "index" as const }],
  ])("%s", async (_what, chunk) => {
    const w = await start();
    const { link } = await w.session();
    if (chunk.sequence !== 0) link.data(at(0), { generation: 1 });
    link.data(chunk, { generation: 1 });
    await endsSession(w, link, "E_PROTOCOL");
  });

  test("a generation or slot that is not the connection's", async () => {
    const w = await start();
    for (const [index, options] of [{ generation: 2 }, { generation: 0 }, { generation: 1, slot: 3 }].entries()) {
      const { link, admitted } = await w.session({ backup: `entry-${index}` });
      link.data(at(0), options);
      expect((await w.wait(link.expect("ended"))).code).toBe("E_PROTOCOL");
      expect(w.unfinished().filter((path) => path.includes(admitted.session))).toEqual([]);
    }
  });

  test("on a stream is told on every connection of the session", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 2 });
    const streams = [w.stream(admitted.session, 0).link, w.stream(admitted.session, 1).link];
    for (const stream of streams) await w.wait(stream.expect("welcome"));
    must(streams[1], "stream 1").data(at(0), { slot: 1, generation: 9 });
    for (const one of [link, ...streams]) expect((await w.wait(one.expect("ended"))).code).toBe("E_PROTOCOL");
    expect(w.unfinished()).toEqual([]);
  });
});

describe("a Finish that cannot be ends the session", () => {
  const chunks = makeChunks(3, 500);

  test("while chunks are missing", async () => {
    const w = await start();
    const { link } = await w.session();
    for (const chunk of chunks.filter((one) => one.sequence !== 1)) link.data(chunk, { generation: 1 });
    link.send("finish", finishOf(chunks), 1);
    await endsSession(w, link, "E_PROTOCOL");
  });

  test("before any chunk", async () => {
    const w = await start();
    const { link } = await w.session();
    link.send("finish", finishOf([]), 1);
    await endsSession(w, link, "E_PROTOCOL");
  });

  test("with counts or proofs of something else", async () => {
    const w = await start();
    for (const [index, said] of [finishOf(chunks.slice(0, 2)), finishOf(makeChunks(3, 501))].entries()) {
      const { link, admitted } = await w.session({ backup: `entry-${index}` });
      for (const chunk of chunks) link.data(chunk, { generation: 1 });
      link.send("finish", said, 1);
      expect(await w.wait(link.expect("ended"))).toMatchObject({ code: "E_MISMATCH", retry: true });
      expect(w.unfinished().filter((path) => path.includes(admitted.session))).toEqual([]);
    }
  });
});

/** A control frame as a peer would make it that checks nothing itself. */
function unchecked(type: "hello" | "begin", body: Record<string, unknown>): Uint8Array {
  const payload = encodeMsgpack(body);
  const right = type === "begin" ? encodeMessage("begin", beginOf()) : encodeMessage("hello", helloOf({}));
  const made = Buffer.concat([right.subarray(0, FRAME_HEADER_BYTES), payload]);
  made.writeUInt32BE(payload.length, 8);
  made.writeUInt32BE(crc32(payload), 20);
  return made;
}
