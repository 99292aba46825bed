/** The places of chunks, called as the rest of the store calls them. */
import { expect, test } from "bun:test";
import { EagerPlacement } from "#store/eager-placement.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";

const quiet = { check: () => undefined, progress: () => undefined };

async function eager(): Promise<{ readonly disk: MemoryDisk; readonly placement: EagerPlacement }> {
  const disk = new MemoryDisk();
  return { disk, placement: new EagerPlacement([await disk.create("/0", 0o640), await disk.create("/1", 0o640)]) };
}

test("an eager chunk is held when its part reaches to its end", async () => {
  const { disk, placement } = await eager();
  const chunk = { file: 1, sequence: 2, offset: 100, storedLength: 50 } as const;
  expect(await placement.holds(chunk)).toBe(false);
  await placement.write(chunk, new Uint8Array(49), 100);
  expect(await placement.holds(chunk)).toBe(false);
  await placement.write(chunk, new Uint8Array(1), 149);
  expect(await placement.holds(chunk)).toBe(true);
  await placement.close();
  expect(disk.openFiles).toBe(0);
});

test("assembling eager parts cuts off what stands behind the end, and misses what is not there", async () => {
  const { disk, placement } = await eager();
  await placement.write({ file: 0, sequence: 0, offset: 0, storedLength: 60 }, new Uint8Array(60), 0);
  const files = (bytes: number) => [
    { chunks: 1, bytes },
    { chunks: 0, bytes: 0 },
  ];
  await placement.assemble(files(50), quiet);
  expect((await disk.lstat("/0")).size).toBe(50);
  expect(placement.assemble(files(51), quiet)).rejects.toThrow("50 bytes on the disk, expected 51");
});
