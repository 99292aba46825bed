/** The server goes by a configuration that was read again, without touching what runs. */
import { afterEach, expect, test } from "bun:test";
import type { ServerConfig, StorageConfig } from "#config/types.ts";
import { reloadedConfig } from "#server/reload.ts";
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
    return { name, inUse: false, close } as unknown as Storage;
  };
  const clock = new SimClock();
  const [slow, other] = [storageConfig({ name: "slow" }), storageConfig({ name: "other" })];
  const shelf = new StorageShelf({
    ...{ configs: [slow, other], clock, events: { emit: () => undefined } },
    open: ({ name }) => Promise.resolve(fake(name)),
    configure: () => undefined,
    adopt: () => Promise.resolve(),
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
  const config = { ...base, chunkBuffer: { bytesMax: 0, drainRatio: 0 }, webUi: {}, logging: { format: "json" } };
  const running = config as unknown as ServerConfig;
  const read = {
    ...running,
    server: { ...base.server, sessionsMax: 5, listen: { host: "::", port: 1 } },
    chunkBuffer: { bytesMax: 1, drainRatio: 0 },
    storages: [storageConfig({ baseDir: "/elsewhere", maxBackups: 9 }), second],
  };
  const reload = reloadedConfig(running, read);
  expect(reload.restartKeys).toEqual(["server.listen", "chunk_buffer", "storages.main.base_dir"]);
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
