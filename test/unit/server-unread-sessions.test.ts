/** Sessions of an earlier start that their disk did not give back: what their agents hear, and what becomes of them later. */
import { afterEach, expect, test } from "bun:test";
import { MiB } from "#base/units.ts";
import { UNREAD_SESSION_MS } from "#server/limits.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { finishOf, makeChunks, type ScriptLink } from "#test/support/script-client.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { OTHER_RUN, RUN, ServerWorld, storageConfig } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const CHUNKS = makeChunks(4, 500);
const LAZY = storageConfig({
  assembler: { mode: "lazy", pendingMemBytesMax: 8 * MiB, chunkShardLevels: 1, chunkFsync: true },
});

/** The next start of the same server, which cannot read the journals of these sessions until it is healed. */
async function nextWithout(
  { knownStorages, clock }: Pick<ServerWorld, "knownStorages" | "clock">,
  disk: MemoryDisk,
  ...sessions: readonly string[]
): Promise<ServerWorld> {
  disk.hook = ({ call, path }) => {
    if (call === "open" && sessions.some((session) => path.endsWith(`${session}/journal`))) throw diskError("EIO");
  };
  world = await ServerWorld.start({ disk, clock, knownStorages, seed: 8 });
  return world;
}

/** Stops the server at once, its sessions left on the disk. */
async function stopped(w: ServerWorld): Promise<MemoryDisk> {
  void w.server.shutdown();
  await w.wait(w.server.shutdown());
  await w.clock.advance(10_000);
  return w.disk.restart();
}

function heal(w: ServerWorld): void {
  w.disk.hook = () => undefined;
}

async function refusal(w: ServerWorld, session: string): Promise<{ code: string; retry: boolean }> {
  const { link } = w.resume(session);
  const { code, retry } = await w.wait(link.expect("refused"));
  return { code, retry };
}

/** Sends these chunks on the first connection of its slot in this start, and waits until they are durable. */
async function sendAll(w: ServerWorld, link: ScriptLink, from: number, to: number): Promise<void> {
  for (const chunk of CHUNKS.slice(from, to)) link.data(chunk, { generation: 1 });
  await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === to));
}

test("its agent is told to come again, and goes on with it once it can be read", async () => {
  const first = await ServerWorld.start();
  const { link, admitted } = await first.session();
  await sendAll(first, link, 0, 3);
  const w = await nextWithout(first, await stopped(first), admitted.session);
  expect(await refusal(w, admitted.session)).toEqual({ code: "E_STORAGE_FAILED", retry: true });
  await w.clock.advance(10_000);
  expect(await refusal(w, admitted.session)).toEqual({ code: "E_STORAGE_FAILED", retry: true });
  heal(w);
  await w.clock.advance(3_000);
  const back = w.resume(admitted.session);
  expect(await w.wait(back.link.expect("welcome"))).toMatchObject({ generation: 2 });
  await sendAll(w, back.link, 3, 4);
  back.link.send("finish", finishOf(CHUNKS), 2);
  expect((await w.wait(back.link.expect("committed"))).archive).toBe(admitted.archive);
  expect(w.unfinished()).toEqual([]);
});

test.each(["journal", "archive.part", "the chunks"])(
  "its agent is told to come again when the disk went away just before %s was looked at, and loses nothing",
  async (what) => {
    const storages = what === "the chunks" ? [LAZY] : [storageConfig()];
    const first = await ServerWorld.start({ storages });
    const { link, admitted } = await first.session();
    await sendAll(first, link, 0, 3);
    const disk = await stopped(first);
    let gone = false;
    disk.hook = ({ call, path }) => {
      gone ||= what === "the chunks" ? call === "lstat" && path.includes("/chunks/") : path.endsWith(what);
      if (gone && ["open", "lstat", "mkdir", "rmdir", "unlink", "readdir"].includes(call)) throw diskError("ENOENT");
    };
    const w = await ServerWorld.start({
      disk,
      clock: first.clock,
      knownStorages: first.knownStorages,
      storages,
      seed: 8,
    });
    world = w;
    expect(gone).toBe(true);
    expect(await refusal(w, admitted.session)).toEqual({ code: "E_STORAGE_FAILED", retry: true });
    expect(w.eventsOf("session.ended")).toEqual([]);
    heal(w);
    await w.clock.advance(40_000);
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    await sendAll(w, back.link, 3, 4);
    back.link.send("finish", finishOf(CHUNKS), 2);
    expect((await w.wait(back.link.expect("committed"))).archive).toBe(admitted.archive);
  },
);

test.each(["journal", "archive.part"])("goes on when its %s was not there for a moment", async (what) => {
  const first = await ServerWorld.start();
  const { link, admitted } = await first.session();
  await sendAll(first, link, 0, 3);
  const disk = await stopped(first);
  let missed = 0;
  disk.hook = ({ call, path }) => {
    if (call === "open" && path.endsWith(what) && missed === 0) {
      missed += 1;
      throw diskError("ENOENT");
    }
  };
  const w = await ServerWorld.start({ disk, clock: first.clock, knownStorages: first.knownStorages, seed: 8 });
  world = w;
  expect(missed).toBe(1);
  const back = w.resume(admitted.session);
  expect(await w.wait(back.link.expect("welcome"))).toMatchObject({ generation: 2 });
});

test("another agent, and another run of the same one, hear what they heard before", async () => {
  const first = await ServerWorld.start();
  const { admitted } = await first.session();
  const w = await nextWithout(first, await stopped(first), admitted.session);
  heal(w);
  await w.clock.advance(3_000);
  const { link } = w.resume(admitted.session, { run: OTHER_RUN });
  expect((await w.wait(link.expect("refused"))).code).toBe("E_SESSION_GONE");
  expect((await w.wait(w.resume(admitted.session).link.expect("welcome"))).generation).toBe(2);
});

