/** The read desk of a whole server in memory: what an agent may list and read, what it costs the server, and how it ends. */
import { afterEach, describe, expect, test } from "bun:test";
import { KiB } from "#base/units.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import {
  ARCHIVE,
  ARCHIVE_BYTES,
  bytesOf,
  failed,
  INDEX_BYTES,
  openOf,
  OWN_FILES,
  plant,
  plantedWorld,
  readHello,
  readOf,
} from "#test/support/read-kit.ts";
import type { ScriptLink } from "#test/support/script-client.ts";
import { helloOf, type ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import { settle } from "#test/support/sim-clock.ts";

let world: ServerWorld | undefined;

async function planted(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await plantedWorld(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

describe("an agent that reads", () => {
  test("lists its archives, opens one and its index, and gets their bytes in the order in which it asked", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("list", { request: 1, facts: true });
    const first = await w.wait(link.expect("archives"));
    expect(first.rows).toEqual([{ storage: "main", backup: "home", name: ARCHIVE, bytes: 700_000, hasIndex: true }]);
    expect(await w.wait(link.expect("archives"))).toEqual({ request: 1, rows: [], last: true });
    link.send("open", openOf({ request: 2 }));
    expect(await w.wait(link.expect("opened"))).toEqual({ request: 2, archiveBytes: 700_000, indexBytes: 5000 });
    link.send("read", readOf({ request: 3, open: 2, length: 700_000 }));
    link.send("read", readOf({ request: 4, open: 2, file: 1, offset: 100, length: 50 }));
    link.send("open", openOf({ request: 5, name: "2020-01-01T00-00-00-000Z.tar.gz" }));
    expect(await failed(w, link)).toMatch(/^E_ARCHIVE_UNKNOWN: web-1\/home\/2020.* is gone/);
    expect(bytesOf(link, 3).equals(ARCHIVE_BYTES)).toBe(true);
    expect(bytesOf(link, 4).equals(INDEX_BYTES.subarray(100, 150))).toBe(true);
    expect(link.bytes.map(({ request, offset, payload }) => [request, offset, payload.length])).toEqual([
      [3, 0, 256 * KiB],
      [3, 256 * KiB, 256 * KiB],
      [3, 512 * KiB, 700_000 - 512 * KiB],
      [4, 100, 50],
    ]);
    link.send("goodbye", {});
    await w.wait(link.closed());
    expect(w.eventsOf("archive.read").map(({ fields }) => fields)).toEqual([
      { agent: "web-1", storage: "main", archive: `web-1/home/${ARCHIVE}`, remote: "192.0.2.7:40001" },
    ]);
    expect(w.eventsOf("archive.read-done")[0]?.fields).toMatchObject({ archives: 1, bytes: 700_050 });
    expect(w.disk.openFiles).toBe(OWN_FILES);
  });

  test("gets a list of 10,000 archives in frames that each are small", async () => {
    const w = await planted();
    for (let n = 0; n < 10_000; n += 1) {
      const time = new Date(n * 3_600_000).toISOString().replaceAll(/[:.]/g, "-");
      await plant(w.disk, `web-1/many/${time}.tar.gz`, Uint8Array.of(1));
    }
    const { link } = await readHello(w);
    link.send("list", { request: 1, backup: "many", facts: false });
    const names: string[] = [];
    for (;;) {
      const { rows, last } = await w.wait(link.expect("archives"));
      expect(rows.length).toBeLessThanOrEqual(64);
      names.push(...rows.map(({ name }) => name));
      if (last) break;
    }
    expect(names.length).toBe(10_000);
    expect(names).toEqual(names.toSorted().reverse());
  });

  test("goes on reading an archive that rotation has removed", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("open", openOf());
    await w.wait(link.expect("opened"));
    await w.disk.unlink(`/srv/backups/web-1/home/${ARCHIVE}`);
    link.send("read", readOf({ length: 700_000 }));
    link.send("open", openOf({ request: 3 }));
    expect(await failed(w, link)).toMatch(/^E_ARCHIVE_UNKNOWN/);
    expect(bytesOf(link, 2).equals(ARCHIVE_BYTES)).toBe(true);
  });

  test("hears of its storages that they refuse it, or cannot be used, each by itself", async () => {
    const storages = [
      storageConfig(),
      storageConfig({ name: "denied", baseDir: "/srv/denied", allowAgentRestore: false }),
      storageConfig({ name: "others", baseDir: "/srv/others", allowAgents: ["db-*"] }),
      storageConfig({ name: "gone", baseDir: "/srv/gone" }),
    ];
    const w = await planted({ storages });
    await w.disk.rename("/srv/gone", "/srv/away");
    const { link } = await readHello(w);
    const listed = async (): Promise<readonly string[]> => {
      const told: string[] = [];
      link.send("list", { request: 1, facts: false });
      for (;;) {
        const { rows, failure, last } = await w.wait(link.expect("archives"));
        told.push(...rows.map(({ storage }) => storage));
        if (failure !== undefined) told.push(`${failure.code} ${failure.retry}`);
        if (last) return told;
      }
    };
    // A storage in which it has nothing has nothing to refuse.
    expect(await listed()).toEqual(["main", "E_STORAGE_FAILED true"]);
    await w.wait(plant(w.disk, `web-1/home/${ARCHIVE}`, ARCHIVE_BYTES, "/srv/denied"));
    expect(await listed()).toEqual(["main", "E_RESTORE_DENIED false", "E_STORAGE_FAILED true"]);
    for (const [storage, code] of [
      ["denied", "E_RESTORE_DENIED"],
      ["others", "E_STORAGE_DENIED"],
      ["gone", "E_STORAGE_FAILED"],
      ["none", "E_STORAGE_UNKNOWN"],
    ] as const) {
      link.send("open", openOf({ request: 2, storage }));
      expect(await failed(w, link)).toStartWith(code);
    }
  });

  test("hears the errno of a sector that cannot be read, and reads what lies beside it", async () => {
    const w = await planted();
    w.disk.hook = ({ call, path, offset }) => {
      if (call === "read" && path.endsWith(ARCHIVE) && offset === 256 * KiB) throw diskError("EIO");
    };
    const { link } = await readHello(w);
    link.send("open", openOf());
    link.send("read", readOf({ request: 2, length: 700_000 }));
    link.send("read", readOf({ request: 3, offset: 600_000, length: 100_000 }));
    await w.wait(link.expect("opened"));
    const answer = await w.wait(link.expect("failed"));
    expect(answer).toMatchObject({ request: 2, code: "E_ARCHIVE_READ", errno: "EIO", retry: false });
    expect(answer.message).toBe(`web-1/home/${ARCHIVE} cannot be read at 262144: EIO`);
    await w.clock.advance(100);
    expect(bytesOf(link, 3).equals(ARCHIVE_BYTES.subarray(600_000))).toBe(true);
  });
});

describe("the server", () => {
  test("holds two pieces for an agent that takes nothing, and closes it after ten minutes", async () => {
    const w = await planted();
    let readBytes = 0;
    w.disk.hook = ({ call, length }) => {
      if (call === "read") readBytes += length ?? 0;
    };
    const { link, pipe } = await readHello(w);
    link.send("open", openOf());
    await w.wait(link.expect("opened"));
    pipe.client.pause();
    for (let request = 2; request < 20; request += 1) link.send("read", readOf({ request, length: 700_000 }));
    await w.clock.advance(5_000);
    // One with the network, one that it takes, one behind it.
    expect(readBytes).toBeLessThanOrEqual(4 * 256 * KiB);
    for (let beat = 0; beat < 130; beat += 1) {
      link.send("ping", { id: beat });
      await w.clock.advance(5_000);
    }
    expect(w.server.view().connectionCount).toBe(0);
    expect(w.disk.openFiles).toBe(OWN_FILES);
  });

  test("closes a connection on which nothing is asked for ten minutes", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("open", openOf());
    await w.clock.advance(590_000);
    expect(link.isClosed).toBe(false);
    await w.clock.advance(20_000);
    const last = link.received.at(-1);
    expect(last).toMatchObject({ type: "refused", body: { code: "E_TIMEOUT", retry: true } });
    expect(w.disk.openFiles).toBe(OWN_FILES);
  });

  test("waits for a disk that hangs 30 seconds, then asks it for nothing until it has answered", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("open", openOf());
    await w.wait(link.expect("opened"));
    const hang = Promise.withResolvers<void>();
    let calls = 0;
    w.disk.hook = async ({ call }) => {
      if (call !== "read") return;
      calls += 1;
      await hang.promise;
    };
    const beforeMs = w.clock.now();
    link.send("read", readOf());
    expect(await w.wait(link.expect("failed"))).toMatchObject({ code: "E_STORAGE_FAILED", retry: true });
    expect(w.clock.now() - beforeMs).toBeWithin(30_000, 31_000);
    for (const request of [3, 4, 5]) {
      link.send("read", readOf({ request }));
      expect(await failed(w, link)).toBe("E_STORAGE_FAILED: storage main: its disk does not answer");
    }
    expect(calls).toBe(1);
    link.send("close", { open: 1 });
    await w.clock.advance(10);
    expect(w.disk.openFiles).toBe(OWN_FILES + 2);
    hang.resolve();
    await settle();
    link.send("open", openOf({ request: 6 }));
    await w.wait(link.expect("opened"));
    link.send("read", readOf({ request: 7, open: 6 }));
    await w.clock.advance(100);
    expect(bytesOf(link, 7).equals(ARCHIVE_BYTES.subarray(0, 1000))).toBe(true);
    expect(w.disk.openFiles).toBe(OWN_FILES + 2);
  });

  test("that lists slowly for minutes lets others read meanwhile, and does not take the disk for one that hangs", async () => {
    const w = await planted();
    for (let n = 0; n < 150; n += 1) {
      const time = new Date(n * 3_600_000).toISOString().replaceAll(/[:.]/g, "-");
      await plant(w.disk, `web-1/many/${time}.tar.gz`, Uint8Array.of(1));
    }
    await w.session({}, { agent: "web-9" });
    const reader = await readHello(w);
    reader.link.send("open", openOf());
    await w.wait(reader.link.expect("opened"));
    // 150 times three calls of a second each: longer than all of a listing was given once.
    w.disk.hook = ({ path }) =>
      path.includes("/many/") ? new Promise<void>((resolve) => w.clock.after(1_000, resolve)) : undefined;
    const { link } = await readHello(w);
    link.send("list", { request: 1, backup: "many", facts: false });
    for (let request = 2; request < 50; request += 1) {
      reader.link.send("read", readOf({ request, length: 1000 }));
      for (const one of [reader.link, link]) one.send("ping", { id: request });
      await w.clock.advance(8_000);
      expect(bytesOf(reader.link, request).length).toBe(1000);
    }
    expect(link.received.some(({ type }) => type === "archives")).toBe(false);
    for (let request = 50; request < 62; request += 1) {
      link.send("ping", { id: request });
      await w.clock.advance(8_000);
    }
    const rows = link.received.flatMap(({ type, body }) =>
      type === "archives" ? (body as { rows: unknown[] }).rows : [],
    );
    expect(rows.length).toBe(150);
  });

  test("reads for many at once while nobody writes, for one at a time with pauses while a session runs", async () => {
    const w = await planted();
    let atOnce = 0;
    let most = 0;
    const times: number[] = [];
    w.disk.hook = async ({ call, path }) => {
      if (call !== "read" || !path.endsWith(ARCHIVE)) return;
      atOnce += 1;
      most = Math.max(most, atOnce);
      times.push(w.clock.now());
      await new Promise<void>((resolve) => w.clock.after(20, resolve));
      atOnce -= 1;
    };
    const readers: ScriptLink[] = [];
    for (let n = 0; n < 6; n += 1) {
      const { link } = await readHello(w);
      link.send("open", openOf());
      await w.wait(link.expect("opened"));
      readers.push(link);
    }
    const readAll = async (request: number): Promise<void> => {
      for (const link of readers) link.send("read", readOf({ request, length: 256 * KiB }));
      await w.clock.advance(1_000);
      for (const link of readers) expect(bytesOf(link, request).length).toBe(256 * KiB);
    };
    await readAll(2);
    expect(most).toBe(4);
    await w.session({}, { agent: "web-9" });
    most = 0;
    times.length = 0;
    await readAll(3);
    expect(most).toBe(1);
    const gaps = times.slice(1).map((time, n) => time - (times[n] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(40);
  });

  test("that stops tells who reads to come again, and closes what was open", async () => {
    const w = await planted();
    const { link } = await readHello(w);
    link.send("open", openOf());
    await w.wait(link.expect("opened"));
    void w.server.shutdown();
    expect(await w.wait(link.expect("refused"))).toMatchObject({ code: "E_SHUTDOWN", retry: true });
    await w.wait(link.closed());
    const { link: late } = w.connect();
    late.send("hello", helloOf({ role: "read" }));
    await w.wait(late.closed());
  });

  test("that stops does not wait for a read that hangs", async () => {
    const w = await planted({ disk: new MemoryDisk() });
    const { link } = await readHello(w);
    link.send("open", openOf());
    await w.wait(link.expect("opened"));
    const hang = Promise.withResolvers<void>();
    w.disk.hook = async ({ call }) => {
      if (call === "read") await hang.promise;
    };
    link.send("read", readOf());
    await w.clock.advance(10);
    await w.clock.until(w.server.shutdown(), 20_000);
    hang.resolve();
    await settle();
  });
});

test("all archives of a storage come with what was recorded of each entry's newest one", async () => {
  const w = await planted();
  const older = "2026-02-11T02-00-00-123Z.tar.gz";
  await w.wait(plant(w.disk, `web-1/home/${older}`, ARCHIVE_BYTES));
  const uuid = "00000000-0000-4000-8000-00000000000a";
  const line = (name: string): string => {
    const archive = `web-1/home/${name}`;
    const files = [{ file: 0, chunks: 1, bytes: ARCHIVE_BYTES.length, sha256: "ab".repeat(32), root: "cd".repeat(32) }];
    const names = { session: uuid, agent: "web-1", backup: "home", run: uuid, archive, files };
    const intent = { ...names, entries: 7, rawBytes: 8, problems: 2 };
    return `${JSON.stringify({ type: "commit", committedWallMs: Date.UTC(2026, 1, 12, 2, 1), intent })}\n`;
  };
  const records = await w.wait(w.disk.open("/srv/backups/.nbackup/commits.jsonl", "read-write"));
  await w.wait(records.write(Buffer.from(line(older) + line(ARCHIVE)), 0));
  await w.wait(records.close());
  const rows = await w.wait(w.server.library.listAll("main"));
  expect(rows.map(({ agent, name, entries, problems }) => [agent, name, entries, problems])).toEqual([
    ["web-1", ARCHIVE, 7, 2],
    ["web-1", older, undefined, undefined],
    ["web-2", ARCHIVE, undefined, undefined],
  ]);
});
