/** Two things at once: ends, finishes, commits, takeovers and probes that meet each other. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { dataFrame, finishOf, makeChunks, type ScriptLink } from "#test/support/script-client.ts";
import { beginOf, OTHER_RUN, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const CHUNKS = makeChunks(3, 500);

async function sendAll(w: ServerWorld, link: ScriptLink, generation = 1): Promise<void> {
  for (const chunk of CHUNKS) link.data(chunk, { generation });
  await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === CHUNKS.length));
}

/** Holds every call of the disk of this kind until it is let go. */
function hold(disk: MemoryDisk, matches: (call: string, path: string) => boolean): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  disk.hook = (event) => (matches(event.call, event.path) ? promise : undefined);
  return () => {
    disk.hook = () => undefined;
    resolve();
  };
}

describe("while a commit is under way", () => {
  test("the entry is busy though no connection of the session is up, and the archive stays", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, pipe, admitted } = await w.session();
    await sendAll(w, link);
    const release = hold(disk, (call) => call === "link");
    link.send("finish", finishOf(CHUNKS), 1);
    await w.clock.advance(100);
    pipe.cut();
    await w.clock.advance(10);
    const other = await w.hello("web-1", OTHER_RUN);
    other.link.send("begin", beginOf());
    expect((await w.wait(other.link.expect("refused"))).code).toBe("E_BUSY");
    release();
    await w.clock.advance(100);
    expect(w.content(admitted.archive)).toHaveLength(1500);
    expect(w.eventsOf("session.parked")).toEqual([]);
  });

  test("a connection that comes back hears of the phase, may ask again, and gets the answer", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, pipe, admitted } = await w.session();
    await sendAll(w, link);
    const release = hold(disk, (call) => call === "link");
    link.send("finish", finishOf(CHUNKS), 1);
    await w.clock.advance(100);
    pipe.cut();
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    expect((await w.wait(back.link.expect("phase"))).phase).toBe("committing");
    back.link.send("finish", finishOf(CHUNKS), 2);
    release();
    expect((await w.wait(back.link.expect("committed"))).archive).toBe(admitted.archive);
    const late = w.resume(admitted.session);
    await w.wait(late.link.expect("welcome"));
    expect((await w.wait(late.link.expect("committed"))).archive).toBe(admitted.archive);
  });

  test("a Disown comes too late", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, admitted } = await w.session();
    await sendAll(w, link);
    const release = hold(disk, (call) => call === "link");
    link.send("finish", finishOf(CHUNKS), 1);
    await w.clock.advance(100);
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.clock.advance(100);
    release();
    expect((await w.wait(link.expect("committed"))).archive).toBe(admitted.archive);
    expect([w.eventsOf("session.committed").length, w.eventsOf("session.ended").length]).toEqual([1, 0]);
  });
});

describe("while a session is being cleaned up", () => {
  test("who comes back is welcomed and hears why it ended, on the session connection and on streams", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, pipe, admitted } = await w.session({ parallels: 1 });
    const release = hold(disk, (call) => call === "unlink");
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.clock.advance(100);
    pipe.cut();
    await w.clock.advance(10);
    const back = w.resume(admitted.session);
    const stream = w.stream(admitted.session, 0);
    for (const one of [back, stream]) await w.wait(one.link.expect("welcome"));
    await w.clock.advance(1_000);
    expect(w.eventsOf("session.ended")).toEqual([]);
    release();
    for (const one of [back, stream]) expect((await w.wait(one.link.expect("ended"))).code).toBe("E_DISOWNED");
    expect(w.eventsOf("session.ended")).toHaveLength(1);
  });

  test("the next Begin waits until the entry is clean, and two of them do not both get it", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, pipe } = await w.session();
    await sendAll(w, link);
    const release = hold(disk, (call) => call === "unlink");
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.clock.advance(100);
    pipe.cut();
    await w.clock.advance(10);
    const next = await Promise.all([w.hello("web-1", OTHER_RUN), w.hello("web-1", OTHER_RUN)]);
    for (const one of next) one.link.send("begin", beginOf());
    await w.clock.advance(1_000);
    expect(next.map((one) => one.link.received.some((message) => message.type === "admitted"))).toEqual([false, false]);
    release();
    const answers = await w.wait(Promise.all(next.map((one) => one.link.next())));
    expect(answers.map((answer) => answer.type).sort()).toEqual(["admitted", "refused"]);
  });

  test("chunks that still come are dropped, and their frames end nothing", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, admitted } = await w.session({ parallels: 1 });
    const stream = w.stream(admitted.session, 0);
    await w.wait(stream.link.expect("welcome"));
    const frame = dataFrame(must(CHUNKS[0], "chunk"), { generation: 1 });
    stream.link.raw(frame.subarray(0, 200));
    await w.clock.advance(10);
    const release = hold(disk, (call) => call === "unlink");
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.clock.advance(10);
    stream.link.raw(frame.subarray(200));
    for (const chunk of CHUNKS) stream.link.data(chunk, { generation: 1 });
    await w.clock.advance(10);
    release();
    expect((await w.wait(stream.link.expect("ended"))).code).toBe("E_DISOWNED");
    expect(w.eventsOf("session.ended")[0]?.fields).toMatchObject({ chunks: 0, bytes: 0, damagedChunks: 0 });
  });
});