test("a commit that had begun is carried out once its journal can be read, and its agent gets the answer", async () => {
  const first = await ServerWorld.start({ storages: [LAZY] });
  const { link, admitted } = await first.session();
  await sendAll(first, link, 0, 4);
  first.disk.hook = ({ call }) => {
    if (call === "link") first.disk.crash();
  };
  link.send("finish", finishOf(CHUNKS), 1);
  await first.clock.advance(5_000);
  // The dead one's timers go with its clock.
  const { knownStorages, disk } = first;
  const w = await nextWithout({ knownStorages, clock: new SimClock() }, disk.reboot(), admitted.session);
  expect((await refusal(w, admitted.session)).code).toBe("E_STORAGE_FAILED");
  heal(w);
  await w.clock.advance(3_000);
  const back = w.resume(admitted.session);
  await w.wait(back.link.expect("welcome"));
  expect((await w.wait(back.link.expect("committed"))).archive).toBe(admitted.archive);
  expect(w.eventsOf("session.committed")).toHaveLength(1);
});

test("of a session that stays unreadable its agent hears in the end that it is gone", async () => {
  const first = await ServerWorld.start();
  const { admitted } = await first.session();
  const w = await nextWithout(first, await stopped(first), admitted.session);
  await w.clock.advance(UNREAD_SESSION_MS - 1_000);
  expect((await refusal(w, admitted.session)).code).toBe("E_STORAGE_FAILED");
  await w.clock.advance(2_000);
  expect((await refusal(w, admitted.session)).code).toBe("E_SESSION_GONE");
  heal(w);
  // It is looked for without being asked for, so that it expires like any other.
  await w.clock.advance(60_000);
  expect(w.eventsOf("session.recovered")).toHaveLength(1);
});

test("a newer session of its entry goes on, and keeps the entry when the older one is found and ended", async () => {
  const first = await ServerWorld.start();
  const old = await first.session();
  const w = await nextWithout(first, await stopped(first), old.admitted.session);
  const { link, admitted } = await w.session({}, { run: OTHER_RUN });
  heal(w);
  await w.clock.advance(3_000);
  const late = w.resume(old.admitted.session, { run: RUN });
  await w.wait(late.link.expect("welcome"));
  expect((await w.wait(late.link.expect("ended"))).code).toBe("E_SUPERSEDED");
  expect(w.eventsOf("session.ended")).toMatchObject([{ fields: { session: old.admitted.session } }]);
  await sendAll(w, link, 0, 4);
  link.send("finish", finishOf(CHUNKS), 1);
  expect((await w.wait(link.expect("committed"))).archive).toBe(admitted.archive);
});

test("of two sessions of one entry the newer one goes on, also when it is found later", async () => {
  const first = await ServerWorld.start();
  const old = await first.session();
  const disk = await stopped(first);
  const second = await nextWithout(first, disk, old.admitted.session);
  const { admitted } = await second.session({}, { run: OTHER_RUN });
  const w = await nextWithout(second, await stopped(second), admitted.session);
  expect(w.eventsOf("session.recovered")).toMatchObject([{ fields: { session: old.admitted.session } }]);
  heal(w);
  await w.clock.advance(60_000);
  expect(w.eventsOf("session.ended")).toMatchObject([
    { fields: { session: old.admitted.session, code: "E_SUPERSEDED" } },
  ]);
  const { link } = w.resume(admitted.session, { run: OTHER_RUN });
  expect(await w.wait(link.expect("welcome"))).toMatchObject({ generation: 2 });
  await sendAll(w, link, 0, 4);
  link.send("finish", finishOf(CHUNKS), 2);
  expect((await w.wait(link.expect("committed"))).archive).toBe(admitted.archive);
  // The entry is free, which takes both having given it back.
  const { link: next } = await w.session({}, { run: OTHER_RUN });
  next.send("disown", { code: "E_INTERRUPTED", message: "by the test" }, 1);
  await w.clock.advance(1_000);
});

test("one that cannot go on is ended, and its agent hears how, also when the disk does not let go of it", async () => {
  const first = await ServerWorld.start();
  const { link, admitted } = await first.session();
  await sendAll(first, link, 0, 3);
  const disk = await stopped(first);
  await disk.unlink(`/srv/backups/.nbackup/sessions/${admitted.session}/archive.part`);
  disk.hook = ({ call, path }) => {
    if (call === "unlink" && path.includes(admitted.session)) throw diskError("EROFS");
  };
  const w = await ServerWorld.start({ disk, clock: first.clock, knownStorages: first.knownStorages, seed: 8 });
  world = w;
  expect(w.eventsOf("session.ended")).toMatchObject([{ fields: { session: admitted.session, code: "E_DISK" } }]);
  const back = w.resume(admitted.session);
  await w.wait(back.link.expect("welcome"));
  expect((await w.wait(back.link.expect("ended"))).code).toBe("E_DISK");
  heal(w);
  await w.clock.advance(60_000);
  expect(w.unfinished()).toEqual([]);
});

test("a directory that cannot be looked at is a storage that failed, not a bug", async () => {
  world = await ServerWorld.start();
  world.disk.hook = ({ call, path }) => {
    if (call === "lstat" && path === "/srv/backups") throw diskError("ESTALE");
  };
  await world.clock.advance(60_000);
  expect(world.eventsOf("storage.failed")).toMatchObject([{ fields: { storage: "main", code: "E_STORAGE_FAILED" } }]);
  heal(world);
});
