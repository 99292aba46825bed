/** A storage that is opened in bad circumstances: after a killed process, on a full disk, by root. */
import { expect, test } from "bun:test";
import { AssertionError } from "#base/assert.ts";
import { diskFailure } from "#store/disk.ts";
import { Storage } from "#store/storage.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import {
  type Kit,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_B,
  storageOptions,
  testFile,
} from "#test/support/store-kit.ts";

const file = testFile(seededRandom(41), [100, 200]);

async function backup(kit: Pick<Kit, "storage" | "clock">, changes: Parameters<typeof request>[0]) {
  const store = await kit.storage.createSession(request(changes), listen().events);
  for (const chunk of file.chunks) send(store, chunk);
  return kit.clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
}

test("what the next server answers survives a power loss, at whatever call the one before was killed", async () => {
  for (let call = 0; ; call += 1) {
    const disk = new MemoryDisk();
    const killed = Promise.withResolvers<boolean>();
    disk.hook = ({ index }) => {
      if (index < call) return;
      disk.crash();
      killed.resolve(true);
    };
    const life = openKit({ disk }).then((kit) => backup(kit, {}));
    const wasKilled = await Promise.race([killed.promise, life.then(() => false)]);
    const next = disk.restart();
    const kit = await openKit({ disk: next });
    for (const left of kit.storage.takeLeft().sessions) await left.discard();
    const answer = await backup(kit, { session: SESSION_B, startWallMs: Date.UTC(2026, 1, 13) });
    expect(next.reboot().tree("/srv/backup").get(answer.archive)).toEqual(file.bytes);
    if (!wasKilled) break;
  }
});

test("the lock that root makes belongs to the owner of the base directory, who may run the server next", async () => {
  const disk = new MemoryDisk({ privileged: true });
  await disk.mkdir("/srv", 0o755);
  await disk.mkdir("/srv/backup", 0o755);
  await disk.chown("/srv/backup", 1000, 1001);
  const kit = await openKit({ disk });
  const stat = await disk.lstat("/srv/backup/.nbackup/lock");
  expect([stat.uid, stat.gid]).toEqual([1000, 1001]);
  await kit.storage.close();
});

test("a storage on a full disk can be opened and rotated, also when its commit records are to be tidied up", async () => {
  const first = await openKit();
  await backup(first, {});
  await backup(first, { session: SESSION_B, startWallMs: Date.UTC(2026, 1, 13) });
  const { disk } = first;
  await first.storage.close();
  disk.hook = ({ call }) => {
    if (call === "create" || call === "write") throw diskError("ENOSPC");
  };
  // Both records are too old by now, so that the file would be written anew.
  const clock = new SimClock(Date.UTC(2026, 6, 1));
  const options = storageOptions({ disk, clock, maxBackups: 1 });
  const storage = await Storage.open(options);
  expect(await storage.rotate("web-01", "home", { dryRun: false })).toHaveLength(1);
  await storage.close();
  disk.hook = () => undefined;
  const later = await openKit({ disk });
  expect(later.storage.lastCommitted("web-01", "home")?.bytes).toBe(file.bytes.length);
  await later.storage.close();
});

test("a torn commit record on a full disk is overwritten by the next one", async () => {
  const first = await openKit();
  await backup(first, {});
  const { disk } = first;
  await first.storage.close();
  const path = "/srv/backup/.nbackup/commits.jsonl";
  const records = await disk.open(path, "read-write");
  await records.write(Buffer.from('{"type":"commit","comm'), await records.size());
  await records.close();
  disk.hook = ({ call }) => {
    if (call === "create") throw diskError("ENOSPC");
  };
  const second = await openKit({ disk });
  disk.hook = () => undefined;
  await backup(second, { session: SESSION_B, startWallMs: Date.UTC(2026, 1, 13) });
  await second.storage.close();
  const lines = String(disk.tree("/srv/backup").get(".nbackup/commits.jsonl")).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).intent.session)).toEqual([request().session, SESSION_B]);
});

test("a lock is given back even when the commit records cannot be closed", async () => {
  const { disk, storage } = await openKit();
  disk.hook = ({ call }) => {
    if (call === "close") throw diskError("EIO");
  };
  expect(await storage.close().then(String, String)).toContain("EIO");
  disk.hook = () => undefined;
  await (await openKit({ disk })).storage.close();
});

test("what the disk says has the code that tells the agent whether to come again", async () => {
  const said = (errno: string): string => diskFailure(diskError(errno), "writing").code;
  expect(["ENOSPC", "EDQUOT"].map(said)).toEqual(["E_DISK_FULL", "E_DISK_FULL"]);
  expect(["EIO", "EBADMSG", "EFBIG"].map(said)).toEqual(["E_DISK", "E_DISK", "E_DISK"]);
  const gone = ["EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "ELOOP", "ENODEV", "ESTALE", "EMFILE", "ENFILE"];
  expect(gone.map(said)).toEqual(gone.map(() => "E_STORAGE_FAILED"));
  expect(diskFailure(new AssertionError("a bug"), "writing").code).toBe("E_INTERNAL");
  const { disk, storage } = await openKit();
  disk.hook = ({ call }) => {
    if (call === "mkdir") throw diskError("EROFS");
  };
  const refused = await storage.createSession(request(), listen().events).then(String, String);
  expect(refused).toContain("E_STORAGE_FAILED");
});
