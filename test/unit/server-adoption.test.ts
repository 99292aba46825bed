/** Sessions that an earlier start of the server left: which of them go on, and what the agents of the others hear. */
import { afterEach, describe, expect, test } from "bun:test";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import { beginOf, OTHER_RUN, RUN, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import type { AnyMessage } from "#wire/messages.ts";
import { RETURN_MS } from "#server/limits.ts";

let world: ServerWorld | undefined;

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const CHUNKS = makeChunks(3, 500);
const STORAGES = [storageConfig(), storageConfig({ name: "other", baseDir: "/srv/other" })];

/** Stops the server at once, its sessions left on the disk; the next one finds that disk. */
async function stopped(w: ServerWorld): Promise<MemoryDisk> {
  void w.server.shutdown();
  await w.wait(w.server.shutdown());
  await w.clock.advance(10_000);
  return w.disk.restart();
}

/** The next start of the same server. */
async function next(w: ServerWorld, seed: number, disk?: MemoryDisk): Promise<ServerWorld> {
  const { clock, knownStorages } = w;
  return await ServerWorld.start({ disk: disk ?? (await stopped(w)), clock, knownStorages, seed, storages: STORAGES });
}

/** Until it is let in, the base directory cannot be opened. */
function lockOut(disk: MemoryDisk, baseDir: string): () => void {
  disk.hook = ({ call, path }) => {
    if (call === "realpath" && path === baseDir) throw diskError("EIO");
  };
  return () => {
    disk.hook = () => undefined;
  };
}

describe("of two sessions of one entry in two storages the one begun later goes on", () => {
  for (const [older, newer] of [STORAGES, STORAGES.toReversed()] as const) {
    test(`when it lies in ${newer?.name}, and the agent of the other one hears that it was superseded`, async () => {
      const first = await ServerWorld.start({ storages: STORAGES });
      const old = await first.session({ storage: older?.name ?? "" });
      const disk = await stopped(first);
      const letIn = lockOut(disk, older?.baseDir ?? "");
      const second = await next(first, 8, disk);
      const { admitted } = await second.session({ storage: newer?.name ?? "" }, { run: OTHER_RUN });
      letIn();
      world = await next(second, 9);
      expect(world.eventsOf("session.ended")).toMatchObject([
        { fields: { session: old.admitted.session, code: "E_SUPERSEDED" } },
      ]);
      const late = world.resume(old.admitted.session, { run: RUN });
      await world.wait(late.link.expect("welcome"));
      expect(await world.wait(late.link.expect("ended"))).toMatchObject({ code: "E_SUPERSEDED", retry: false });
      const back = world.resume(admitted.session, { run: OTHER_RUN });
      expect(await world.wait(back.link.expect("welcome"))).toMatchObject({ generation: 2 });
    });
  }
});

describe("while a session of an earlier start waits for its agent", () => {
  /** A session that the next start has, and whose agent is not back yet. */
  async function waiting(fields: WorldOptions = {}): Promise<{ w: ServerWorld; session: string }> {
    const first = await ServerWorld.start(fields);
    const { link, admitted } = await first.session();
    for (const chunk of CHUNKS) link.data(chunk, { generation: 1 });
    await first.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
    const { clock, knownStorages } = first;
    world = await ServerWorld.start({ disk: await stopped(first), clock, knownStorages, seed: 8, ...fields });
    expect(world.eventsOf("session.recovered")).toHaveLength(1);
    return { w: world, session: admitted.session };
  }

  async function beginAs(w: ServerWorld, run: string, fields: Parameters<typeof beginOf>[0] = {}): Promise<AnyMessage> {
    const { link } = await w.hello("web-1", run);
    link.send("begin", beginOf(fields));
    return await w.wait(link.next());
  }

  test("another run is E_BUSY, and the session goes on", async () => {
    const { w, session } = await waiting();
    await w.clock.advance(200_000);
    const answer = await beginAs(w, OTHER_RUN);
    expect(answer).toMatchObject({ type: "refused", body: { code: "E_BUSY", retry: true } });
    const { link } = w.resume(session);
    await w.wait(link.expect("welcome"));
    link.send("finish", finishOf(CHUNKS), 2);
    await w.wait(link.expect("committed"));
    expect(w.eventsOf("session.ended")).toEqual([]);
    // All of it counts, whichever start took it.
    const bytes = CHUNKS.reduce((sum, { stored }) => sum + stored.length, 0);
    expect(w.eventsOf("session.committed")).toMatchObject([{ end: { chunks: CHUNKS.length, bytes } }]);
  });

  test("another run hears when the place will be free at the latest, and has it then", async () => {
    const { w } = await waiting();
    await w.clock.advance(100_000);
    const answer = await beginAs(w, OTHER_RUN);
    if (answer.type !== "refused") throw new Error(answer.type);
    const { retryAfterMs = 0 } = answer.body;
    expect(retryAfterMs).toBeWithin(RETURN_MS - 101_000, RETURN_MS - 99_000);
    await w.clock.advance(retryAfterMs);
    expect((await beginAs(w, OTHER_RUN)).type).toBe("admitted");
    expect(w.eventsOf("session.ended")[0]?.fields).toMatchObject({ code: "E_SUPERSEDED" });
  });

  test("its own run, which never heard the id of it, need not wait", async () => {
    const { w } = await waiting();
    expect((await beginAs(w, RUN)).type).toBe("admitted");
  });

  test("nobody waits for longer than until it expires", async () => {
    const { w } = await waiting({ sessionIdleTimeoutMs: 30_000 });
    const answer = await beginAs(w, OTHER_RUN);
    if (answer.type !== "refused") throw new Error(answer.type);
    expect(answer.body.retryAfterMs).toBeWithin(25_000, 30_001);
    await w.clock.advance(answer.body.retryAfterMs ?? 0);
    expect((await beginAs(w, OTHER_RUN)).type).toBe("admitted");
    expect(w.eventsOf("session.ended")[0]?.fields).toMatchObject({ code: "E_SESSION_EXPIRED" });
  });

  test("other entries of the same agent begin as ever", async () => {
    const { w } = await waiting();
    expect((await beginAs(w, OTHER_RUN, { backup: "etc" })).type).toBe("admitted");
  });

  test("one whose agent came back and went again is superseded at once, as ever", async () => {
    const { w, session } = await waiting({});
    const back = w.resume(session);
    await w.wait(back.link.expect("welcome"));
    back.pipe.cut();
    await w.clock.advance(10);
    expect((await beginAs(w, OTHER_RUN)).type).toBe("admitted");
  });

  test("a Begin that has its storage opened in the first place finds it there", async () => {
    const first = await ServerWorld.start();
    const { admitted } = await first.session();
    const disk = await stopped(first);
    const letIn = lockOut(disk, "/srv/backups");
    world = await next(first, 8, disk);
    letIn();
    expect(await beginAs(world, OTHER_RUN)).toMatchObject({ type: "refused", body: { code: "E_BUSY" } });
    const { link } = world.resume(admitted.session);
    await world.wait(link.expect("welcome"));
  });
});

describe("a session that ended while its disk could not be written", () => {
  async function ended(): Promise<{ w: ServerWorld; session: string }> {
    const w = await ServerWorld.start();
    const { link, admitted } = await w.session();
    for (const chunk of CHUNKS) link.data(chunk, { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
    w.disk.hook = ({ call }) => {
      if (call === "unlink" || call === "rmdir") throw diskError("EROFS");
    };
    link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
    await w.wait(link.expect("ended"));
    expect(w.unfinished().length).toBeGreaterThan(0);
    return { w, session: admitted.session };
  }

  test("is removed when the disk is looked at again, without a restart", async () => {
    const { w } = await ended();
    world = w;
    w.disk.hook = () => undefined;
    await w.clock.advance(61_000);
    expect(w.unfinished()).toEqual([]);
  });

  test("does not come to life again with the next start of the server, which removes it", async () => {
    const { w, session } = await ended();
    const disk = await stopped(w);
    const { clock, knownStorages, ended: memory } = w;
    world = await ServerWorld.start({ disk, clock, knownStorages, ended: memory, seed: 8 });
    expect([world.eventsOf("session.recovered"), world.unfinished()]).toEqual([[], []]);
    const { link } = world.resume(session);
    expect((await world.wait(link.expect("refused"))).code).toBe("E_SESSION_GONE");
    await world.session({}, { run: OTHER_RUN });
  });

  test("does not come to life either when its storage is opened anew", async () => {
    const { w } = await ended();
    world = w;
    // Something else stands there for a moment.
    w.disk.hook = ({ call, path }) => {
      if (call === "lstat" && path === "/srv/backups") throw diskError("ENOENT");
    };
    const refused = await w.hello("web-2");
    refused.link.send("begin", beginOf({ backup: "etc" }));
    await w.wait(refused.link.expect("refused"));
    w.disk.hook = () => undefined;
    await w.session({ backup: "etc" });
    expect(w.eventsOf("session.recovered")).toEqual([]);
  });
});

test("a session whose acknowledged bytes are gone has ended, and its agent hears why", async () => {
  const first = await ServerWorld.start();
  const { link, admitted } = await first.session();
  for (const chunk of CHUNKS) link.data(chunk, { generation: 1 });
  await first.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
  const disk = await stopped(first);
  await disk.unlink(`/srv/backups/.nbackup/sessions/${admitted.session}/archive.part`);
  world = await ServerWorld.start({ disk, clock: first.clock, knownStorages: first.knownStorages, seed: 8 });
  const { link: back } = world.resume(admitted.session);
  await world.wait(back.expect("welcome"));
  expect(await world.wait(back.expect("ended"))).toMatchObject({ code: "E_DISK", retry: false });
});

describe("of a session in a storage that is opened because its agent asks, the agent", () => {
  test("that comes for the answer of its Finish gets it", async () => {
    const first = await ServerWorld.start();
    const { link, admitted } = await first.session();
    for (const chunk of CHUNKS) link.data(chunk, { generation: 1 });
    link.send("finish", finishOf(CHUNKS), 1);
    await first.wait(link.expect("committed"));
    const disk = await stopped(first);
    const letIn = lockOut(disk, "/srv/backups");
    world = await next(first, 8, disk);
    letIn();
    await world.clock.advance(5_000);
    const { link: back } = world.resume(admitted.session);
    await world.wait(back.expect("welcome"));
    expect((await world.wait(back.expect("committed"))).archive).toBe(admitted.archive);
  });

  test("that asked before, on a connection that is dead, is not told that the session is gone", async () => {
    const first = await ServerWorld.start();
    const { admitted } = await first.session();
    const disk = await stopped(first);
    lockOut(disk, "/srv/backups");
    world = await next(first, 8, disk);
    await world.clock.advance(5_000);
    const { promise: opening, resolve } = Promise.withResolvers<void>();
    disk.hook = ({ path }) => (path.endsWith("/journal") ? opening : undefined);
    const dead = world.resume(admitted.session);
    await world.clock.advance(100);
    dead.pipe.freeze();
    const { link: back } = world.resume(admitted.session);
    await world.clock.advance(5_000);
    const another = world.resume(admitted.session);
    await world.clock.advance(100);
    disk.hook = () => undefined;
    resolve();
    const answers = await world.wait(Promise.all([back.next(), another.link.next()]));
    for (const { type, body } of answers) {
      if (type === "refused") expect(body.code).not.toBe("E_SESSION_GONE");
    }
  });
});

test("a storage whose disk hangs holds up neither the start nor the stop, and nobody is told that its sessions are gone", async () => {
  const first = await ServerWorld.start({ storages: STORAGES });
  const { admitted } = await first.session({ storage: "other" });
  const disk = await stopped(first);
  const { promise: hanging, resolve } = Promise.withResolvers<void>();
  disk.hook = ({ call, path }) => (call === "realpath" && path === "/srv/other" ? hanging : undefined);
  world = await next(first, 8, disk);
  expect(world.server.view().sessionCount).toBe(0);
  await world.session();
  // The first one waits for the disk, which the agent does not for ever.
  const waiting = world.resume(admitted.session);
  const { link } = world.resume(admitted.session);
  expect((await world.wait(link.expect("refused"))).code).toBe("E_STORAGE_FAILED");
  await world.clock.advance(120_000);
  expect(world.eventsOf("storage.failed")).toMatchObject([{ fields: { storage: "other", code: "E_TIMEOUT" } }]);
  const stop = world.server.shutdown();
  void world.server.shutdown();
  await world.wait(stop);
  expect(waiting.link.isClosed).toBe(true);
  // It comes too late, and lets go of the disk by itself.
  disk.hook = () => undefined;
  resolve();
  await world.clock.advance(1_000);
});
