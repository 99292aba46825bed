/** Health connections: the judgement as values, and a whole server in memory that the real agent asks. */
import { afterEach, describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { GiB } from "#base/units.ts";
import { askHealth } from "#agent/health.ts";
import { judgeHealth, storageFailed, storageHealth } from "#server/health.ts";
import { AGENT_IDENTITY, SimNetwork } from "#test/support/agent-world.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { ScriptServer } from "#test/support/script-server.ts";
import { beginOf, helloOf, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { encodeMessage } from "#wire/encode.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const ask = (w: ServerWorld): ReturnType<typeof askHealth> =>
  w.wait(askHealth({ clock: w.clock, dialer: new SimNetwork(w), identity: AGENT_IDENTITY }));

const idle = { running: 0, max: 32, waiting: 0 };
const AWAKE = { maintenance: false, certificateDaysLeft: undefined };

describe("the judgement", () => {
  const ok = storageHealth("ok", { freeBytes: 100, reserveBytes: 10 });
  const low = storageHealth("low", { freeBytes: 9, reserveBytes: 10 });

  test("of a storage goes by its free space and its reserve", () => {
    expect([ok.state, low.state]).toEqual(["ok", "low"]);
    expect(storageHealth("x", { freeBytes: 10, reserveBytes: 10 }).state).toBe("ok");
    expect(storageHealth("x", { freeBytes: 0, reserveBytes: 0 }).state).toBe("full");
    expect(storageFailed("x", new Failure("E_DISK_FULL", "no space left")).state).toBe("full");
    expect(storageFailed("x", new Failure("E_STORAGE_FAILED", "gone"))).toMatchObject({
      state: "failed",
      reason: "gone",
    });
  });

  test("of the server is the worst of it: storages before sessions", () => {
    const full = { ...idle, running: 32 };
    const cases = [
      ["READY", [ok], idle],
      ["READY", [ok], { ...idle, running: 31 }],
      ["BUSY", [ok], full],
      ["BUSY", [ok], { ...idle, running: 1, waiting: 1 }],
      ["LOW_DISK", [ok, low], full],
      ["LOW_DISK", [storageFailed("x", new Failure("E_STORAGE_FAILED", "gone"))], idle],
    ] as const;
    for (const [state, storages, sessions] of cases) expect(judgeHealth(storages, sessions, AWAKE).state).toBe(state);
  });

  test("is MAINTENANCE before anything else", () => {
    expect(judgeHealth([low], { ...idle, waiting: 1 }, { ...AWAKE, maintenance: true }).state).toBe("MAINTENANCE");
  });

  test("names storages in trouble first and fits a frame however many there are and whatever is wrong with them", () => {
    const many = Array.from({ length: 1000 }, (_, n) =>
      storageHealth(`storage-${n}`, { freeBytes: 1, reserveBytes: 0 }),
    );
    const health = judgeHealth([...many, low], idle, AWAKE);
    expect(health.storages[0]).toEqual(low);
    expect([health.storages.length, health.storageCount]).toEqual([100, 1001]);
    const failure = new Failure("E_STORAGE_FAILED", "€".repeat(5000));
    const bad = many.map((_, n) => storageFailed(`${"s".repeat(60)}${n}`, failure));
    expect(encodeMessage("health", judgeHealth(bad, idle, AWAKE)).length).toBeLessThan(64 * 1024);
  });
});

describe("a server that is asked", () => {
  test("says READY with its storages and sessions, and closes", async () => {
    const w = await start({ sessionsMax: 2 });
    await w.session();
    const health = await ask(w);
    expect(health).toMatchObject({
      ...{ state: "READY", software: "nbackup-server 0.0.0", storageCount: 1 },
      sessions: { running: 1, max: 2, waiting: 0 },
      storages: [{ name: "main", state: "ok" }],
    });
    await w.clock.advance(100);
    expect(w.server.view().connectionCount).toBe(1);
  });

  test("says BUSY when no session is free, although every storage is well", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session();
    const { link } = await w.hello("web-2");
    link.send("begin", beginOf());
    await w.wait(link.expect("queued"));
    expect(await ask(w)).toMatchObject({ state: "BUSY", sessions: { running: 1, max: 1, waiting: 1 } });
  });

  test("says LOW_DISK for a disk with less than the reserve, with the figures", async () => {
    const disk = new MemoryDisk({ capacityBytes: GiB });
    const w = await start({ disk, storages: [storageConfig({ reserve: { percent: 90, bytesMax: 2 * GiB } })] });
    disk.space = () => Promise.resolve({ totalBytes: GiB, freeBytes: GiB / 2 });
    expect(await ask(w)).toMatchObject({
      state: "LOW_DISK",
      storages: [{ name: "main", state: "low", freeBytes: GiB / 2, reserveBytes: Math.floor((GiB / 100) * 90) }],
    });
  });

  test("says which storage cannot be used and why, and says again when it can", async () => {
    const disk = new MemoryDisk();
    const storages = [storageConfig(), storageConfig({ name: "tape", baseDir: "/mnt/tape" })];
    const w = await start({ disk, storages });
    disk.space = (path) =>
      path === "/mnt/tape" ? Promise.reject(diskError("EIO")) : Promise.resolve({ totalBytes: GiB, freeBytes: GiB });
    const health = await ask(w);
    expect(health.state).toBe("LOW_DISK");
    expect(health.storages.map(({ name, state }) => `${name} ${state}`)).toEqual(["tape failed", "main ok"]);
    expect(health.storages[0]?.reason).toMatch(/free space cannot be read/);
    disk.space = () => Promise.resolve({ totalBytes: GiB, freeBytes: GiB });
    expect((await ask(w)).state).toBe("READY");
  });

  test("says how many days its own certificate is valid for, which is no part of the state", async () => {
    const w = await start({ certificateNotAfterMs: () => notAfterMs });
    let notAfterMs = w.clock.wall() + 12.5 * 86_400_000;
    expect(await ask(w)).toMatchObject({ state: "READY", certificateDaysLeft: 12 });
    notAfterMs = w.clock.wall() - 1;
    expect(await ask(w)).toMatchObject({ state: "READY", certificateDaysLeft: 0 });
  });

  test("does not wait for a disk that does not answer", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const never = Promise.withResolvers<never>();
    disk.space = () => never.promise;
    const health = await ask(w);
    expect(health.storages).toEqual([
      {
        ...{ name: "main", state: "failed", freeBytes: 0, reserveBytes: 0 },
        reason: "its disk did not answer within 5 s",
      },
    ]);
  });

  test("by an agent whose certificate is another's, refuses", async () => {
    const w = await start();
    const { link } = w.connect("web-2");
    link.send("hello", helloOf({ role: "health", agent: "web-1" }));
    expect((await w.wait(link.expect("refused"))).code).toBe("E_IDENTITY");
  });
});

