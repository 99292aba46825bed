/** The journal's bytes, written by hand from the table in journal-format.ts: a later version must still read them. */
import { expect, test } from "bun:test";
import {
  type ChunkRecord,
  decodeRecord,
  encodeAssembled,
  encodeChunks,
  encodeDocument,
  JOURNAL_MAGIC,
} from "#store/journal-format.ts";

const CHUNK: ChunkRecord = {
  file: 1,
  kind: "index",
  sequence: 7,
  offset: 2 ** 40 + 5,
  storedLength: 1000,
  rawLength: 4096,
  crc: 0xdeadbeef,
  digest: Uint8Array.from({ length: 32 }, (_, index) => index),
};

const CHUNK_HEX = `
  02000000 0000003c
  01040000 00000007 00000100 00000005 000003e8 00001000 deadbeef
  00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f
  7f40c42f`.replaceAll(/\s/g, "");

const INTENT_HEX = "03000000000000077b2261223a317d071c1356";

const ASSEMBLED_HEX = "040000000000001001000000010203040000010000000005bdda6418";

test("a journal begins with its magic", () => {
  expect(Buffer.from(JOURNAL_MAGIC).toString("hex")).toBe("6e626b6a726e6c31");
});

test("a chunk record has its fields where the table says", () => {
  expect(Buffer.from(encodeChunks([CHUNK])).toString("hex")).toBe(CHUNK_HEX);
  const decoded = decodeRecord(Buffer.from(CHUNK_HEX, "hex"));
  expect(decoded).toEqual({ outcome: "record", record: { type: "chunk", chunk: CHUNK }, length: 72 });
});

test("an intent record is its JSON between type, length and CRC", () => {
  expect(Buffer.from(encodeDocument("intent", { a: 1 })).toString("hex")).toBe(INTENT_HEX);
  const decoded = decodeRecord(Buffer.from(INTENT_HEX, "hex"));
  expect(decoded).toEqual({ outcome: "record", record: { type: "intent", body: { a: 1 } }, length: 19 });
});

test("an assembled record has its fields where the table says", () => {
  const assembled = { file: 1, chunks: 0x01020304, bytes: 2 ** 40 + 5 } as const;
  const hex = Buffer.from(encodeAssembled(assembled)).toString("hex");
  expect(hex).toBe(ASSEMBLED_HEX);
  const decoded = decodeRecord(Buffer.from(hex, "hex"));
  expect(decoded).toEqual({ outcome: "record", record: { type: "assembled", assembled }, length: 28 });
});
