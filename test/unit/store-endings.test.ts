/** How a session lets go of its files when the disk fails it at that very moment, and what a start may believe of a dead server. */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { EndedSessions } from "#store/ended-sessions.ts";
import type { SessionStore } from "#store/session-store.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError, type DiskHook } from "#test/support/memory-file.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  chunkAt,
  type Kit,
  listLog,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  testFile,
} from "#test/support/store-kit.ts";

const SESSIONS = "/srv/backup/.nbackup/sessions";
const JOURNAL = `${SESSIONS}/${SESSION_A}/journal`;
const PART = `${SESSIONS}/${SESSION_A}/archive.part`;
const file = testFile(seededRandom(1), [70_000, 1, 300_000]);
const shutdown = new Failure("E_SHUTDOWN", "the server is stopping");

/** A session whose first chunk is durable. */
async function begun(): Promise<{ readonly kit: Kit; readonly store: SessionStore }> {
  const kit = await openKit();
  const store = await kit.storage.createSession(request(), listen().events);
  send(store, chunkAt(file, 0));
  store.push();
  await kit.clock.advance(10);
  expect(store.settled).toBe(true);
  return { kit, store };
}

function failing(code: string, call: string, path: string): DiskHook {
  return (event) => {
    if (event.call === call && event.path === path) throw diskError(code);
  };
}

/** Chunks that the next start on that disk calls durable; undefined when it finds no session. */
async function durableChunks(disk: MemoryDisk): Promise<number | undefined> {
  const kit = await openKit({ disk });
  const [left] = kit.storage.takeLeft().sessions;
  if (left === undefined) return undefined;
  const store = left.adopt(listen().events);
  await kit.clock.advance(10);
  const said = must(store.acknowledgement(1)[0], "the archive").durableChunks;
  await kit.clock.until(store.suspend(shutdown), 1_000);
  await kit.storage.close();
  return said;
}

test("a session whose disk refuses a write while it is suspended does not wait for it, and keeps what was durable", async () => {
  const { kit, store } = await begun();
  kit.disk.hook = failing("EIO", "write", PART);
  send(store, chunkAt(file, 1));
  await kit.clock.until(store.suspend(shutdown), 1_000);
  await kit.storage.close();
  expect(kit.disk.openFiles).toBe(0);
  expect(kit.log.lines.map(({ message }) => message)).toContain("the disk failed a session that was ending");
  expect(await durableChunks(kit.disk.reboot())).toBe(1);
});

test("a session whose journal fails while it is suspended is not left: what could be read of it may not be on the disk", async () => {
  const { kit, store } = await begun();
  kit.disk.hook = failing("EIO", "fdatasync", JOURNAL);
  send(store, chunkAt(file, 1));
  await kit.clock.until(store.suspend(shutdown), 1_000);
  await kit.storage.close();
  expect(kit.disk.openFiles).toBe(0);
  expect([...kit.disk.tree(SESSIONS).keys()]).toEqual([]);
});

test("a session whose file cannot be closed without an error is removed all the same", async () => {
  const { kit, store } = await begun();
  kit.disk.hook = failing("ENOSPC", "close", PART);
  await kit.clock.until(store.abort(new Failure("E_DISK_FULL", "no room")), 1_000);
  expect([...kit.disk.tree(SESSIONS).keys()]).toEqual([]);
  expect(kit.log.lines.map(({ message }) => message)).toContain("the storage could not be tidied up");
  await kit.storage.close();
});

test("what a start calls durable because a killed server wrote it survives a power loss after that", async () => {
  const { kit, store } = await begun();
  kit.disk.hook = ({ call, path }) => {
    if (call === "fdatasync" && path === JOURNAL) kit.disk.crash();
  };
  send(store, chunkAt(file, 1));
  store.push();
  await settle();
  const killed = kit.disk.restart();
  expect(await durableChunks(killed)).toBe(2);
  expect(await durableChunks(killed.reboot())).toBe(2);
});

