/** Pruning: with a server or alone, on a disk without a free byte, and never anything but archives. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { type PruneAloneOptions, pruneAlone } from "#store/prune.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { type Kit, listLog, openKit } from "#test/support/store-kit.ts";

const BASE = "/srv/backup";
const name = (day: number): string => `2026-01-${String(day).padStart(2, "0")}T00-00-00-000Z`;

/** An entry with archives of so many days, with companions. */
async function plant(disk: MemoryDisk, agent: string, backup: string, days: number, bytes = 100): Promise<void> {
  for (const path of [agent, `${agent}/${backup}`]) {
    await disk.mkdir(`${BASE}/${path}`, 0o750).catch(() => undefined);
  }
  for (let day = 1; day <= days; day += 1) {
    const path = `${BASE}/${agent}/${backup}/${name(day)}`;
    disk.plant(`${path}.tar.gz`, Buffer.alloc(bytes));
    disk.plant(`${path}.tar.gz.sha256`, Buffer.alloc(10));
    disk.plant(`${path}.idx`, Buffer.alloc(10));
  }
}

/** Every call that needs space fails, as on a disk without a free byte. */
function full(disk: MemoryDisk): void {
  disk.hook = ({ call }) => {
    if (["create", "write", "mkdir", "link", "rename", "lock"].includes(call)) throw diskError("ENOSPC");
  };
}

const archivesIn = (disk: MemoryDisk): string[] =>
  [...disk.tree(BASE).keys()].filter((path) => path.endsWith(".tar.gz"));

const RULE = { maxBackups: 2, minAgeMs: 0 };

function alone(kit: Kit, changes: Partial<PruneAloneOptions> = {}): PruneAloneOptions {
  return {
    ...{ name: "main", baseDir: BASE, rule: RULE, dryRun: false, disk: kit.disk, log: kit.log },
    ...{ nowWallMs: kit.clock.wall(), ...changes },
  };
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof Failure) return error;
  throw new Error(`expected a Failure, got ${String(error)}`);
}

describe("pruning an open storage", () => {
  test("ends with the entry in hand when the storage is closed, whose lock another one may have then", async () => {
    const { disk, storage } = await openKit();
    await plant(disk, "web-1", "etc", 4);
    await plant(disk, "web-1", "home", 4);
    const { promise, resolve } = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    disk.hook = ({ call, path }) => {
      if (call !== "unlink" || !path.includes("/etc/")) return undefined;
      begun.resolve();
      return promise;
    };
    const pruning = failureOf(storage.prune({}, RULE, false));
    await begun.promise;
    const closed = storage.close();
    resolve();
    await closed;
    const left = archivesIn(disk);
    expect((await pruning).code).toBe("E_STORAGE_FAILED");
    expect(left).toHaveLength(6);
    expect(archivesIn(disk)).toEqual(left);
  });

  test("applies the rule to every entry and says what went, with sizes, and how many stay", async () => {
    const { disk, storage } = await openKit();
    await plant(disk, "web-1", "home", 4);
    await plant(disk, "web-1", "etc", 1);
    await plant(disk, "db-1", "home", 3, 500);
    const pruned = await storage.prune({}, RULE, false);
    expect(
      pruned.map(({ agent, backup, removed, keptCount }) => [
        `${agent}/${backup}`,
        removed.map(({ archive, bytes }) => [archive.slice(-31, -21), bytes]),
        keptCount,
      ]),
    ).toEqual([
      ["db-1/home", [["2026-01-01", 500]], 2],
      ["web-1/etc", [], 1],
      [
        "web-1/home",
        [
          ["2026-01-01", 100],
          ["2026-01-02", 100],
        ],
        2,
      ],
    ]);
    expect(archivesIn(disk)).toHaveLength(5);
    expect([...disk.tree(`${BASE}/web-1/home`).keys()]).toHaveLength(6);
  });

  test("with a full disk works, and the room is free", async () => {
    const { disk, storage } = await openKit();
    await plant(disk, "web-1", "home", 5);
    const before = disk.usedBytes;
    full(disk);
    const [pruned] = await storage.prune({}, RULE, false);
    expect(pruned?.removed).toHaveLength(3);
    expect(before - disk.usedBytes).toBe(3 * 120);
    expect(archivesIn(disk)).toHaveLength(2);
  });

  test("only looks when it is a dry run", async () => {
    const { disk, storage } = await openKit();
    await plant(disk, "web-1", "home", 5);
    const before = [...disk.tree(BASE).keys()];
    disk.hook = ({ call }) => {
      if (["unlink", "syncDirectory", "create", "write"].includes(call)) throw new Error(`${call} in a dry run`);
    };
    const [pruned] = await storage.prune({}, RULE, true);
    expect(pruned?.removed).toHaveLength(3);
    expect([...disk.tree(BASE).keys()]).toEqual(before);
  });

  test("of one agent, or one entry of it, leaves the others alone", async () => {
    const { disk, storage } = await openKit();
    for (const [agent, backup] of [
      ["web-1", "home"],
      ["web-1", "etc"],
      ["web-2", "home"],
    ] as const) {
      await plant(disk, agent, backup, 3);
    }
    expect(await storage.prune({ agent: "web-1", backup: "etc" }, RULE, false)).toHaveLength(1);
    expect(await storage.prune({ agent: "web-1" }, RULE, false)).toHaveLength(2);
    expect(await storage.prune({ agent: "nobody" }, RULE, false)).toEqual([]);
    expect(archivesIn(disk)).toHaveLength(7);
    expect((await failureOf(storage.prune({ agent: "../.." }, RULE, false))).code).toBe("E_NAME");
  });

  test("touches no file that is not an archive, goes through no link, and leaves what the disk refuses to remove", async () => {
    const { disk, storage, log } = await openKit();
    await plant(disk, "web-1", "home", 4);
    disk.plant(`${BASE}/web-1/home/notes.tar.gz`, Buffer.alloc(1));
    disk.plant(`${BASE}/stray.tar.gz`, Buffer.alloc(1));
    await disk.mkdir("/elsewhere", 0o755);
    await disk.mkdir("/elsewhere/home", 0o755);
    for (let day = 1; day <= 4; day += 1) disk.plant(`/elsewhere/home/${name(day)}.tar.gz`, Buffer.alloc(1));
    disk.symlink("/elsewhere", `${BASE}/web-2`);
    disk.hook = ({ call, path }) => {
      if (call === "unlink" && path.endsWith(`${name(1)}.tar.gz`)) throw diskError("EPERM");
    };
    const pruned = await storage.prune({}, RULE, false);
    expect(pruned).toMatchObject([
      { agent: "web-1", removed: [{ bytes: 100 }], stuck: [{ bytes: 100 }], keptCount: 2 },
    ]);
    expect(disk.tree("/elsewhere").size).toBe(5);
    expect(archivesIn(disk)).toContain("web-1/home/notes.tar.gz");
    expect(archivesIn(disk)).toContain("stray.tar.gz");
    expect(log.lines.some(({ level, message }) => level === "error" && message.includes("could not be removed"))).toBe(
      true,
    );
  });

  test("at the same time as a rotation removes nothing twice", async () => {
    const { disk, storage } = await openKit();
    await plant(disk, "web-1", "home", 4);
    const [pruned, rotated] = await Promise.all([
      storage.prune({}, RULE, false),
      storage.rotate("web-1", "home", { dryRun: false }),
    ]);
    // The storage keeps three, the rule given here two: each removed what was left of its own.
    expect([pruned[0]?.removed.length, rotated.length]).toEqual([1, 1]);
    expect(archivesIn(disk)).toHaveLength(2);
  });
});

