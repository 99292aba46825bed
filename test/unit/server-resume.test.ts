/** Connections that go and come back: parking, resuming, slots taken over, sessions superseded and expired. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { finishOf, makeChunks, type ScriptChunk, type ScriptLink } from "#test/support/script-client.ts";
import { beginOf, helloOf, OTHER_RUN, RUN, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

function sendAll(link: ScriptLink, chunks: readonly ScriptChunk[], generation: number, slot = 0): void {
  for (const chunk of chunks) link.data(chunk, { slot, generation });
}

describe("resume", () => {
  test("a parked session goes on in a new generation from what the server holds", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session();
    const chunks = makeChunks(6, 800);
    sendAll(link, [...chunks.slice(0, 3), ...chunks.slice(4, 5)], 1);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
    pipe.cut();
    await w.clock.advance(60_000);
    expect(w.eventsOf("session.parked")).toHaveLength(1);
    const back = w.resume(admitted.session);
    const welcome = await w.wait(back.link.expect("welcome"));
    expect(welcome).toMatchObject({ generation: 2, slotGeneration: 2 });
    const sack = await w.wait(back.link.sack());
    expect(sack).toMatchObject({ generation: 2, boot: w.server.boot, lost: [] });
    expect(sack.files).toEqual([{ file: 0, durableChunks: 3, durableBytes: 2400, received: [[4, 4]] }]);
    sendAll(back.link, [must(chunks[3], "3"), must(chunks[5], "5")], 2);
    await w.wait(back.link.sack((s) => s.files[0]?.durableChunks === 6));
    back.link.send("finish", finishOf(chunks), 2);
    await w.wait(back.link.expect("committed"));
    expect(w.content(admitted.archive)).toEqual(Buffer.concat(chunks.map((chunk) => chunk.stored)));
  });

  test("a stream alone takes a parked session up again", async () => {
    const w = await start({ sessionIdleTimeoutMs: 60_000 });
    const { pipe, admitted } = await w.session({ parallels: 1 });
    pipe.cut();
    await w.clock.advance(50_000);
    const { link } = w.stream(admitted.session, 0);
    expect(await w.wait(link.expect("welcome"))).toMatchObject({ generation: 1, slotGeneration: 1 });
    await w.clock.advance(5_000);
    link.send("ping", { id: 1 });
    await w.clock.advance(10_000);
    expect(w.eventsOf("session.ended")).toHaveLength(0);
    expect(link.isClosed).toBe(false);
  });

  test("an older session connection that answers its probe keeps its place: E_BUSY", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    const back = w.resume(admitted.session);
    const refused = await w.wait(back.link.expect("refused"));
    expect(refused).toMatchObject({ code: "E_BUSY", retry: true });
    expect(link.isClosed).toBe(false);
  });

  test("an older session connection that says nothing for 10 s is replaced", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session();
    await w.wait(link.sack(() => true));
    pipe.freeze();
    const before = w.clock.now();
    const back = w.resume(admitted.session);
    const welcome = await w.wait(back.link.expect("welcome"));
    expect(welcome.generation).toBe(2);
    expect(w.clock.now() - before).toBeWithin(10_000, 10_100);
  });

  test("an older session connection that closes while it is probed is replaced at once", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session();
    link.ignorePings();
    const back = w.resume(admitted.session);
    await w.clock.advance(100);
    const before = w.clock.now();
    pipe.cut();
    await w.wait(back.link.expect("welcome"));
    expect(w.clock.now() - before).toBeLessThan(100);
  });

  test("of two connections that resume at once the second is refused, not the first", async () => {
    const w = await start();
    const { pipe, admitted } = await w.session();
    pipe.freeze();
    const first = w.resume(admitted.session);
    const second = w.resume(admitted.session);
    expect((await w.wait(second.link.expect("refused"))).code).toBe("E_BUSY");
    expect((await w.wait(first.link.expect("welcome"))).generation).toBe(2);
  });

  test("another run, another agent and an unknown session are told the same: E_SESSION_GONE", async () => {
    const w = await start();
    const { admitted } = await w.session();
    const strangers = [
      w.resume(admitted.session, { run: OTHER_RUN }),
      w.resume(admitted.session, { agent: "web-2" }),
      w.resume("00000000-0000-4000-8000-00000000dead"),
      w.stream(admitted.session, 0, { agent: "web-2" }),
    ];
    for (const { link } of strangers) {
      const refused = await w.wait(link.expect("refused"));
      expect(refused).toMatchObject({ code: "E_SESSION_GONE", retry: true });
      expect(refused.message).not.toContain("any more");
    }
  });

  test("a session that ended meanwhile answers with Welcome and Ended, with the reason", async () => {
    const w = await start({ sessionIdleTimeoutMs: 30_000 });
    const { pipe, admitted } = await w.session();
    pipe.cut();
    await w.clock.advance(31_000);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    const ended = await w.wait(back.link.expect("ended"));
    expect(ended).toMatchObject({ session: admitted.session, code: "E_SESSION_EXPIRED", retry: true });
    const stream = w.stream(admitted.session, 0);
    const refused = await w.wait(stream.link.expect("refused"));
    expect(refused.code).toBe("E_SESSION_GONE");
    expect(refused.message).toEndWith("any more: E_SESSION_EXPIRED");
  });

  test("a session that expires leaves nothing on the disk, and its entry is free", async () => {
    const w = await start({ sessionIdleTimeoutMs: 30_000 });
    const { link, pipe } = await w.session();
    sendAll(link, makeChunks(3, 500), 1);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
    expect(w.unfinished()).not.toEqual([]);
    pipe.cut();
    await w.clock.advance(29_000);
    expect(w.unfinished()).not.toEqual([]);
    await w.clock.advance(2_000);
    expect(w.unfinished()).toEqual([]);
    expect(w.eventsOf("session.ended")[0]?.fields).toMatchObject({ code: "E_SESSION_EXPIRED", bytes: 1500, chunks: 3 });
    await w.session({}, { run: OTHER_RUN });
  });

  test("a session whose connections come and go does not expire", async () => {
    const w = await start({ sessionIdleTimeoutMs: 30_000 });
    let { pipe, admitted } = await w.session();
    for (let round = 0; round < 4; round += 1) {
      pipe.cut();
      await w.clock.advance(20_000);
      const back = w.resume(admitted.session);
      await w.wait(back.link.expect("welcome"));
      pipe = back.pipe;
    }
    expect(w.eventsOf("session.ended")).toEqual([]);
  });
});

describe("a slot", () => {
  test("whose stream lives is not given away: E_BUSY", async () => {
    const w = await start();
    const { admitted } = await w.session({ parallels: 2 });
    const older = w.stream(admitted.session, 1);
    await w.wait(older.link.expect("welcome"));
    const newer = w.stream(admitted.session, 1);
    expect((await w.wait(newer.link.expect("refused"))).code).toBe("E_BUSY");
    expect(older.link.isClosed).toBe(false);
  });

  test("whose stream is dead is taken over after the probe, and the dead one's data is fenced off", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 1 });
    const older = w.stream(admitted.session, 0);
    await w.wait(older.link.expect("welcome"));
    const [chunk] = makeChunks(1, 3000);
    older.link.raw(new Uint8Array(0));
    older.pipe.freeze();
    const newer = w.stream(admitted.session, 0);
    expect((await w.wait(newer.link.expect("welcome"))).slotGeneration).toBe(2);
    newer.link.data(must(chunk, "chunk"), { generation: 2 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 1));
  });

  test("said Goodbye to is idle, and that is not a break", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 1 });
    for (let generation = 1; generation <= 3; generation += 1) {
      const stream = w.stream(admitted.session, 0);
      expect((await w.wait(stream.link.expect("welcome"))).slotGeneration).toBe(generation);
      stream.link.send("goodbye", {});
      await w.wait(stream.link.closed());
    }
    const chunks = makeChunks(1, 10);
    const last = w.stream(admitted.session, 0);
    await w.wait(last.link.expect("welcome"));
    sendAll(last.link, chunks, 4);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 1));
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    expect(w.eventsOf("session.committed")[0]?.fields).toMatchObject({ breaks: 0 });
  });

  test("beyond those of the session does not exist, nor does any with parallels 0", async () => {
    const w = await start();
    const four = await w.session({ parallels: 4 });
    const none = await w.session({ backup: "etc" });
    for (const [session, slot] of [
      [four.admitted.session, 4],
      [none.admitted.session, 0],
    ] as const) {
      const { link } = w.stream(session, slot);
      expect((await w.wait(link.expect("refused"))).code).toBe("E_PROTOCOL");
    }
  });
});

describe("one session per agent and backup entry", () => {
  test("a second Begin is E_BUSY while any connection of the first answers", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session({ parallels: 1 });
    const stream = w.stream(admitted.session, 0);
    await w.wait(stream.link.expect("welcome"));
    pipe.freeze();
    const second = await w.hello("web-1", OTHER_RUN);
    second.link.send("begin", beginOf());
    expect(await w.wait(second.link.expect("refused"))).toMatchObject({ code: "E_BUSY", retry: true });
    expect(link.isClosed).toBe(false);
  });

  test("when none answers the first ends as E_SUPERSEDED, is cleaned up, and the second begins", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session();
    sendAll(link, makeChunks(2, 100), 1);
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    pipe.freeze();
    const second = await w.hello("web-1", OTHER_RUN);
    const before = w.clock.now();
    second.link.send("begin", beginOf());
    const now = await w.wait(second.link.expect("admitted"));
    expect(w.clock.now() - before).toBeWithin(10_000, 10_200);
    expect(now.session).not.toBe(admitted.session);
    expect(w.unfinished().filter((path) => path.includes(admitted.session))).toEqual([]);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    expect((await w.wait(back.link.expect("ended"))).code).toBe("E_SUPERSEDED");
  });

  test("a parked session is superseded at once", async () => {
    const w = await start();
    const { pipe } = await w.session();
    pipe.cut();
    await w.clock.advance(10);
    const before = w.clock.now();
    await w.session({}, { run: OTHER_RUN });
    expect(w.clock.now() - before).toBeLessThan(1_000);
  });

  test("of two that ask for an entry whose session does not answer, the first gets it and the second is E_BUSY", async () => {
    const w = await start();
    const { pipe } = await w.session();
    pipe.freeze();
    const first = await w.hello("web-1", OTHER_RUN);
    const second = await w.hello("web-1", OTHER_RUN);
    first.link.send("begin", beginOf());
    second.link.send("begin", beginOf());
    expect((await w.wait(second.link.expect("refused"))).code).toBe("E_BUSY");
    await w.wait(first.link.expect("admitted"));
  });

  test("an agent in line holds its entry like a session", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session({}, { agent: "web-9" });
    const first = await w.hello();
    first.link.send("begin", beginOf());
    await w.wait(first.link.expect("queued"));
    const second = await w.hello("web-1", OTHER_RUN);
    second.link.send("begin", beginOf());
    expect((await w.wait(second.link.expect("refused"))).code).toBe("E_BUSY");
    first.pipe.freeze();
    const third = await w.hello("web-1", OTHER_RUN);
    third.link.send("begin", beginOf());
    expect((await w.wait(third.link.expect("queued"))).position).toBe(1);
    expect(w.server.view().waitingCount).toBe(1);
  });

  test("an agent killed and started again is not busy: its connections are closed by its kernel", async () => {
    const w = await start();
    const { link } = await w.session();
    link.destroy();
    await w.clock.advance(5);
    const again = await w.hello("web-1", OTHER_RUN);
    again.link.send("begin", beginOf());
    await w.wait(again.link.expect("admitted"));
  });

  test("an applicant that leaves while the other is probed frees nothing and takes nothing", async () => {
    const w = await start();
    const { link, pipe, admitted } = await w.session();
    link.ignorePings();
    const second = await w.hello("web-1", OTHER_RUN);
    second.link.send("begin", beginOf());
    await w.clock.advance(1_000);
    second.pipe.cut();
    pipe.freeze();
    await w.clock.advance(30_000);
    expect(w.eventsOf("session.ended")).toEqual([]);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
  });
});

describe("a Disown instead of a Begin", () => {
  const words = { code: "E_INTERRUPTED", message: "stopped", backup: "home" };

  test("ends what the same run has begun for that backup, at once and with the agent's reason", async () => {
    const w = await start();
    const { pipe, admitted } = await w.session();
    // Admitted was never read, and nobody tells the server that the connection is dead.
    pipe.freeze();
    const { link } = await w.hello();
    const before = w.clock.now();
    link.send("disown", words);
    await w.wait(link.closed());
    expect(w.eventsOf("session.ended")[0]?.fields).toMatchObject({ session: admitted.session, code: "E_DISOWNED" });
    expect(w.clock.now() - before).toBeLessThan(1_000);
    expect(w.unfinished()).toEqual([]);
  });

  test("leaves the session of another run alone, with or without a connection, and other backups of its own", async () => {
    const w = await start();
    const { pipe } = await w.session({}, { run: OTHER_RUN });
    await w.session({ backup: "etc" });
    pipe.cut();
    await w.clock.advance(10);
    const { link } = await w.hello();
    link.send("disown", words);
    await w.wait(link.closed());
    await w.clock.advance(1_000);
    expect(w.eventsOf("session.ended")).toEqual([]);
    expect(w.server.view().sessionCount).toBe(2);
  });

  test("gives up a place in line, and one that is still being asked for", async () => {
    const w = await start({ sessionsMax: 1 });
    const running = await w.session({}, { run: OTHER_RUN });
    running.pipe.freeze();
    const probing = await w.hello();
    probing.link.send("begin", beginOf());
    const waiting = await w.hello();
    waiting.link.send("begin", beginOf({ backup: "etc" }));
    await w.wait(waiting.link.expect("queued"));
    for (const backup of ["home", "etc"]) {
      const { link } = await w.hello();
      link.send("disown", { ...words, backup });
      await w.wait(link.closed());
    }
    expect(w.server.view().waitingCount).toBe(0);
    await w.clock.advance(30_000);
    expect(w.eventsOf("session.admitted")).toHaveLength(1);
    expect(w.eventsOf("admission.left").map(({ end }) => end?.outcome)).toEqual(["disowned", "disowned"]);
  });

  test("that names no backup is E_PROTOCOL", async () => {
    const w = await start();
    const { link } = await w.hello();
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    expect((await w.wait(link.expect("refused"))).code).toBe("E_PROTOCOL");
  });
});

test("hello names its run: streams of another run of the same agent are strangers", async () => {
  const w = await start();
  const { admitted } = await w.session({ parallels: 1 });
  const { link } = w.connect();
  link.send("hello", helloOf({ role: "stream", session: admitted.session, slot: 0, run: OTHER_RUN }));
  expect((await w.wait(link.expect("refused"))).code).toBe("E_SESSION_GONE");
  expect(RUN).not.toBe(OTHER_RUN);
});
