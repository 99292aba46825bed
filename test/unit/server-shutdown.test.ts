/** How a server stops, in whatever it is doing: nothing hangs, nothing is left, and everyone hears why. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { LINGER_MS, STORAGES_STOP_MS, SUSPEND_MS } from "#server/limits.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
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

/** Holds every call of the disk that `matches` until it is let go. */
function hold(disk: MemoryDisk, matches: (call: string, path: string) => boolean): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  disk.hook = (event) => (matches(event.call, event.path) ? promise : undefined);
  return () => {
    disk.hook = () => undefined;
    resolve();
  };
}

describe("shutdown", () => {
  test("waits for a session that finishes within shutdown_timeout, whose archive stays", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    const stopped = w.server.shutdown();
    await w.clock.advance(1_000);
    const chunks = makeChunks(3, 400);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    await w.wait(stopped);
    expect(w.clock.now()).toBeLessThan(20_000);
    expect(w.content(admitted.archive)).toHaveLength(1200);
  });

  test("leaves what still runs after shutdown_timeout on the disk, and tells its agent to come again", async () => {
    const w = await start({ shutdownTimeoutMs: 10_000 });
    const { link, admitted } = await w.session({ parallels: 1 });
    const stopped = w.server.shutdown();
    const refused = await w.wait(link.expect("refused"));
    expect(refused).toMatchObject({ code: "E_SHUTDOWN", retry: true, retryAfterMs: 5_000 });
    expect(w.clock.now()).toBeWithin(10_000, 10_100);
    await w.wait(stopped);
    expect(w.unfinished()).toContain(`.nbackup/sessions/${admitted.session}/journal`);
    expect(w.eventsOf("session.ended")).toEqual([]);
    expect(w.eventsOf("session.suspended")[0]?.fields).toMatchObject({ code: "E_SHUTDOWN" });
  });

  test("does not wait for a session whose agent is away", async () => {
    const w = await start();
    const { pipe } = await w.session();
    pipe.cut();
    await w.clock.advance(100);
    await w.wait(w.server.shutdown());
    expect(w.clock.now()).toBeLessThan(5_000);
    expect(w.eventsOf("session.suspended")).toHaveLength(1);
  });

  test("lets a broken session come back while it waits, and admits nobody new", async () => {
    const w = await start();
    const { pipe, admitted } = await w.session();
    const stopped = w.server.shutdown();
    pipe.cut();
    await w.clock.advance(1_000);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    const other = await w.hello("web-2");
    other.link.send("begin", beginOf());
    expect((await w.wait(other.link.expect("refused"))).code).toBe("E_SHUTDOWN");
    void w.server.shutdown();
    await w.wait(stopped);
  });

  test("refuses those in line at once", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session({}, { agent: "web-2" });
    const { link } = await w.hello();
    link.send("begin", beginOf());
    await w.wait(link.expect("queued"));
    void w.server.shutdown();
    expect((await w.wait(link.expect("refused"))).code).toBe("E_SHUTDOWN");
  });

  test("refuses an agent whose session is just being opened, and does not wait for it", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk, shutdownTimeoutMs: 50 });
    const release = hold(disk, (_call, path) => path.includes(".nbackup/sessions/"));
    const { link } = await w.hello();
    link.send("begin", beginOf());
    await w.clock.advance(100);
    expect(link.received.map((message) => message.type)).toEqual(["welcome"]);
    const stopped = w.server.shutdown();
    await w.clock.advance(100);
    release();
    expect((await w.wait(link.expect("refused"))).code).toBe("E_SHUTDOWN");
    await w.wait(stopped);
    expect(w.server.view().sessionCount).toBe(0);
  });

  test("a commit that has begun is waited for and wins", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk, shutdownTimeoutMs: 1_000 });
    const { link, admitted } = await w.session();
    const chunks = makeChunks(2, 300);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    const release = hold(disk, (call) => call === "link");
    link.send("finish", finishOf(chunks), 1);
    await w.clock.advance(500);
    const stopped = w.server.shutdown();
    await w.clock.advance(5_000);
    expect(w.eventsOf("session.ended")).toEqual([]);
    release();
    await w.wait(link.expect("committed"));
    await w.wait(stopped);
    expect(w.content(admitted.archive)).toHaveLength(600);
  });

  test("of a server whose only connection has said nothing leaves no timer behind", async () => {
    const w = await start();
    const { link } = w.connect();
    await w.clock.advance(10);
    await w.wait(w.server.shutdown());
    expect((await w.wait(link.expect("refused"))).code).toBe("E_SHUTDOWN");
    expect(w.clock.now()).toBeLessThan(5_000);
    await w.clock.advance(10);
    expect(w.clock.pendingCount).toBe(0);
  });
});

test("an agent whose session was opened while it left leaves nothing on the disk, and its entry is free", async () => {
  const disk = new MemoryDisk();
  const w = await start({ disk });
  const release = hold(disk, (_call, path) => path.includes(".nbackup/sessions/"));
  const { link, pipe } = await w.hello();
  link.send("begin", beginOf());
  await w.clock.advance(100);
  pipe.cut();
  await w.clock.advance(10);
  release();
  await w.clock.advance(100);
  expect(w.unfinished()).toEqual([]);
  expect(w.eventsOf("admission.left")).toHaveLength(1);
  const again = await w.session();
  expect(must(again.admitted.archive, "archive")).toStartWith("web-1/home/");
});

