/** Which chunks a cycle of syncs makes durable, and that those taken back are none of them. */
import { expect, test } from "bun:test";
import { Durability, SYNC_DELAY_MS } from "#store/durability.ts";
import { EagerPlacement } from "#store/eager-placement.ts";
import type { ChunkRecord } from "#store/journal-format.ts";
import { JournalWriter } from "#store/journal-writer.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const CHUNK: ChunkRecord = {
  ...{ file: 0, sequence: 0, offset: 0, storedLength: 10, rawLength: 10, crc: 0, kind: "data" },
  digest: new Uint8Array(32),
};

test("a chunk that is damaged twice while its first write runs becomes durable by its third copy alone", async () => {
  const clock = new SimClock();
  const disk = new MemoryDisk();
  const durable: ChunkRecord[] = [];
  const durability = new Durability({
    placement: new EagerPlacement([await disk.create("/part", 0o600)]),
    journal: new JournalWriter(await disk.create("/journal", 0o600), 0),
    clock,
    syncBytes: 1000,
    onDurable: (records) => void durable.push(...records),
    onFailure: (error) => {
      throw error;
    },
  });
  for (let copy = 1; copy <= 2; copy += 1) {
    durability.received(10);
    expect(durability.takeBack(CHUNK)).toBe(true);
  }
  durability.received(10);
  // The writes return in the order in which they were queued.
  durability.placed(CHUNK);
  durability.placed(CHUNK);
  await clock.advance(2 * SYNC_DELAY_MS);
  expect([durability.settled, durable.length]).toEqual([false, 0]);
  durability.placed(CHUNK);
  await clock.advance(2 * SYNC_DELAY_MS);
  expect([durability.settled, durable.length]).toEqual([true, 1]);
  await durability.stop();
});
