/** Verified archives: marks beside them, what waits for its verification, and rotation that knows both; at every call of the disk. */
import { describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { type ArchiveIdentity, type Finding, readDamage } from "#store/damage-mark.ts";
import { pruneAlone } from "#store/prune.ts";
import { recordAlone } from "#store/record-alone.ts";
import { Storage } from "#store/storage.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle, SimClock } from "#test/support/sim-clock.ts";
import {
  type Kit,
  listen,
  listLog,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  storageOptions,
  testFile,
} from "#test/support/store-kit.ts";

const BASE = "/srv/backup";
const ENTRY = "web-01/home";
const archiveOf = (day: number): string => `${ENTRY}/2026-01-0${day}T00-00-00-000Z.tar.gz`;
const DAMAGED: Finding = { ok: false, what: "1 damaged place", details: ["chunk 7 is damaged; data of /etc/passwd"] };
const WHOLE: Finding = { ok: true };
const BYTES = 100;
const READ: ArchiveIdentity = { bytes: BYTES, mtimeMs: 0 };
const RULE = { maxBackups: 2, minAgeMs: 0 };

/** Archives of so many days, all of the same length. */
async function plant(disk: MemoryDisk, days: number): Promise<void> {
  for (const path of ["web-01", ENTRY]) await disk.mkdir(`${BASE}/${path}`, 0o750).catch(() => undefined);
  for (let day = 1; day <= days; day += 1) disk.plant(`${BASE}/${archiveOf(day)}`, Buffer.alloc(BYTES, day));
}

const names = (disk: MemoryDisk): string[] => [...disk.tree(`${BASE}/${ENTRY}`).keys()];
const daysIn = (disk: MemoryDisk): number[] =>
  names(disk)
    .filter((name) => name.endsWith(".tar.gz"))
    .map((name) => Number(name.slice(8, 10)));
const damageOf = (disk: MemoryDisk, day: number): Promise<string | undefined> =>
  readDamage(disk, `${BASE}/${archiveOf(day)}`, READ);
const record = ({ storage }: Pick<Kit, "storage">, day: number, finding: Finding) =>
  storage.verifications.record(archiveOf(day), READ, finding, "scrub");

describe("a damaged archive", () => {
  test("gets a mark that people can read, and loses it when it is found whole", async () => {
    const kit = await openKit();
    await plant(kit.disk, 2);
    expect(await record(kit, 1, DAMAGED)).toEqual({ recorded: true, removed: [] });
    const text = String(kit.disk.tree(BASE).get(`${archiveOf(1)}.damaged`));
    expect(JSON.parse(text)).toMatchObject({ foundBy: "scrub", what: "1 damaged place", bytes: BYTES });
    expect(text).toContain("/etc/passwd");
    expect(await damageOf(kit.disk, 1)).toMatch(/^1 damaged place \(found by scrub at \d{4}-.*Z\)$/);
    expect(await damageOf(kit.disk, 2)).toBeUndefined();
    await record(kit, 1, WHOLE);
    expect(names(kit.disk).filter((name) => name.endsWith(".damaged"))).toEqual([]);
    await kit.storage.close();
    expect(kit.disk.openFiles).toBe(0);
  });

  test("does not count as good: rotation and prune keep as many good ones, and it goes when enough of them are newer", async () => {
    const kit = await openKit();
    await plant(kit.disk, 4);
    await record(kit, 4, DAMAGED);
    expect((await kit.storage.prune({}, RULE, false))[0]?.removed.map(({ archive }) => archive)).toEqual([
      archiveOf(1),
    ]);
    expect(daysIn(kit.disk)).toEqual([2, 3, 4]);
    await kit.storage.close();
    const alone = {
      name: "main",
      baseDir: BASE,
      rule: RULE,
      dryRun: false,
      disk: kit.disk,
      log: kit.log,
      nowWallMs: 0,
    };
    expect((await pruneAlone(alone, {}))[0]?.removed).toEqual([]);
    for (const day of [5, 6]) kit.disk.plant(`${BASE}/${archiveOf(day)}`, Buffer.alloc(BYTES));
    expect((await pruneAlone(alone, {}))[0]?.removed.map(({ archive }) => archive)).toEqual([2, 3, 4].map(archiveOf));
    expect(names(kit.disk).filter((name) => name.endsWith(".damaged"))).toEqual([]);
  });

  test("a mark of another file that had the name does not count; one made by hand, or unreadable, does", async () => {
    const kit = await openKit();
    await plant(kit.disk, 4);
    for (const day of [1, 2, 3]) await record(kit, day, DAMAGED);
    // Its file was replaced by one of another length; by one of another time; the third is what it was.
    kit.disk.plant(`${BASE}/${archiveOf(1)}`, Buffer.alloc(BYTES + 1));
    const mark = `${BASE}/${archiveOf(2)}.damaged`;
    kit.disk.plant(
      mark,
      Buffer.from(
        String(kit.disk.tree(BASE).get(`${archiveOf(2)}.damaged`)).replace('"mtimeMs": 0', '"mtimeMs": 1005'),
      ),
    );
    expect(await readDamage(kit.disk, `${BASE}/${archiveOf(1)}`, { ...READ, bytes: BYTES + 1 })).toBeUndefined();
    expect(await damageOf(kit.disk, 2)).toBeUndefined();
    expect(await damageOf(kit.disk, 3)).toContain("1 damaged place");
    kit.disk.plant(`${BASE}/${archiveOf(4)}.damaged`, Buffer.alloc(0));
    expect(await damageOf(kit.disk, 4)).toBe("it is marked as damaged by somebody");
    kit.disk.hook = ({ call, path }) => {
      if (call === "open" && path.endsWith(".damaged")) throw diskError("EACCES");
    };
    expect(await damageOf(kit.disk, 2)).toContain("cannot be read (EACCES)");
    kit.disk.hook = () => undefined;
    // Good are 1 and 2.
    expect((await kit.storage.prune({}, { maxBackups: 1, minAgeMs: 0 }, true))[0]?.removed).toMatchObject([
      { archive: archiveOf(1) },
    ]);
  });

  test("of which the file that was read is gone or another one by now, nothing is kept", async () => {
    const kit = await openKit();
    await plant(kit.disk, 2);
    const { verifications } = kit.storage;
    expect(await verifications.record(archiveOf(1), { ...READ, bytes: 7 }, DAMAGED, "scrub")).toMatchObject({
      recorded: false,
    });
    expect(await verifications.record(archiveOf(3), READ, DAMAGED, "scrub")).toMatchObject({ recorded: false });
    expect(names(kit.disk).filter((name) => name.endsWith(".damaged"))).toEqual([]);
    for (const name of ["../x", "a/b/c", `${archiveOf(1)}/x`, "/etc/passwd"]) {
      const error: unknown = await verifications
        .record(name, READ, DAMAGED, "scrub")
        .catch((reason: unknown) => reason);
      expect(error instanceof Failure ? error.code : error).toBe("E_NAME");
    }
  });

  test("counts as such while the server runs, also when the disk takes no mark", async () => {
    const kit = await openKit();
    await plant(kit.disk, 4);
    kit.disk.hook = ({ call, path }) => {
      if (call === "create" && path.endsWith("damaged.new")) throw diskError("ENOSPC");
    };
    const error: unknown = await record(kit, 4, DAMAGED).catch((reason: unknown) => reason);
    expect(error instanceof Failure ? error.code : error).toBe("E_STORAGE_FAILED");
    expect((await kit.storage.prune({}, RULE, true))[0]?.removed).toMatchObject([{ archive: archiveOf(1) }]);
    expect(await kit.storage.verifications.due(0, kit.clock.wall())).toHaveLength(4);
  });
});

test("whose reading cannot be noted is judged all the same, and due again", async () => {
  const kit = await openKit();
  await plant(kit.disk, 1);
  kit.disk.hook = ({ path }) => {
    if (path.includes("verified.jsonl")) throw diskError("ENOSPC");
  };
  expect(await record(kit, 1, DAMAGED)).toEqual({ recorded: true, removed: [] });
  expect(await damageOf(kit.disk, 1)).toContain("1 damaged place");
  expect(await kit.storage.verifications.due(1, kit.clock.wall())).toHaveLength(1);
  kit.disk.hook = () => undefined;
});

describe("a commit that is to be verified", () => {
  const file = testFile(seededRandom(1), [5000, 2000]);

  async function commit(kit: Pick<Kit, "storage" | "clock">, day: number, holdRotation = false) {
    const session = `0a0a0a0a-0000-4000-8000-00000000000${day}`;
    const changes = { session, startWallMs: Date.UTC(2026, 0, day), holdRotation };
    const store = await kit.storage.createSession(request(changes), listen().events);
    for (const chunk of file.chunks) send(store, chunk);
    return await kit.clock.until(
      store.finish(proofOf(file), () => undefined),
      60_000,
    );
  }
  const read: ArchiveIdentity = { bytes: 7000, mtimeMs: 0 };

  test("waits, and rotation with it, until it is found whole", async () => {
    const kit = await openKit({ maxBackups: 1, verifyIntegrity: true });
    await plant(kit.disk, 1);
    const { session, archive, removed, verify } = await commit(kit, 2);
    expect([removed, verify]).toEqual([[], "pending"]);
    await kit.storage.close();
    // Also for the next start, and for who prunes without a server.
    const alone = { name: "main", baseDir: BASE, rule: { maxBackups: 1, minAgeMs: 0 }, dryRun: false };
    const own = { disk: kit.disk, log: kit.log, nowWallMs: 0 };
    expect((await pruneAlone({ ...alone, ...own }, {}))[0]?.removed).toEqual([]);
    const next = await openKit({ disk: kit.disk, maxBackups: 1 });
    expect(next.storage.verifications.pending()).toMatchObject([{ session, archive }]);
    expect(await next.storage.verifications.due(0, next.clock.wall())).toMatchObject([{ archive: archiveOf(1) }]);
    const result = await next.storage.verifications.record(archive, read, WHOLE, "verify_integrity");
    expect(result).toEqual({ recorded: true, removed: [archiveOf(1)] });
    expect(next.storage.verifications.pending()).toEqual([]);
    await next.storage.close();
    const last = await openKit({ disk: kit.disk });
    expect(last.storage.commitRecord(session)).toMatchObject({ verify: "pending", verified: { result: "ok" } });
  });

  test("and is found whole on a disk that does not take the result is rotated for", async () => {
    const kit = await openKit({ maxBackups: 1, verifyIntegrity: true });
    await plant(kit.disk, 1);
    const { archive } = await commit(kit, 2);
    kit.disk.hook = ({ call, path }) => {
      if (call === "write" && path.includes("commits.jsonl")) throw diskError("ENOSPC");
    };
    const result = await kit.storage.verifications.record(archive, read, WHOLE, "verify_integrity");
    expect(result).toEqual({ recorded: true, removed: [archiveOf(1)] });
    kit.disk.hook = () => undefined;
  });

  test("and is found whole removes nothing when a newer commit holds rotation", async () => {
    const kit = await openKit({ maxBackups: 1, verifyIntegrity: true });
    await plant(kit.disk, 1);
    const older = await commit(kit, 2);
    const newer = await commit(kit, 3, true);
    for (const { archive } of [older, newer]) {
      const result = await kit.storage.verifications.record(archive, read, WHOLE, "verify_integrity");
      expect(result).toEqual({ recorded: true, removed: [] });
    }
    expect(daysIn(kit.disk)).toEqual([1, 2, 3]);
  });

  test("and is found damaged removes nothing, now or later", async () => {
    const kit = await openKit({ maxBackups: 1, verifyIntegrity: true });
    await plant(kit.disk, 1);
    const { session, archive } = await commit(kit, 2);
    const result = await kit.storage.verifications.record(archive, read, DAMAGED, "verify_integrity");
    expect(result).toEqual({ recorded: true, removed: [] });
    expect(await kit.storage.rotate("web-01", "home", { dryRun: false })).toEqual([]);
    expect(kit.storage.commitRecord(session)?.verified).toEqual({ result: "damaged", message: "1 damaged place" });
  });

  /** A pending archive is found damaged, or whole; the power goes before call `at`. True when it did. */
  async function crashWhile(finding: Finding, at: number, seed: number | undefined): Promise<boolean> {
    const kit = await openKit({ maxBackups: 1, verifyIntegrity: true });
    await plant(kit.disk, 1);
    for (const directory of [`${BASE}/web-01`, `${BASE}/${ENTRY}`]) await kit.disk.syncDirectory(directory);
    const { session, archive } = await commit(kit, 2);
    const start = kit.disk.calls;
    const crashed = Promise.withResolvers<boolean>();
    kit.disk.hook = ({ index }) => {
      if (index < start + at) return;
      kit.disk.crash();
      crashed.resolve(true);
    };
    const done = kit.storage.verifications.record(archive, read, finding, "verify_integrity").then(() => false);
    const hit = await Promise.race([crashed.promise, done]);
    await settle();
    const disk = kit.disk.reboot(seed === undefined ? undefined : seededRandom(seed));
    const storage = await Storage.open(storageOptions({ disk, clock: new SimClock(), log: listLog(), maxBackups: 1 }));
    const said = storage.commitRecord(session)?.verified?.result;
    const damage = await readDamage(disk, `${BASE}/${archive}`, read);
    // A mark is whole or not there; what was said of the commit is what the mark says; else it is read again.
    if (damage !== undefined) expect(damage).toContain("1 damaged place (found by verify_integrity");
    if (said === "damaged") expect(damage).toBeDefined();
    if (said === undefined) expect(storage.verifications.pending()).toHaveLength(1);
    if (!hit) expect(said).toBe(finding.ok ? "ok" : "damaged");
    // Until it was found whole, for good, the older one stands.
    if (said !== "ok") expect(daysIn(disk)).toEqual([1, 2]);
    expect(daysIn(disk)).toContain(2);
    await storage.verifications.record(archive, read, WHOLE, "scrub");
    expect(await readDamage(disk, `${BASE}/${archive}`, read)).toBeUndefined();
    await storage.rotate("web-01", "home", { dryRun: false });
    expect(names(disk).filter((name) => !name.startsWith("2026-01-02"))).toEqual([]);
    await storage.close();
    expect(disk.openFiles).toBe(0);
    return hit;
  }

  test("a power loss at any call leaves a result that holds, or another verification", async () => {
    for (const finding of [WHOLE, DAMAGED]) {
      let crashes = 0;
      for (const seed of [undefined, 1, 2, 3]) {
        for (let at = 0; await crashWhile(finding, at, seed); at += 1) crashes += 1;
      }
      expect(crashes).toBeGreaterThan(20);
    }
  });
});

describe("when archives were last read", () => {
  test("is known after a restart, and only of the file that was read", async () => {
    const kit = await openKit();
    await plant(kit.disk, 3);
    await kit.clock.advance(1000);
    await record(kit, 2, WHOLE);
    await kit.clock.advance(1000);
    await record(kit, 1, WHOLE);
    const due = async ({ storage, clock }: Pick<Kit, "storage" | "clock">): Promise<string[]> =>
      (await storage.verifications.due(0, clock.wall())).map(({ archive }) => archive);
    expect(await due(kit)).toEqual([3, 2, 1].map(archiveOf));
    await kit.storage.close();
    kit.disk.plant(`${BASE}/${archiveOf(1)}`, Buffer.alloc(BYTES + 1));
    const next = await openKit({ disk: kit.disk, clock: kit.clock });
    expect(await due(next)).toEqual([1, 3, 2].map(archiveOf));
    expect(await next.storage.verifications.due(kit.clock.wall(), kit.clock.wall())).toHaveLength(2);
  });

  test("a torn line costs one reading, and gone archives are forgotten", async () => {
    const kit = await openKit();
    await plant(kit.disk, 2);
    for (const day of [1, 2]) await record(kit, day, WHOLE);
    await kit.storage.close();
    const path = `${BASE}/.nbackup/verified.jsonl`;
    const text = String(kit.disk.tree(BASE).get(".nbackup/verified.jsonl"));
    kit.disk.plant(path, Buffer.from(text.slice(0, -10)));
    await kit.disk.unlink(`${BASE}/${archiveOf(1)}`);
    const next = await openKit({ disk: kit.disk });
    expect(await next.storage.verifications.due(1, 1)).toMatchObject([{ archive: archiveOf(2) }]);
    for (let times = 0; times < 1_010; times += 1) await record(next, 2, WHOLE);
    const lines = String(kit.disk.tree(BASE).get(".nbackup/verified.jsonl")).trimEnd().split("\n");
    expect(lines.length).toBeLessThan(100);
    expect(must(lines[0], "a line")).toContain(archiveOf(2));
  });
});

test("without a server a command keeps its result itself, and with one it may not", async () => {
  const kit = await openKit();
  await plant(kit.disk, 1);
  const options = { name: "main", baseDir: BASE, disk: kit.disk, clock: kit.clock, log: kit.log };
  const result = { finding: DAMAGED, by: "scrub" } as const;
  const error: unknown = await recordAlone(options, archiveOf(1), READ, result).catch((reason: unknown) => reason);
  expect(error instanceof Failure ? error.code : error).toBe("E_LOCKED");
  await kit.storage.close();
  expect(await recordAlone(options, archiveOf(1), READ, result)).toBe(true);
  expect(await damageOf(kit.disk, 1)).toContain("found by scrub");
  expect(kit.disk.openFiles).toBe(0);
  await (await openKit({ disk: kit.disk })).storage.close();
});