describe("Finish", () => {
  test("while a chunk is on its way on a stream is the agent's fault and ends the session", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 1 });
    const stream = w.stream(admitted.session, 0);
    await w.wait(stream.link.expect("welcome"));
    stream.link.raw(dataFrame(must(CHUNKS[0], "chunk"), { generation: 1 }).subarray(0, 200));
    await w.clock.advance(10);
    link.send("finish", finishOf(CHUNKS), 1);
    expect((await w.wait(link.expect("ended"))).code).toBe("E_PROTOCOL");
    expect(w.unfinished()).toEqual([]);
    expect(w.eventsOf("session.ended")).toHaveLength(1);
  });

  test("whose proof differs ends the session as E_MISMATCH, which the agent retries, and nothing is committed", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    await sendAll(w, link);
    link.send("finish", finishOf(CHUNKS.map((chunk) => ({ ...chunk, stored: chunk.stored.toReversed() }))), 1);
    expect(await w.wait(link.expect("ended"))).toMatchObject({ code: "E_MISMATCH", retry: true });
    expect([...w.tree().keys()].filter((path) => path.startsWith("web-1"))).toEqual([]);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    expect((await w.wait(back.link.expect("ended"))).code).toBe("E_MISMATCH");
  });

  test("on a disk that fails under the commit ends the session with what the disk said", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link } = await w.session();
    await sendAll(w, link);
    disk.hook = (event) => {
      if (event.call === "link") throw Object.assign(new Error("EIO"), { code: "EIO" });
    };
    link.send("finish", finishOf(CHUNKS), 1);
    expect((await w.wait(link.expect("ended"))).code).toBe("E_DISK");
    expect(w.eventsOf("session.ended")).toHaveLength(1);
  });
});

describe("generations", () => {
  test("data that a replaced stream sent late is of an older generation and is not even read", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 1 });
    const older = w.stream(admitted.session, 0);
    await w.wait(older.link.expect("welcome"));
    older.link.ignorePings();
    const newer = w.stream(admitted.session, 0);
    await w.wait(newer.link.expect("welcome"));
    for (const chunk of CHUNKS) older.link.data(chunk, { generation: 1 });
    await w.clock.advance(1_000);
    expect(older.link.isClosed).toBe(true);
    for (const chunk of CHUNKS) newer.link.data(chunk, { generation: 2 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
    link.send("finish", finishOf(CHUNKS), 1);
    await w.wait(link.expect("committed"));
    expect(w.eventsOf("session.committed")[0]?.fields).toMatchObject({ breaks: 1, chunks: 3, duplicateBytes: 0 });
  });

  test("data with the generation of another connection ends the session as E_PROTOCOL", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 1 });
    const stream = w.stream(admitted.session, 0);
    await w.wait(stream.link.expect("welcome"));
    stream.link.data(must(CHUNKS[0], "chunk"), { generation: 7 });
    expect((await w.wait(link.expect("ended"))).code).toBe("E_PROTOCOL");
  });
});

test("a disk that fails while chunks come ends the session once, and says so on every connection", async () => {
  const disk = new MemoryDisk();
  const w = await start({ disk });
  const { link, admitted } = await w.session({ parallels: 2 });
  const streams = [w.stream(admitted.session, 0).link, w.stream(admitted.session, 1).link];
  for (const stream of streams) await w.wait(stream.expect("welcome"));
  disk.hook = (event) => {
    if (event.call === "write") throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
  };
  for (const [slot, stream] of streams.entries()) {
    for (const chunk of CHUNKS) stream.data(chunk, { slot, generation: 1 });
  }
  for (const one of [link, ...streams]) {
    expect(await w.wait(one.expect("ended"))).toMatchObject({ code: "E_DISK_FULL", retry: false });
  }
  expect(w.eventsOf("session.ended")).toHaveLength(1);
  expect(w.unfinished()).toEqual([]);
});

test("an applicant that is admitted while it is asked whether it lives is asked again as a session", async () => {
  const w = await start({ sessionsMax: 1 });
  const running = await w.session({}, { agent: "web-9" });
  const first = await w.hello();
  first.link.send("begin", beginOf());
  await w.wait(first.link.expect("queued"));
  first.pipe.freeze();
  const second = await w.hello("web-1", OTHER_RUN);
  second.link.send("begin", beginOf());
  await w.clock.advance(9_000);
  running.link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
  await w.clock.advance(100);
  expect(w.eventsOf("session.admitted")).toHaveLength(2);
  await w.wait(second.link.expect("admitted"));
  expect(w.server.view()).toMatchObject({ sessionCount: 1, waitingCount: 0 });
  expect(w.eventsOf("session.ended").map((event) => event.fields["code"])).toEqual(["E_DISOWNED", "E_SUPERSEDED"]);
});

test("a session whose agent comes back while its dead connections are asked lives, and its entry is busy", async () => {
  const w = await start();
  const { admitted, pipe } = await w.session({ parallels: 1 });
  const stream = w.stream(admitted.session, 0);
  await w.wait(stream.link.expect("welcome"));
  for (const one of [pipe, stream.pipe]) one.freeze();
  const back = w.resume(admitted.session);
  await w.clock.advance(5_000);
  const other = await w.hello("web-1", OTHER_RUN);
  other.link.send("begin", beginOf({ parallels: 1 }));
  // In the middle of the other one's probes.
  await w.wait(back.link.expect("welcome"));
  expect((await w.wait(other.link.expect("refused"))).code).toBe("E_BUSY");
  expect(back.link.isClosed).toBe(false);
  expect(w.eventsOf("session.ended")).toEqual([]);
});
