/** The catch-up after a restart: what it keeps in memory does not grow with the journal. */
import { expect, test } from "bun:test";
import { BufferPool } from "#store/buffer-pool.ts";
import { CatchUp } from "#store/catch-up.ts";
import { ChunkBuffer } from "#store/chunk-buffer.ts";
import { EagerPlacement } from "#store/eager-placement.ts";
import { FileHash } from "#store/file-hash.ts";
import { HashTurns } from "#store/hash-turns.ts";
import { IntakeMemory } from "#store/intake-memory.ts";
import { encodeChunks, encodeDocument } from "#store/journal-format.ts";
import { JournalWriter } from "#store/journal-writer.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { seededRandom, testFile } from "#test/support/store-kit.ts";

const CHUNKS = 10_000;

test("of a long journal no more than two thousand chunks wait at a time", async () => {
  const lengths = Array.from({ length: CHUNKS }, () => 10);
  const { chunks, bytes, proof } = testFile(seededRandom(1), lengths);
  const [disk, clock, pool] = [new MemoryDisk(), new SimClock(), new BufferPool()];
  disk.plant("/part", bytes);
  const part = await disk.open("/part", "read");
  const journal = await JournalWriter.begin(await disk.create("/journal", 0o600), encodeDocument("session", {}));
  await journal.append(
    encodeChunks(chunks.map((chunk) => ({ ...chunk, storedLength: chunk.bytes.length, rawLength: 10, crc: 0 }))),
  );
  const share = new ChunkBuffer({ bytesMax: 0, drainRatio: 0, clock }).join({
    relief: () => undefined,
    write: () => undefined,
    holdBytesMax: 4096,
  });
  const failures: unknown[] = [];
  const onFailure = (failure: unknown): void => void failures.push(failure);
  const open = (): FileHash =>
    new FileHash({
      ...{ placement: new EagerPlacement([part, part]), pool, turns: new HashTurns(clock), onFailure },
      ...{ memory: new IntakeMemory(pool, share, 4096), onDamaged: onFailure },
    });
  const hashes = [open(), open()] as const;
  let mostWaiting = 0;
  disk.hook = ({ call }) => {
    if (call === "read") mostWaiting = Math.max(mostWaiting, hashes[0].waitingChunks);
  };
  const ended = Promise.withResolvers<void>();
  const catchUp = new CatchUp({ journal, hashes, onEnd: ended.resolve, onFailure: ended.reject });
  await clock.until(ended.promise, 60_000);
  await catchUp.done;
  expect(hashes[0].hashedChunks).toBe(CHUNKS);
  expect(Buffer.from(hashes[0].digests().root).equals(Buffer.from(proof.root))).toBe(true);
  expect(failures).toEqual([]);
  expect(mostWaiting).toBeWithin(1000, 2049);
});
