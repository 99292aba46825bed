/** A storage: its lock, its archives, rotation, commit records, what it does with left-overs and with planted links. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { archiveFileName } from "#store/archive-names.ts";
import { CommitLog } from "#store/commit-log.ts";
import type { CommitIntent } from "#store/records.ts";
import { StorageRoot } from "#store/storage-root.ts";
import { Storage } from "#store/storage.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import {
  type Kit,
  listen,
  listLog,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  SESSION_B,
  storageOptions,
  testFile,
} from "#test/support/store-kit.ts";

const DAY_MS = 24 * 3600 * 1000;
const NAME = "2026-02-12T02-00-00-123Z.tar.gz";
const file = testFile(seededRandom(1), [100, 200]);

async function backup(kit: Pick<Kit, "storage" | "clock">, changes: Parameters<typeof request>[0]) {
  const store = await kit.storage.createSession(request(changes), listen().events);
  for (const chunk of file.chunks) send(store, chunk);
  return kit.clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
}

function sessionId(number: number): string {
  return `${String(number).padStart(8, "0")}-0000-4000-8000-000000000000`;
}

test("a base directory that is missing is made, with everything above it", async () => {
  const { disk } = await openKit({ baseDir: "/a/b/c" });
  expect([...disk.reboot().tree("/").keys()].slice(0, 4)).toEqual(["a/", "a/b/", "a/b/c/", "a/b/c/.nbackup/"]);
});

test("a storage that is open cannot be opened again: E_LOCKED; closed it can", async () => {
  const { storage, disk } = await openKit();
  expect(openKit({ disk })).rejects.toThrow("in use by another nbackup-server");
  expect(await openKit({ disk }).catch((error: unknown) => error)).toMatchObject({ code: "E_LOCKED" });
  await storage.close();
  const again = await openKit({ disk });
  expect(again.storage.name).toBe("main");
});

test("a directory that cannot be used is E_STORAGE_FAILED with the reason, and leaves the lock free", async () => {
  const disk = new MemoryDisk();
  for (const [call, errno] of [
    ["mkdir", "EROFS"],
    ["create", "EIO"],
    ["link", "EPERM"],
    ["readdir", "EIO"],
  ] as const) {
    disk.hook = (event) => {
      if (event.call === call) throw diskError(errno);
    };
    const failure = await openKit({ disk }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "E_STORAGE_FAILED" });
    expect(String(failure)).toContain(call === "link" ? "without hard links" : errno);
    disk.hook = () => undefined;
    if (call === "mkdir") await (await openKit({ disk })).storage.close();
  }
  await (await openKit({ disk })).storage.close();
  expect(disk.openFiles).toBe(0);
});

test("a session whose agent or backup is no name, or whose id is none, is refused before anything is made", async () => {
  const { storage, disk } = await openKit();
  const before = [...disk.tree("/").keys()];
  for (const changes of [
    { agent: ".." },
    { agent: "a/b" },
    { backup: ".nbackup" },
    { session: "../../../etc" },
    { run: "x" },
  ]) {
    const attempt = storage.createSession(request(changes), listen().events);
    expect(await attempt.catch((error: unknown) => error)).toMatchObject({ code: "E_NAME" });
  }
  expect([...disk.tree("/").keys()]).toEqual(before);
});

test("one entry has one session; another may begin when it has ended", async () => {
  const { storage } = await openKit();
  const first = await storage.createSession(request(), listen().events);
  const attempt = storage.createSession(request({ session: SESSION_B }), listen().events);
  expect(await attempt.catch((error: unknown) => error)).toMatchObject({ code: "E_BUSY" });
  await first.abort(new Failure("E_ABORTED", "by the test"));
  const second = await storage.createSession(request({ session: SESSION_B }), listen().events);
  expect(second.archive).toBe(`web-01/home/${NAME}`);
});

test("an archive is never named earlier than the ones before it, also when the clock was set back", async () => {
  const kit = await openKit({ maxBackups: 1 });
  const startWallMs = Date.UTC(2030, 0, 1);
  await backup(kit, { session: sessionId(1), startWallMs });
  const next = await backup(kit, { session: sessionId(2), startWallMs: startWallMs - DAY_MS });
  expect(next.archive).toBe("web-01/home/2030-01-01T00-00-00-001Z.tar.gz");
  // Also when all archives were taken away: the commit record remembers the last name.
  for (const name of await kit.disk.readdir("/srv/backup/web-01/home")) {
    await kit.disk.unlink(`/srv/backup/web-01/home/${name}`);
  }
  const third = await backup(kit, { session: sessionId(3), startWallMs: 0, compression: "zst" });
  expect(third.archive).toBe("web-01/home/2030-01-01T00-00-00-002Z.tar.zst");
});

test("rotation keeps the newest, removes the others with their companions, and touches nothing else", async () => {
  const kit = await openKit({ maxBackups: 2 });
  const made: string[] = [];
  for (let day = 0; day < 3; day += 1) {
    const startWallMs = Date.UTC(2026, 1, 12 + day);
    const answer = await backup(kit, { session: sessionId(day), startWallMs });
    made.push(answer.archive);
    expect(answer.removed).toEqual(day < 2 ? [] : [String(made[0])]);
    if (day > 0) continue;
    for (const name of ["notes.txt", "2026-02-12.tar.gz", "2026-02-12T00-00-00-000Z.tar.gz.part"]) {
      kit.disk.plant(`/srv/backup/web-01/home/${name}`, Buffer.from("mine"));
    }
    kit.disk.plant("/srv/backup/web-01/home/2026-02-12T00-00-00-000Z.idx", Buffer.from("index"));
  }
  expect([...kit.disk.tree("/srv/backup/web-01/home").keys()]).toEqual([
    "2026-02-12.tar.gz",
    "2026-02-12T00-00-00-000Z.tar.gz.part",
    "2026-02-13T00-00-00-000Z.tar.gz",
    "2026-02-13T00-00-00-000Z.tar.gz.sha256",
    "2026-02-14T00-00-00-000Z.tar.gz",
    "2026-02-14T00-00-00-000Z.tar.gz.sha256",
    "notes.txt",
  ]);
  expect(kit.log.lines.filter((line) => line.message === "archive removed by rotation")).toHaveLength(1);
  // The answer to a Finish that is asked again names them too, after a restart as well.
  await kit.storage.close();
  const again = await openKit({ disk: kit.disk });
  expect(again.storage.commitRecord(sessionId(2))?.removed).toEqual([String(made[0])]);
  expect(again.storage.commitRecord(sessionId(0))?.archive).toBe(String(made[0]));
});

test("the commit of one agent does not wait until a large archive of another is removed", async () => {
  const kit = await openKit({ maxBackups: 1 });
  await backup(kit, {});
  const gate = Promise.withResolvers<void>();
  const removing = Promise.withResolvers<void>();
  kit.disk.hook = ({ call, path }) => {
    if (call !== "unlink" || !path.endsWith(`web-01/home/${NAME}`)) return undefined;
    removing.resolve();
    return gate.promise;
  };
  const slow = backup(kit, { session: SESSION_B, startWallMs: Date.UTC(2026, 1, 13) });
  await removing.promise;
  const other = await backup(kit, { session: sessionId(3), agent: "web-02" });
  expect(other.archive).toBe(`web-02/home/${NAME}`);
  gate.resolve();
  expect((await slow).removed).toEqual([`web-01/home/${NAME}`]);
  await kit.storage.close();
});

test("an archive that cannot be removed does not fail the backup, and goes with the next rotation", async () => {
  const kit = await openKit({ maxBackups: 1 });
  await backup(kit, { session: sessionId(1) });
  kit.disk.hook = ({ call, path }) => {
    if (call === "unlink" && path.endsWith(`home/${NAME}`)) throw diskError("EPERM");
  };
  const answer = await backup(kit, { session: sessionId(2), startWallMs: Date.UTC(2026, 1, 13) });
  expect(answer.removed).toEqual([]);
  expect(kit.log.lines.map((line) => line.message)).toContain("an archive could not be removed by rotation");
  kit.disk.hook = () => undefined;
  expect(await kit.storage.rotate("web-01", "home", { dryRun: true })).toEqual([`web-01/home/${NAME}`]);
  expect(await kit.storage.archives("web-01", "home")).toHaveLength(2);
  expect(await kit.storage.rotate("web-01", "home", { dryRun: false })).toEqual([`web-01/home/${NAME}`]);
  expect(await kit.storage.archives("web-01", "home")).toHaveLength(1);
});

test("links that were planted inside the storage are neither followed nor listed", async () => {
  const kit = await openKit();
  await kit.disk.mkdir("/etc", 0o755);
  kit.disk.plant(`/etc/${NAME}`, Buffer.from("secret"));
  kit.disk.symlink("/etc", "/srv/backup/web-01");
  await kit.disk.mkdir("/srv/backup/web-02", 0o755);
  kit.disk.symlink("/etc", "/srv/backup/web-02/home");
  for (const agent of ["web-01", "web-02"]) {
    for (const attempt of [
      kit.storage.archives(agent, "home"),
      kit.storage.rotate(agent, "home", { dryRun: false }),
      kit.storage.createSession(request({ agent }), listen().events),
    ]) {
      const failure = await attempt.catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "E_STORAGE_FAILED" });
      expect(String(failure)).toContain("is a symlink, not a directory");
    }
  }
  await kit.disk.mkdir("/srv/backup/web-03", 0o755);
  await kit.disk.mkdir("/srv/backup/web-03/home", 0o755);
  kit.disk.symlink(`/etc/${NAME}`, `/srv/backup/web-03/home/${NAME}`);
  expect(await kit.storage.archives("web-03", "home")).toEqual([]);
  expect([...kit.disk.tree("/etc").keys()]).toEqual([NAME]);
});

test("a link that is planted while a session runs does not lead its commit out of the storage", async () => {
  const kit = await openKit();
  const store = await kit.storage.createSession(request(), listen().events);
  for (const chunk of file.chunks) send(store, chunk);
  await kit.disk.mkdir("/etc", 0o755);
  kit.disk.symlink("/etc", "/srv/backup/web-01");
  const finished = kit.clock.until(
    store.finish(proofOf(file), () => undefined).catch((error: unknown) => error),
    10_000,
  );
  expect(await finished).toMatchObject({ code: "E_STORAGE_FAILED" });
  expect([...kit.disk.tree("/etc").keys()]).toEqual([]);
});

test("a control directory that is a link is refused", async () => {
  const disk = new MemoryDisk();
  await disk.mkdir("/srv", 0o755);
  await disk.mkdir("/srv/backup", 0o755);
  await disk.mkdir("/etc", 0o755);
  disk.symlink("/etc", "/srv/backup/.nbackup");
  expect(await openKit({ disk }).catch((error: unknown) => error)).toMatchObject({ code: "E_STORAGE_FAILED" });
  expect([...disk.tree("/etc").keys()]).toEqual([]);
});

test("a base directory that is itself a link is the administrator's choice", async () => {
  const disk = new MemoryDisk();
  await disk.mkdir("/data", 0o755);
  await disk.mkdir("/srv", 0o755);
  disk.symlink("/data", "/srv/backup");
  const kit = await openKit({ disk });
  await backup(kit, {});
  expect(disk.tree("/data").get(`web-01/home/${NAME}`)).toEqual(file.bytes);
});

test("what a dead server left without a journal is removed at the start, with a line in the log, and other things are left alone", async () => {
  const kit = await openKit();
  await kit.storage.createSession(request(), listen().events);
  const disk = kit.disk.reboot();
  await disk.unlink(`/srv/backup/.nbackup/sessions/${SESSION_A}/journal`);
  disk.plant("/srv/backup/.nbackup/sessions/README", Buffer.from("mine"));
  const log = listLog();
  const storage = await Storage.open(storageOptions({ disk, log }));
  expect(storage.takeLeft()).toEqual({ sessions: [], casualties: [], completed: [] });
  expect([...disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual(["README"]);
  const line = log.lines.find((each) => each.message.startsWith("what is left of a session"));
  expect(line?.fields).toEqual({ session: SESSION_A });
});

test("files that root makes belong to the owner of the base directory, archives may be read by its group only", async () => {
  const disk = new MemoryDisk({ privileged: true });
  await disk.mkdir("/srv", 0o755);
  await disk.mkdir("/srv/backup", 0o755);
  await disk.chown("/srv/backup", 1000, 1001);
  const kit = await openKit({ disk });
  await backup(kit, {});
  for (const [path, mode] of [
    [".nbackup", 0o700],
    [".nbackup/commits.jsonl", 0o600],
    ["web-01", 0o750],
    ["web-01/home", 0o750],
    [`web-01/home/${NAME}`, 0o640],
    [`web-01/home/${NAME}.sha256`, 0o640],
  ] as const) {
    const stat = await disk.lstat(`/srv/backup/${path}`);
    expect([path, stat.uid, stat.gid, stat.mode]).toEqual([path, 1000, 1001, mode]);
  }
});

function intent(number: number, backupName = "home"): CommitIntent {
  const hash = "ab".repeat(32);
  const archive = `web-01/${backupName}/${archiveFileName(number, "gzip")}`;
  return {
    ...{ session: sessionId(number), agent: "web-01", backup: backupName, run: sessionId(0), archive },
    files: [{ file: 0, chunks: 1, bytes: number, sha256: hash, root: hash }],
    ...{ entries: number, rawBytes: 1, problems: 0 },
  };
}

async function openLog(disk: MemoryDisk, nowMs: number) {
  const log = listLog();
  const root = await StorageRoot.open(disk, "/srv/backup", false);
  return { commits: await CommitLog.open(root, log, nowMs), log };
}

const LINES = "/srv/backup/.nbackup/commits.jsonl";

test("a commit record whose line was torn by a crash is dropped, and the file goes on whole", async () => {
  const disk = new MemoryDisk();
  const first = await openLog(disk, 0);
  await first.commits.add(intent(1), 1000, "none");
  await first.commits.close();
  const whole = String(disk.tree(LINES).get(""));
  disk.plant(LINES, Buffer.from(`${whole}{"type":"commit","committedWallMs":5,"int`));
  const second = await openLog(disk, 2000);
  expect(second.commits.find(sessionId(1))?.bytes).toBe(1);
  await second.commits.add(intent(2), 2000, "none");
  await second.commits.close();
  const third = await openLog(disk, 2000);
  expect([1, 2].map((number) => third.commits.find(sessionId(number))?.bytes)).toEqual([1, 2]);
  expect(third.log.lines).toEqual([]);
});

test("commit records are kept for 30 days, the newest of each entry for ever", async () => {
  const disk = new MemoryDisk();
  const first = await openLog(disk, 0);
  await first.commits.add(intent(1), 0, "none");
  await first.commits.add(intent(2), DAY_MS, "none");
  await first.commits.add(intent(3, "etc"), DAY_MS, "none");
  await first.commits.close();
  const second = await openLog(disk, 30.5 * DAY_MS);
  expect([1, 2, 3].map((number) => second.commits.find(sessionId(number))?.bytes)).toEqual([undefined, 2, 3]);
  await second.commits.close();
  const third = await openLog(disk, 400 * DAY_MS);
  expect(third.commits.find(sessionId(2))).toBeUndefined();
  expect(third.commits.newest("web-01", "home")?.entries).toBe(2);
  expect(third.commits.newest("web-01", "etc")?.entries).toBe(3);
  expect(third.commits.newest("web-01", "var")).toBeUndefined();
});

test("a commit record that waits for its verification is kept until that is done, however old and however many follow", async () => {
  const disk = new MemoryDisk();
  const first = await openLog(disk, 0);
  await first.commits.add(intent(1), 0, "pending");
  await first.commits.add(intent(2), 0, "none");
  await first.commits.close();
  const line = String(disk.tree(LINES).get("")).split("\n")[1] ?? "";
  const more = Array.from({ length: 10_000 }, (_, n) => line.replaceAll(sessionId(2), sessionId(n + 3)));
  disk.plant(LINES, Buffer.from(`${String(disk.tree(LINES).get(""))}${more.join("\n")}\n`));
  const crowded = await openLog(disk, 0);
  const found = [1, 2, 4, 10_002].map((number) => crowded.commits.find(sessionId(number))?.bytes);
  expect(found).toEqual([1, undefined, 2, 2]);
  await crowded.commits.close();
  const late = await openLog(disk, 31 * DAY_MS);
  expect(late.commits.isPending(intent(1).archive)).toBe(true);
  expect(late.commits.find(sessionId(4))).toBeUndefined();
  await late.commits.addVerified(sessionId(1), { result: "ok", message: "" });
  await late.commits.close();
  const last = await openLog(disk, 31 * DAY_MS);
  expect([last.commits.isPending(intent(1).archive), last.commits.find(sessionId(1))]).toEqual([false, undefined]);
});

test("at most 10,000 commit records are kept, and the file does not grow without end", async () => {
  const disk = new MemoryDisk();
  const { commits } = await openLog(disk, 0);
  for (let number = 1; number <= 20_500; number += 1) {
    await commits.add(intent(number), number, "none");
    await commits.addRemoved(sessionId(number), [intent(1).archive, intent(2).archive, intent(3).archive]);
  }
  expect(commits.find(sessionId(10_500))).toBeUndefined();
  expect(commits.find(sessionId(10_501))?.removed).toHaveLength(3);
  await commits.close();
  expect(String(disk.tree(LINES).get("")).split("\n").length).toBeLessThan(40_000);
  const again = await openLog(disk, 20_500);
  expect(again.commits.find(sessionId(10_500))).toBeUndefined();
  expect(again.commits.find(sessionId(20_500))?.bytes).toBe(20_500);
});

test("storages whose base directories lack the same parent can be opened side by side", async () => {
  const disk = new MemoryDisk();
  const open = (name: string): Promise<Storage> =>
    Storage.open(storageOptions({ disk, name, baseDir: `/srv/new/${name}` }));
  const storages = await Promise.all([open("a"), open("b"), open("c")]);
  for (const name of ["a", "b", "c"]) expect((await disk.lstat(`/srv/new/${name}/.nbackup`)).type).toBe("directory");
  for (const storage of storages) await storage.close();
});