describe("pruning without a server", () => {
  test("takes the storage's lock, works on a full disk and leaves unfinished sessions as they are", async () => {
    const kit = await openKit();
    await plant(kit.disk, "web-1", "home", 5);
    await kit.disk.mkdir(`${BASE}/.nbackup/sessions/0a0a0a0a-0000-4000-8000-00000000000a`, 0o700);
    await kit.storage.close();
    kit.disk.hook = ({ call, path }) => {
      const needsSpace = ["create", "write", "link", "rename"].includes(call);
      if (needsSpace || (call === "mkdir" && !path.startsWith(`${BASE}/.nbackup`))) throw diskError("ENOSPC");
    };
    const [pruned] = await pruneAlone(alone(kit), {});
    expect(pruned?.removed).toHaveLength(3);
    kit.disk.hook = () => undefined;
    expect([...kit.disk.tree(BASE).keys()].filter((path) => path.includes("0a0a0a0a"))).toHaveLength(1);
    // The lock was given back.
    expect((await pruneAlone(alone(kit), {}))[0]?.removed).toEqual([]);
    expect(kit.disk.openFiles).toBe(0);
  });

  test("is E_LOCKED while a server has the storage, and changes nothing", async () => {
    const kit = await openKit();
    await plant(kit.disk, "web-1", "home", 5);
    expect((await failureOf(pruneAlone(alone(kit), {}))).code).toBe("E_LOCKED");
    expect(archivesIn(kit.disk)).toHaveLength(5);
  });

  test("does not make the directory of a disk that is not mounted", async () => {
    const kit = await openKit();
    const failure = await failureOf(pruneAlone(alone(kit, { baseDir: "/srv/other", log: listLog() }), {}));
    expect(failure).toMatchObject({ code: "E_STORAGE_FAILED" });
    expect(kit.disk.tree("/srv").has("other/")).toBe(false);
  });
});

test("a storage is found to be read-only without a write", async () => {
  const { disk, storage } = await openKit();
  await storage.writable();
  disk.hook = ({ call }) => {
    if (call === "writable") throw diskError("EROFS");
    throw new Error(`a look does ${call}`);
  };
  expect(await failureOf(storage.writable())).toMatchObject({ code: "E_STORAGE_FAILED" });
});
