/** The list of directories that were storages: it outlives the server, and nothing depends on it when it is lost. */
import { expect, test } from "bun:test";
import { KnownStorages } from "#store/known-storages.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { listLog } from "#test/support/store-kit.ts";

const STATE = "/state";

async function stateDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.mkdir(STATE, 0o700);
  await disk.syncDirectory("/");
  return disk;
}

test("what was added is known after a power loss", async () => {
  const disk = await stateDisk();
  const known = await KnownStorages.open(disk, STATE, listLog());
  expect(known.has("/srv/a")).toBe(false);
  await known.add("/srv/a");
  await Promise.all([known.add("/srv/b"), known.add("/srv/b")]);
  const next = await KnownStorages.open(disk.reboot(), STATE, listLog());
  expect(["/srv/a", "/srv/b", "/srv/c"].map((dir) => next.has(dir))).toEqual([true, true, false]);
  expect(disk.openFiles).toBe(0);
});

test("what a killed process added is known after a power loss, once the next start has read it", async () => {
  const disk = await stateDisk();
  const known = await KnownStorages.open(disk, STATE, listLog());
  const killed = Promise.withResolvers<void>();
  disk.hook = ({ call }) => {
    if (call !== "syncDirectory") return;
    disk.crash();
    killed.resolve();
  };
  void known.add("/srv/a");
  await killed.promise;
  const restarted = disk.restart();
  const next = await KnownStorages.open(restarted, STATE, listLog());
  await next.add("/srv/a");
  const last = await KnownStorages.open(restarted.reboot(), STATE, listLog());
  expect(last.has("/srv/a")).toBe(true);
});

test("a list that cannot be read or written is said in the log, and stops nothing", async () => {
  const disk = await stateDisk();
  disk.plant(`${STATE}/storages.json`, Buffer.from('{"baseDirs":[1'));
  const log = listLog();
  const known = await KnownStorages.open(disk, STATE, log);
  disk.hook = ({ call }) => {
    if (call === "create") throw diskError("ENOSPC");
  };
  await known.add("/srv/a");
  expect(known.has("/srv/a")).toBe(true);
  expect(log.lines.map((line) => line.level)).toEqual(["warn", "warn"]);
});
