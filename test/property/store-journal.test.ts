/** The journal: what is written is read, and whatever else stands there is recognised as void. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { CHUNK_KINDS } from "#base/chunk.ts";
import {
  type ChunkRecord,
  decodeRecord,
  encodeAssembled,
  encodeChunks,
  encodeDocument,
  JOURNAL_MAGIC,
  type JournalRecord,
} from "#store/journal-format.ts";
import { readJournal } from "#store/journal-reader.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const chunk: fc.Arbitrary<ChunkRecord> = fc.record({
  file: fc.constantFrom(0 as const, 1 as const),
  sequence: u32,
  offset: fc.maxSafeNat(),
  storedLength: u32,
  rawLength: u32,
  kind: fc.constantFrom(...CHUNK_KINDS),
  crc: u32,
  digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
});
const record: fc.Arbitrary<JournalRecord> = fc.oneof(
  chunk.map((value): JournalRecord => ({ type: "chunk", chunk: value })),
  fc
    .record({ file: fc.constantFrom(0 as const, 1 as const), chunks: u32, bytes: fc.maxSafeNat() })
    .map((assembled): JournalRecord => ({ type: "assembled", assembled })),
  fc.record({
    type: fc.constantFrom("session" as const, "intent" as const),
    body: fc.dictionary(fc.string(), fc.nat()),
  }),
);

function encode(item: JournalRecord): Uint8Array {
  if (item.type === "chunk") return encodeChunks([item.chunk]);
  return item.type === "assembled" ? encodeAssembled(item.assembled) : encodeDocument(item.type, item.body);
}

async function read(bytes: Uint8Array): Promise<{ records: JournalRecord[]; wholeBytes: number; tornBytes: number }> {
  const disk = new MemoryDisk();
  disk.plant("/journal", bytes);
  const file = await disk.open("/journal", "read");
  const records: JournalRecord[] = [];
  const journalEnd = await readJournal(file, (item) => records.push(item));
  await file.close();
  return { records, ...journalEnd };
}

test("a journal gives back every record that was written, in order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(record, { maxLength: 30 }), async (records) => {
      const bytes = Buffer.concat([JOURNAL_MAGIC, ...records.map(encode)]);
      const journal = await read(bytes);
      expect(journal.records).toEqual(records);
      expect([journal.wholeBytes, journal.tornBytes]).toEqual([bytes.length, 0]);
    }),
  );
});

test("a journal torn anywhere gives back exactly the records that are whole", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { minLength: 1, maxLength: 10 }),
      fc.nat(),
      fc.uint8Array({ maxLength: 40 }),
      async (records, cut, junk) => {
        const parts = records.map(encode);
        const bytes = Buffer.concat([JOURNAL_MAGIC, ...parts]);
        const length = JOURNAL_MAGIC.length + (cut % (bytes.length - JOURNAL_MAGIC.length));
        let [whole, end] = [0, JOURNAL_MAGIC.length];
        for (const part of parts) {
          if (end + part.length > length) break;
          end += part.length;
          whole += 1;
        }
        const torn = Buffer.concat([bytes.subarray(0, length), Buffer.alloc(20), junk]);
        const journal = await read(torn);
        expect(journal.records).toEqual(records.slice(0, whole));
        expect([journal.wholeBytes, journal.tornBytes]).toEqual([end, torn.length - end]);
      },
    ),
  );
});

test("a flipped bit makes its record and all behind it void, never wrong", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { minLength: 1, maxLength: 6 }),
      fc.nat(),
      fc.nat(7),
      async (records, where, bit) => {
        const bytes = Buffer.concat([JOURNAL_MAGIC, ...records.map(encode)]);
        const at = where % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        const journal = await read(bytes);
        expect(journal.records).toEqual(records.slice(0, journal.records.length));
        expect(journal.wholeBytes).toBeLessThanOrEqual(at);
      },
    ),
  );
});

test("random bytes are never taken for a record and never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(["short", "broken"]).toContain(decodeRecord(bytes).outcome);
    }),
  );
});

test("a journal of 20,000 chunks is read in pieces without missing a record at their borders", async () => {
  const records = Array.from({ length: 20_000 }, (_, sequence): ChunkRecord => ({
    ...{ file: 0, sequence, offset: sequence * 1000, storedLength: 1000, rawLength: 3000, kind: "data", crc: sequence },
    digest: new Uint8Array(32).fill(sequence),
  }));
  const journal = await read(
    Buffer.concat([JOURNAL_MAGIC, encodeDocument("session", { a: 1 }), encodeChunks(records)]),
  );
  expect(journal.records.slice(1)).toEqual(records.map((chunk) => ({ type: "chunk", chunk })));
  expect(journal.tornBytes).toBe(0);
});