test("a commit waits for the journal, which is still read for a chunk that was hashed before it was recorded", async () => {
  const first = await openKit();
  const long = testFile(
    seededRandom(5),
    Array.from({ length: 1500 }, () => 200),
  );
  const index = testFile(seededRandom(6), [5000], 1);
  const before = await first.storage.createSession(request(), listen().events);
  for (const chunk of long.chunks) send(before, chunk);
  before.push();
  await first.clock.advance(10);
  const kit = await openKit({ disk: first.disk.reboot() });
  const [left] = kit.storage.takeLeft().sessions;
  const { heard, events } = listen();
  let journalReads = 0;
  kit.disk.hook = async ({ call, path }) => {
    if (call !== "read") return;
    if (path === JOURNAL) journalReads += 1;
    const delayMs = path === JOURNAL && journalReads > 1 ? 50_000 : 1;
    await new Promise<void>((resolve) => kit.clock.after(delayMs, resolve));
  };
  const store = must(left, "session").adopt(events);
  await kit.clock.advance(5);
  // It is hashed at once, while more of the archive waits to be read than the journal is read ahead for.
  send(store, chunkAt(index, 0));
  await kit.clock.advance(2);
  store.push();
  await kit.clock.until(
    store.finish(proofOf(long, index), () => undefined),
    600_000,
  );
  expect(journalReads).toBeGreaterThan(1);
  expect(heard).toMatchObject({ verified: 1, failed: [] });
  expect(kit.log.lines.filter(({ level }) => level === "error")).toEqual([]);
  expect([...kit.disk.tree(SESSIONS).keys()]).toEqual([]);
  await kit.storage.close();
});

test("the commit record that a killed server wrote survives a power loss after the next start", async () => {
  const { kit, store } = await begun();
  const killed = Promise.withResolvers<void>();
  kit.disk.hook = ({ call, path }) => {
    if (call !== "fdatasync" || !path.includes("commits.jsonl")) return;
    kit.disk.crash();
    killed.resolve();
  };
  for (const chunk of file.chunks.slice(1)) send(store, chunk);
  void store.finish(proofOf(file), () => undefined);
  await kit.clock.until(killed.promise, 10_000);
  const next = await openKit({ disk: kit.disk.restart() });
  expect(next.storage.commitRecord(SESSION_A)).toBeDefined();
  await next.storage.close();
  const last = await openKit({ disk: next.disk.reboot() });
  expect(last.storage.commitRecord(SESSION_A)).toBeDefined();
  await last.storage.close();
});

test("a session whose commit failed and whose disk then kept its files is not committed by the next start", async () => {
  const disk = new MemoryDisk();
  await disk.mkdir("/state", 0o700);
  const memory = (on: MemoryDisk): Promise<EndedSessions> => EndedSessions.open(on, "/state", listLog());
  const kit = await openKit({ disk, ended: await memory(disk) });
  const store = await kit.storage.createSession(request(), listen().events);
  for (const chunk of file.chunks) send(store, chunk);
  kit.disk.hook = ({ call, path }) => {
    if ((call === "link" || call === "unlink") && path.startsWith("/srv/")) throw diskError("EIO");
  };
  const failure = await kit.clock.until(
    store.finish(proofOf(file), () => undefined).catch((error: unknown) => error),
    60_000,
  );
  await store.abort(failure instanceof Failure ? failure : shutdown);
  kit.disk.hook = () => undefined;
  await kit.storage.close();
  const after = kit.disk.restart();
  const remembered = await memory(after);
  expect(remembered.has(SESSION_A)).toBe(true);
  const next = await openKit({ disk: after, ended: remembered });
  expect(next.storage.takeLeft()).toEqual({ sessions: [], casualties: [], completed: [] });
  expect(await next.storage.archives("web-01", "home")).toEqual([]);
  expect([...after.tree(SESSIONS).keys()]).toEqual([]);
  expect((await memory(after.reboot())).has(SESSION_A)).toBe(false);
  await next.storage.close();
});

test.each([Number.POSITIVE_INFINITY, 1])(
  "a session that ended while its disk was away for %i looks, and another stood in its place, does not come to life again with it",
  async (looks) => {
    const disk = new MemoryDisk();
    await disk.mkdir("/state", 0o700);
    const memory = (on: MemoryDisk): Promise<EndedSessions> => EndedSessions.open(on, "/state", listLog());
    const kit = await openKit({ disk, ended: await memory(disk) });
    const store = await kit.storage.createSession(request(), listen().events);
    send(store, chunkAt(file, 0));
    store.push();
    await kit.clock.advance(10);
    let looked = 0;
    kit.disk.hook = ({ call, path }) => {
      if (call !== "lstat" || !path.startsWith("/srv/backup")) return;
      looked += 1;
      if (looked <= looks) throw diskError("ENOENT");
    };
    await kit.clock.until(store.abort(shutdown), 1_000);
    kit.disk.hook = () => undefined;
    await kit.storage.close();
    const after = kit.disk.restart();
    const next = await openKit({ disk: after, ended: await memory(after) });
    expect(next.storage.takeLeft()).toEqual({ sessions: [], casualties: [], completed: [] });
    expect([...after.tree(SESSIONS).keys()]).toEqual([]);
    expect((await memory(after.reboot())).has(SESSION_A)).toBe(false);
    await next.storage.close();
  },
);

