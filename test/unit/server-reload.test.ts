/** The server goes by a configuration that was read again, without touching what runs. */
import { afterEach, expect, test } from "bun:test";
import type { ServerConfig, StorageConfig } from "#config/types.ts";
import { reloadedConfig } from "#server/reload.ts";
import { Failure } from "#base/errors.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { StorageConditions } from "#server/storage-conditions.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import { StorageShelf } from "#server/storage-shelf.ts";
import type { Storage } from "#store/storage.ts";
import { beginOf, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";

let world: ServerWorld | undefined;

afterEach(async () => {
  await world?.close();
  world = undefined;
});

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

const rules = (storages: readonly StorageConfig[], sessionsMax = 32): Pick<ServerConfig, "server" | "storages"> => ({
  server: {
    listen: { host: "0.0.0.0", port: 9847 },
    stateDir: "/var/lib/nbackup",
    sessionsMax,
    memoryBytesMax: 1_000_000_000,
    sessionIdleTimeoutMs: 86_400_000,
    shutdownTimeoutMs: 60_000,
  },
  storages,
});

const second = storageConfig({ name: "second", baseDir: "/srv/second" });

test("a storage that was taken out takes no new session, and is closed when the running one is over", async () => {
  const w = await start();
  const { link } = await w.session();
  await w.wait(w.server.reload(rules([second])));
  expect(w.eventsOf("storage.closed")).toEqual([]);
  const other = await w.hello();
  other.link.send("begin", beginOf({ backup: "other" }));
  expect(await w.wait(other.link.expect("refused"))).toMatchObject({ code: "E_STORAGE_UNKNOWN" });
  link.send("disown", { code: "E_INTERRUPTED", message: "stopped" });
  await w.wait(link.expect("ended"));
  await w.clock.advance(1_000);
  expect(w.eventsOf("storage.closed")).toMatchObject([{ fields: { storage: "main" } }]);
  // Its lock is free.
  const again = await w.wait(w.openStorage(storageConfig()));
  await w.wait(again.close());
});

test("a session that is just being opened in a storage that is taken out does not begin in one whose lock is free", async () => {
  const w = await start();
  const { promise, resolve } = Promise.withResolvers<void>();
  let looks = 0;
  // The third look is that of who has the place already and opens the storage for the last time.
  w.disk.hook = ({ call, path }) => {
    if (call !== "lstat" || path !== "/srv/backups") return undefined;
    looks += 1;
    return looks === 3 ? promise : undefined;
  };
  const { link } = await w.hello();
  link.send("begin", beginOf());
  await w.clock.advance(10);
  expect(looks).toBe(3);
  await w.wait(w.server.reload(rules([second])));
  resolve();
  expect(await w.wait(link.expect("refused"))).toMatchObject({ code: "E_STORAGE_FAILED", retry: true });
  expect(w.eventsOf("storage.closed")).toHaveLength(1);
  expect(w.server.view().sessionCount).toBe(0);
});

test("a storage that is taken back while the close of another one hangs stays open", async () => {
  const hanging = Promise.withResolvers<void>();
  const fake = (name: string): Storage => {
    const close = (): Promise<void> => (name === "slow" ? hanging.promise : Promise.resolve());
    // What the shelf asks of a storage that nobody uses.
    return { name, inUse: false, close, retire: () => undefined } as unknown as Storage;
  };
  const clock = new SimClock();
  const [slow, other] = [storageConfig({ name: "slow" }), storageConfig({ name: "other" })];
  const shelf = new StorageShelf({
    ...{ configs: [slow, other], clock, events: { emit: () => undefined } },
    open: ({ name }) => Promise.resolve(fake(name)),
    configure: () => undefined,
    adopt: () => Promise.resolve(),
    leave: () => Promise.resolve(),
    known: { has: () => true, add: () => Promise.resolve() },
  });
  await clock.until(shelf.openAll(), 1_000);
  const taken = shelf.reload([]);
  void shelf.closeRetired();
  await clock.advance(10);
  await clock.until(shelf.reload([other]), 1_000);
  hanging.resolve();
  await clock.until(taken, 1_000);
  expect([...shelf.opened()].map(({ name }) => name)).toEqual(["other"]);
});

test("more sessions than before let in who waits", async () => {
  const w = await start({ sessionsMax: 1 });
  await w.session();
  const waiting = await w.hello("web-2");
  waiting.link.send("begin", beginOf());
  await w.wait(waiting.link.expect("queued"));
  await w.wait(w.server.reload(rules([storageConfig()], 2)));
  await w.wait(waiting.link.expect("admitted"));
});

test("what listens, what is set aside and where a name lies waits for a restart and is named", () => {
  const base = rules([storageConfig()]);
  const webUi = { enabled: false, eventsFile: "/state/events.jsonl", eventsLinesMax: 9 };
  const config = { ...base, chunkBuffer: { bytesMax: 0, drainRatio: 0 }, webUi, logging: { format: "json" } };
  const running = config as unknown as ServerConfig;
  const read = {
    ...running,
    server: { ...base.server, sessionsMax: 5, listen: { host: "::", port: 1 } },
    chunkBuffer: { bytesMax: 1, drainRatio: 0 },
    webUi: { ...running.webUi, enabled: true, eventsLinesMax: 7 },
    storages: [storageConfig({ baseDir: "/elsewhere", maxBackups: 9 }), second],
  };
  const reload = reloadedConfig(running, read);
  expect(reload.restartKeys).toEqual([
    ...["server.listen", "chunk_buffer", "web_ui.events_max_lines", "storages.main.base_dir"],
  ]);
  expect(reload.config.webUi).toEqual({ ...running.webUi, enabled: true });
  expect(reload.config.server).toEqual({ ...base.server, sessionsMax: 5 });
  expect(reload.config.storages).toEqual([storageConfig({ maxBackups: 9 }), second]);
});

test("who waits for a storage that it may no longer use is refused when its turn comes", async () => {
  const w = await start({ sessionsMax: 1 });
  await w.session();
  const waiting = await w.hello("web-2");
  waiting.link.send("begin", beginOf());
  await w.wait(waiting.link.expect("queued"));
  await w.wait(w.server.reload(rules([storageConfig({ allowAgents: ["web-1"] })], 2)));
  expect((await w.wait(waiting.link.expect("refused"))).code).toBe("E_STORAGE_DENIED");
});

/** A session of web-1 that was committed. */
async function commit(w: ServerWorld): Promise<void> {
  const { link } = await w.session();
  const chunks = makeChunks(2, 400);
  for (const chunk of chunks) link.data(chunk, { generation: 1 });
  link.send("finish", finishOf(chunks), 1);
  await w.wait(link.expect("committed"));
}

test("changed rules of a storage reach it while it is open: how much it keeps, its reserve, and who may use it", async () => {
  const w = await start({ storages: [storageConfig({ maxBackups: 3 })] });
  await commit(w);
  await commit(w);
  const archives = (): string[] => [...w.tree().keys()].filter((path) => path.endsWith(".tar.gz"));
  expect(archives()).toHaveLength(2);
  await w.wait(w.server.reload(w.rules([storageConfig({ maxBackups: 1 })])));
  await commit(w);
  expect(archives()).toHaveLength(1);

  w.disk.space = () => Promise.resolve({ totalBytes: 1000, freeBytes: 500 });
  await w.wait(w.server.reload(w.rules([storageConfig({ reserve: { percent: 60, bytesMax: 10_000 } })])));
  const full = await w.hello();
  full.link.send("begin", beginOf());
  expect(await w.wait(full.link.expect("refused"))).toMatchObject({ code: "E_FULL" });

  await w.wait(w.server.reload(w.rules([storageConfig({ allowAgents: ["db-*"] })])));
  const denied = await w.hello();
  denied.link.send("begin", beginOf());
  expect(await w.wait(denied.link.expect("refused"))).toMatchObject({ code: "E_STORAGE_DENIED" });
});

test("session_idle_timeout counts for a session that runs, and for one that waits for its agent already", async () => {
  const w = await start({ sessionIdleTimeoutMs: 10 * 3_600_000 });
  const changed = { ...w.rules([storageConfig()]) };
  const shorter = { ...changed, server: { ...changed.server, sessionIdleTimeoutMs: 600_000 } };
  const running = await w.session({ backup: "running" });
  const waiting = await w.session({ backup: "waiting" });
  waiting.pipe.cut();
  running.link.send("ping", { id: 1 });
  await w.wait(w.server.reload(shorter));
  running.pipe.cut();
  await w.clock.advance(590_000);
  expect(w.server.view().sessionCount).toBe(2);
  await w.clock.advance(80_000);
  expect(w.server.view().sessionCount).toBe(0);
  expect(w.eventsOf("session.ended").map(({ fields }) => fields["code"])).toEqual([
    ...["E_SESSION_EXPIRED", "E_SESSION_EXPIRED"],
  ]);
});

test("of a storage that was taken out nothing is remembered: one of its name begins anew", async () => {
  const events: ObservedEvent[] = [];
  const conditions = new StorageConditions(new SimClock(), { emit: (event) => void events.push(event) });
  const closed = { kind: "storage.closed", level: "info", message: "closed", fields: { storage: "main" } } as const;
  conditions.failed("main", new Failure("E_DISK", "EIO"));
  conditions.emit(closed);
  expect(conditions.of("main").state).toBe("unknown");
  expect(events.map(({ kind }) => kind)).toEqual(["storage.failed", "storage.closed"]);
  const w = await start();
  const { link } = await w.hello();
  link.send("begin", beginOf({ storage: "added" }));
  expect(await w.wait(link.expect("refused"))).toMatchObject({
    code: "E_STORAGE_UNKNOWN",
    hint: expect.stringContaining("read it again"),
  });
});
