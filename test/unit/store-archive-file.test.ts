/** An archive opened to be read to its end: what lies beside it helps, and is not needed. */
import { expect, test } from "bun:test";
import { closeOpened, openForReading } from "#store/archive-file.ts";
import { StorageRoot } from "#store/storage-root.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";

const ARCHIVE = "web-1/etc/2026-02-12T02-00-00-123Z.tar.gz";
const PATH = `/srv/backup/${ARCHIVE}`;
const SUM = "ab".repeat(32);

async function planted(): Promise<{ disk: MemoryDisk; root: StorageRoot }> {
  const disk = new MemoryDisk();
  const root = await StorageRoot.open(disk, "/srv/backup", false);
  for (const directory of ["/srv/backup/web-1", "/srv/backup/web-1/etc"]) await disk.mkdir(directory, 0o750);
  disk.plant(PATH, Buffer.from("archive"));
  return { disk, root };
}

async function sumOf(root: StorageRoot): Promise<string | undefined> {
  const opened = await openForReading(root, ARCHIVE);
  if (opened === undefined) throw new Error("it is gone");
  await closeOpened(opened);
  return opened.sha256;
}

test("the sum beside an archive is the one that sha256sum wrote", async () => {
  const { disk, root } = await planted();
  expect(await sumOf(root)).toBeUndefined();
  disk.plant(`${PATH}.sha256`, Buffer.from(`${SUM}  2026-02-12T02-00-00-123Z.tar.gz\n`));
  expect(await sumOf(root)).toBe(SUM);
});

test("a sum that is a directory, a link, or on a bad block is none: the archive has checksums of its own", async () => {
  const plant: readonly ((disk: MemoryDisk) => unknown)[] = [
    (disk) => disk.mkdir(`${PATH}.sha256`, 0o750),
    (disk) => disk.symlink("elsewhere", `${PATH}.sha256`),
    (disk) => {
      disk.plant(`${PATH}.sha256`, Buffer.from(`${SUM}  x\n`));
      disk.hook = ({ path }) => {
        if (path === `${PATH}.sha256`) throw diskError("EIO", path);
      };
    },
  ];
  for (const one of plant) {
    const { disk, root } = await planted();
    await one(disk);
    expect(await sumOf(root)).toBeUndefined();
    expect(disk.openFiles).toBe(0);
  }
});
