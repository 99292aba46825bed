/** The list of backups that nobody has any more, as a file: it outlives the server, has an end, and several writes become one. */
import { expect, test } from "bun:test";
import { GONE_BACKUPS_MAX, GoneBackups } from "#store/gone-backups.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { listLog } from "#test/support/store-kit.ts";

const STATE = "/state";

async function stateDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.mkdir(STATE, 0o700);
  await disk.syncDirectory("/");
  return disk;
}

function backup(n: number): NonNullable<GoneBackups["kept"]>[number] {
  return { agent: `web-${n}`, backup: "home", storage: "main", goneMs: n, toldWallMs: n % 2 === 0 ? n : null };
}

test("what was kept is there after a power loss; before that nothing is known", async () => {
  const disk = await stateDisk();
  const gone = await GoneBackups.open(disk, STATE, listLog());
  expect(gone.kept).toBeUndefined();
  await gone.keep([backup(1), backup(2)]);
  const rebooted = disk.reboot();
  const next = await GoneBackups.open(rebooted, STATE, listLog());
  expect(next.kept).toEqual([backup(1), backup(2)]);
  await next.keep([]);
  expect((await GoneBackups.open(rebooted.reboot(), STATE, listLog())).kept).toEqual([]);
  expect(rebooted.openFiles).toBe(0);
});

test("several that come at once are written together, the last of them", async () => {
  const disk = await stateDisk();
  const gone = await GoneBackups.open(disk, STATE, listLog());
  let writes = 0;
  disk.hook = ({ call }) => {
    if (call === "create") writes += 1;
  };
  await Promise.all(Array.from({ length: 20 }, (_, n) => gone.keep([backup(n)])));
  expect(writes).toBeLessThan(3);
  expect((await GoneBackups.open(disk, STATE, listLog())).kept).toEqual([backup(19)]);
});

test("more than the limit are never written: the oldest give way", async () => {
  const disk = await stateDisk();
  const gone = await GoneBackups.open(disk, STATE, listLog());
  await gone.keep(Array.from({ length: GONE_BACKUPS_MAX + 2 }, (_, n) => backup(n)));
  const { kept } = await GoneBackups.open(disk, STATE, listLog());
  expect([kept?.length, kept?.[0]]).toEqual([GONE_BACKUPS_MAX, backup(2)]);
});

test("a file of something else is said in the log, and nothing is known", async () => {
  for (const text of [
    "",
    "null",
    '{"backups":[{"agent":"a"}]}',
    JSON.stringify({ backups: [{ ...backup(1), goneMs: -1 }] }),
  ]) {
    const disk = await stateDisk();
    disk.plant(`${STATE}/gone-backups.json`, Buffer.from(text));
    const log = listLog();
    expect((await GoneBackups.open(disk, STATE, log)).kept).toBeUndefined();
    expect(log.lines.map(({ level }) => level)).toEqual(["warn"]);
  }
});