test("a session whose storage is opened only while the server stops is left on the disk, and nothing runs on", async () => {
  const first = await ServerWorld.start();
  const { admitted } = await first.session();
  void first.server.shutdown();
  await first.wait(first.server.shutdown());
  await first.clock.advance(10_000);
  const disk = first.disk.restart();
  const { promise: opening, resolve } = Promise.withResolvers<void>();
  let broken = true;
  disk.hook = ({ call, path }) => {
    if (path.endsWith("/journal")) return opening;
    if (broken && call === "realpath") throw diskError("EIO");
    return undefined;
  };
  world = await ServerWorld.start({ disk, clock: first.clock, seed: 8, knownStorages: first.knownStorages });
  broken = false;
  await world.clock.advance(5_000);
  world.resume(admitted.session);
  await world.clock.advance(100);
  const stopped = world.server.shutdown();
  void world.server.shutdown();
  await world.clock.advance(100);
  resolve();
  await world.wait(stopped);
  expect(world.server.view().sessionCount).toBe(0);
  expect(world.eventsOf("session.recovered")).toEqual([]);
  expect(world.eventsOf("session.suspended")).toMatchObject([{ fields: { session: admitted.session } }]);
});

describe("a disk that hangs", () => {
  const STORAGES = [storageConfig(), storageConfig({ name: "other", baseDir: "/srv/other" })];

  async function stopped(w: ServerWorld): Promise<number> {
    const before = w.clock.now();
    await w.wait(w.server.shutdown());
    return w.clock.now() - before;
  }

  test("under a session holds up a stop for seconds, the storage is named, and the session goes on with the next start", async () => {
    const disk = new MemoryDisk();
    const w = await ServerWorld.start({ disk, storages: STORAGES, shutdownTimeoutMs: 1_000 });
    const { link, admitted } = await w.session();
    const other = await w.session({ storage: "other", backup: "etc" });
    const chunks = makeChunks(3, 400);
    for (const chunk of chunks.slice(0, 2)) link.data(chunk, { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    const letGo = hold(disk, (call, path) => call === "fdatasync" && path.startsWith("/srv/backups"));
    for (const chunk of chunks.slice(2)) link.data(chunk, { generation: 1 });
    await w.clock.advance(10);
    expect(await stopped(w)).toBeWithin(SUSPEND_MS, 1_000 + SUSPEND_MS + LINGER_MS + 100);
    expect((await w.wait(link.expect("refused"))).code).toBe("E_SHUTDOWN");
    const suspended = [other.admitted.session, admitted.session];
    expect(w.eventsOf("session.suspended").map(({ fields }) => fields["session"])).toEqual(suspended);
    expect(w.eventsOf("storage.close-failed").map(({ fields }) => fields["storage"])).toEqual(["main"]);
    // It answers while the process is just ending: nothing is told twice.
    letGo();
    await w.clock.advance(10_000);
    expect(w.eventsOf("session.suspended")).toHaveLength(2);
    const { clock, knownStorages } = w;
    world = await ServerWorld.start({ disk: disk.restart(), storages: STORAGES, clock, knownStorages, seed: 8 });
    const back = world.resume(admitted.session);
    await world.wait(back.link.expect("welcome"));
    expect((await world.wait(back.link.sack())).files[0]?.durableChunks).toBeGreaterThanOrEqual(2);
  });

  test("under a commit leaves it to the next start, which tells the agent", async () => {
    const disk = new MemoryDisk();
    const w = await ServerWorld.start({ disk, shutdownTimeoutMs: 1_000 });
    const { link, admitted } = await w.session();
    const chunks = makeChunks(2, 300);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 2));
    hold(disk, (call) => call === "link");
    link.send("finish", finishOf(chunks), 1);
    await w.clock.advance(500);
    expect(await stopped(w)).toBeLessThan(1_000 + SUSPEND_MS + LINGER_MS + 100);
    expect(w.eventsOf("session.suspended")).toHaveLength(1);
    world = await ServerWorld.start({ disk: disk.restart(), knownStorages: w.knownStorages, seed: 8 });
    const back = world.resume(admitted.session);
    await world.wait(back.link.expect("welcome"));
    expect((await world.wait(back.link.expect("committed"))).archive).toBe(admitted.archive);
  });

  test("under a session that is just being opened, or under the end of one, holds up a stop no longer", async () => {
    for (const how of ["opening", "ending"] as const) {
      const disk = new MemoryDisk();
      const w = await ServerWorld.start({ disk, shutdownTimeoutMs: 1_000 });
      const session = how === "ending" ? await w.session() : undefined;
      hold(disk, (_call, path) => path.includes(".nbackup/sessions/"));
      if (session === undefined) (await w.hello()).link.send("begin", beginOf());
      else session.link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
      await w.clock.advance(100);
      expect(await stopped(w)).toBeLessThan(1_000 + SUSPEND_MS + LINGER_MS + 100);
      expect(w.eventsOf("storage.close-failed")).toHaveLength(1);
      expect(w.eventsOf("session.suspended")).toHaveLength(how === "ending" ? 1 : 0);
    }
  });

  test("when its storage is closed holds up a stop no longer either", async () => {
    const disk = new MemoryDisk();
    const w = await ServerWorld.start({ disk });
    hold(disk, (call) => call === "close");
    expect(await stopped(w)).toBeLessThan(STORAGES_STOP_MS + 100);
    expect(w.eventsOf("storage.close-failed")).toMatchObject([{ fields: { storage: "main" } }]);
  });
});