test("a session that could not be begun, and whose disk was away when it was to be removed, does not come to life with it", async () => {
  const disk = new MemoryDisk();
  await disk.mkdir("/state", 0o700);
  const memory = (on: MemoryDisk): Promise<EndedSessions> => EndedSessions.open(on, "/state", listLog());
  const kit = await openKit({ disk, ended: await memory(disk) });
  let away = false;
  kit.disk.hook = ({ call, path }) => {
    if (!path.startsWith("/srv/backup")) return;
    if (away) throw diskError("ENOENT");
    away = call === "syncDirectory" && path.endsWith(SESSION_A);
    if (away) throw diskError("EIO");
  };
  const failure: unknown = await kit.storage.createSession(request(), listen().events).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "E_DISK", message: expect.stringContaining("EIO") });
  kit.disk.hook = () => undefined;
  await kit.storage.close();
  const after = kit.disk.restart();
  const next = await openKit({ disk: after, ended: await memory(after) });
  expect(next.storage.takeLeft()).toEqual({ sessions: [], casualties: [], completed: [] });
  expect([...after.tree(SESSIONS).keys()]).toEqual([]);
  await next.storage.close();
});

/** A commit fails at this call, and the disk is away from then on; what lies there when it is back, and after a power loss. */
async function awayFrom(failsAt: RegExp): Promise<{ readonly back: string[]; readonly later: string[] }> {
  const kit = await openKit();
  const store = await kit.storage.createSession(request(), listen().events);
  for (const chunk of file.chunks) send(store, chunk);
  let away = false;
  kit.disk.hook = ({ call, path }) => {
    away ||= failsAt.test(`${call} ${path}`);
    if (away) throw diskError("ESTALE");
  };
  const failure = await kit.clock.until(
    store.finish(proofOf(file), () => undefined).catch((error: unknown) => error),
    60_000,
  );
  await store.abort(failure instanceof Failure ? failure : shutdown);
  kit.disk.hook = () => undefined;
  await kit.storage.tidy();
  const back = [...kit.disk.tree("/srv/backup/web-01/home").keys()];
  expect([...kit.disk.tree(SESSIONS).keys()]).toEqual([]);
  await kit.storage.close();
  return { back, later: [...kit.disk.reboot().tree("/srv/backup/web-01/home").keys()] };
}

test("an archive that stands although its commit could not be told and not be taken back survives a power loss", async () => {
  const { back, later } = await awayFrom(/^syncDirectory .*home$/);
  expect(back).toHaveLength(2);
  expect(later).toEqual(back);
});

test("a session that ended and whose journal cannot be read any more is removed all the same", async () => {
  const { kit, store } = await begun();
  kit.disk.hook = ({ call, path }) => {
    if (call === "unlink" && path.startsWith(SESSIONS)) throw diskError("ESTALE");
  };
  await kit.clock.until(store.abort(new Failure("E_DISK_FULL", "no room")), 1_000);
  kit.disk.hook = failing("EIO", "read", JOURNAL);
  await kit.storage.tidy();
  expect([...kit.disk.tree(SESSIONS).keys()]).toEqual([]);
  await kit.storage.close();
});

test("a commit that failed before its archive had a name leaves no index or checksum alone, once its disk is back", async () => {
  expect(await awayFrom(/^link .*\.tar\.gz$/)).toEqual({ back: [], later: [] });
});

test("the list of sessions that could not be removed holds only so many, and a damaged one stops nothing", async () => {
  const disk = new MemoryDisk();
  await disk.mkdir("/state", 0o700);
  const log = listLog();
  disk.plant("/state/ended-sessions.json", Buffer.from('{"sessions":[1]}'));
  const ended = await EndedSessions.open(disk, "/state", log);
  expect(log.lines.map(({ level }) => level)).toEqual(["warn"]);
  const sessions = Array.from({ length: 10_001 }, (_, n) => `session ${n}`);
  disk.plant("/state/ended-sessions.json", Buffer.from(JSON.stringify({ sessions: sessions.slice(0, 10_000) })));
  const full = await EndedSessions.open(disk, "/state", log);
  await full.add("session 10000");
  const next = await EndedSessions.open(disk, "/state", log);
  expect([0, 1, 10_000].map((n) => next.has(`session ${n}`))).toEqual([false, true, true]);
  disk.hook = failing("ENOSPC", "create", "/state/ended-sessions.json.new");
  await ended.add(SESSION_A);
  expect(ended.has(SESSION_A)).toBe(true);
});