describe("an agent that asks", () => {
  async function failing(script: ConstructorParameters<typeof ScriptServer>[1]): Promise<[string, number]> {
    const clock = new SimClock();
    const server = new ScriptServer(clock, script);
    const asked = askHealth({ clock, dialer: server, identity: AGENT_IDENTITY }).catch((error: unknown) => error);
    const failure = await clock.until(asked, 60_000);
    const tookMs = clock.now();
    await clock.advance(30_000);
    expect([server.open.length, clock.pendingCount]).toEqual([0, 0]);
    return [failure instanceof Failure ? failure.code : String(failure), tookMs];
  }

  test("gives up a server that says nothing, before and after Welcome, and one that closes", async () => {
    const [silent, silentMs] = await failing(() => true);
    expect([silent, silentMs]).toEqual(["E_TIMEOUT", 15_000]);
    const [welcomed, welcomedMs] = await failing((link, arrived, server) => {
      if (arrived.type === "hello") server.welcome(link);
      return true;
    });
    expect([welcomed, welcomedMs]).toEqual(["E_TIMEOUT", 15_000]);
    const [closed] = await failing((link) => {
      link.end();
      return true;
    });
    expect(closed).toBe("E_DISCONNECTED");
  });

  test("hears why it is refused, and of a server that speaks another version", async () => {
    const [refused] = await failing((link, _, server) => {
      server.refuse(link, "E_SHUTDOWN");
      return true;
    });
    expect(refused).toBe("E_SHUTDOWN");
    const [version] = await failing((link, _, server) => {
      const { boot } = server;
      link.send("welcome", { version: 7, software: "x", boot, generation: 0, slotGeneration: 0 });
      return true;
    });
    expect(version).toBe("E_VERSION");
  });
});
