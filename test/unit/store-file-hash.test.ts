/** The in-order hash and what it reads back from the disk. */
import { createHash } from "node:crypto";
import { expect, test } from "bun:test";
import { BufferPool } from "#store/buffer-pool.ts";
import { ChunkBuffer } from "#store/chunk-buffer.ts";
import { EagerPlacement } from "#store/eager-placement.ts";
import { FileHash, type HashItem } from "#store/file-hash.ts";
import { HashTurns } from "#store/hash-turns.ts";
import { IntakeMemory } from "#store/intake-memory.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const BYTES = Buffer.from("what lies on the disk");

function itemOnDisk(): HashItem {
  const piece = { offset: 0, length: BYTES.length, unwritten: false, wanted: true, reading: false };
  const digest = createHash("sha256").update(BYTES).digest();
  return {
    ...{ file: 0, sequence: 0, offset: 0, storedLength: BYTES.length, digest },
    pieces: [{ ...piece, buffer: undefined }],
  };
}

test("a read that comes back short counts only while its bytes are wanted", async () => {
  const [disk, clock, pool] = [new MemoryDisk(), new SimClock(), new BufferPool()];
  disk.plant("/part", BYTES);
  const part = await disk.open("/part", "read-write");
  const share = new ChunkBuffer({ bytesMax: 0, drainRatio: 0, clock }).join({
    relief: () => undefined,
    write: () => undefined,
    holdBytesMax: 4096,
  });
  const failures: unknown[] = [];
  const hash = new FileHash({
    ...{ placement: new EagerPlacement([part, part]), pool, turns: new HashTurns(clock) },
    memory: new IntakeMemory(pool, share, 4096),
    onFailure: (error) => void failures.push(error),
    onDamaged: (item) => void failures.push(item),
  });
  const reading = Promise.withResolvers<void>();
  disk.hook = ({ call }) => (call === "read" ? reading.promise : undefined);
  hash.add(itemOnDisk());
  await clock.advance(10);
  // It is taken back, and its place is being written anew when the read returns.
  hash.forget(0);
  await part.truncate(0);
  disk.hook = () => undefined;
  reading.resolve();
  await clock.advance(10);
  expect(failures).toEqual([]);
  hash.add(itemOnDisk());
  await clock.advance(10);
  expect(failures.map(String)).toEqual([`Error: read 0 bytes of ${BYTES.length} at 0`]);
  await hash.stop();
});
