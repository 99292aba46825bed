/**
 * What leads to the blocks of an index (index-format.ts: "CHUNKS", "PAGE", "ROOT", "TRAILER"): written and read, every number of
 * it checked. Knows nothing of entries, and does no I/O.
 */
import { crc32 } from "node:zlib";
import type { CompressionMode } from "#base/chunk.ts";
import { DIGEST_BYTES } from "#base/root-hash.ts";
import { equalBytes } from "./bytes.ts";
import { ByteCursor, ByteWriter, indexDamaged } from "./index-bytes.ts";
import {
  BLOCK,
  BLOCK_RAW_BYTES_MAX,
  type BlockReference,
  BLOCKS_PER_PAGE,
  CHUNK_RECORD_BYTES_MAX,
  CHUNKS_PER_BLOCK,
  HEADER_RAW_BYTES_MAX,
  INDEX_VERSION,
  type IndexTotals,
  REFERENCE_BYTES_MAX,
  ROOT_HEAD_BYTES_MAX,
  ROOT_RAW_BYTES_MAX,
  type TableChunk,
  tableKindNumber,
  tableKindOf,
  TRAILER_BYTES,
  TRAILER_MAGIC,
} from "./index-format.ts";

/** What the blocks of one kind hold. */
export type Listed = "entries" | "chunks";

/** Sorted is bit 0 of the root's flags. */
const SORTED = 1;

export function writeChunkHead(out: ByteWriter, count: number, first: TableChunk): void {
  out.u8(BLOCK.chunks);
  for (let i = 1; i < 4; i += 1) out.u8(0);
  out.u32(count);
  out.u64(first.number);
  out.u64(first.rawOffset);
  out.u64(first.storedOffset);
}

export function writeChunkRecord(out: ByteWriter, chunk: Omit<TableChunk, "number">): void {
  out.reserve(CHUNK_RECORD_BYTES_MAX);
  out.u8(tableKindNumber(chunk.kind));
  out.v(chunk.storedLength);
  out.v(chunk.rawLength);
  out.u32(chunk.crc);
  out.bytes(chunk.digest);
}

/** The chunks of the raw block that `reference` refers to; nothing in them is a view of `raw`. Throws Failure E_INDEX_DAMAGED. */
export function readChunks(raw: Uint8Array, reference: BlockReference): TableChunk[] {
  const cursor = new ByteCursor(raw, `the block of chunks at ${reference.offset}`);
  if (cursor.u8() !== BLOCK.chunks) throw cursor.damaged("is something else");
  cursor.zeros(3);
  const count = cursor.u32();
  const first = cursor.u64();
  let rawOffset = cursor.u64();
  let storedOffset = cursor.u64();
  const expected = first === reference.firstNumber && rawOffset === reference.rawOffset;
  if (!expected || storedOffset !== reference.storedOffset || count === 0 || count > CHUNKS_PER_BLOCK) {
    throw cursor.damaged("is not what its page says");
  }
  const chunks: TableChunk[] = [];
  for (let i = 0; i < count; i += 1) {
    const kind = tableKindOf(cursor.u8());
    const storedLength = cursor.v();
    const rawLength = cursor.v();
    const crc = cursor.u32();
    const digest = new Uint8Array(cursor.bytes(DIGEST_BYTES));
    if (kind === undefined || storedLength === 0 || (rawLength === 0 && kind !== "lost" && kind !== "unknown")) {
      throw cursor.damaged("has an impossible chunk");
    }
    chunks.push({ number: first + i, kind, storedOffset, storedLength, rawOffset, rawLength, crc, digest });
    rawOffset += rawLength;
    storedOffset += storedLength;
    if (!Number.isSafeInteger(rawOffset + storedOffset)) throw cursor.damaged("has an impossible chunk");
  }
  cursor.end();
  return chunks;
}

export function writePageHead(out: ByteWriter, listed: Listed, count: number): void {
  out.u8(BLOCK.page);
  out.u8(BLOCK[listed]);
  out.u8(0);
  out.u8(0);
  out.u32(count);
}

export function writeReference(out: ByteWriter, reference: BlockReference): void {
  out.reserve(REFERENCE_BYTES_MAX);
  out.v(reference.offset);
  out.v(reference.storedLength);
  out.v(reference.rawLength);
  out.u32(reference.crc);
  out.v(reference.firstNumber);
  out.v(reference.rawOffset);
  out.v(reference.storedOffset);
  out.u8(reference.key.length);
  out.bytes(reference.key);
}

/** The references of the raw page that `reference` refers to. Throws Failure E_INDEX_DAMAGED. */
export function readPage(raw: Uint8Array, listed: Listed, reference: BlockReference): BlockReference[] {
  const cursor = new ByteCursor(raw, `the page of ${listed} at ${reference.offset}`);
  if (cursor.u8() !== BLOCK.page || cursor.u8() !== BLOCK[listed]) throw cursor.damaged("is something else");
  cursor.zeros(2);
  const count = cursor.u32();
  if (count === 0 || count > BLOCKS_PER_PAGE) throw cursor.damaged(`refers to ${count} blocks`);
  const references = readReferences(cursor, listed, count, reference.offset);
  cursor.end();
  const [first] = references;
  const expected = first?.firstNumber === reference.firstNumber && first.rawOffset === reference.rawOffset;
  if (!expected || first.storedOffset !== reference.storedOffset || !equalBytes(first.key, reference.key)) {
    throw cursor.damaged("is not what the root says");
  }
  return references;
}

/** References in the order of the index, all to what lies in front of `end`. */
function readReferences(cursor: ByteCursor, listed: Listed, count: number, end: number): BlockReference[] {
  const references: BlockReference[] = [];
  let nextOffset = 0;
  let nextNumber = 0;
  for (let i = 0; i < count; i += 1) {
    const reference: BlockReference = {
      offset: cursor.v(),
      storedLength: cursor.v(),
      rawLength: cursor.v(),
      crc: cursor.u32(),
      firstNumber: cursor.v(),
      rawOffset: cursor.v(),
      storedOffset: cursor.v(),
      key: cursor.bytes(cursor.u8()),
    };
    checkBlock(reference, BLOCK_RAW_BYTES_MAX, cursor);
    const inOrder = reference.offset >= nextOffset && reference.firstNumber >= nextNumber;
    const forEntries = reference.storedOffset === 0;
    const forChunks = reference.key.length === 0;
    if (!inOrder || !(listed === "entries" ? forEntries : forChunks))
      throw cursor.damaged("has references out of order");
    nextOffset = reference.offset + reference.storedLength;
    nextNumber = reference.firstNumber + 1;
    if (nextOffset > end) throw cursor.damaged("refers to what comes behind it");
    references.push(reference);
  }
  return references;
}

/** A stored block is hardly longer than it is raw. */
const STORED_BYTES_MORE_MAX = 64 * 1024;

function checkBlock(
  block: { readonly storedLength: number; readonly rawLength: number },
  rawBytesMax: number,
  cursor: ByteCursor,
): void {
  const { storedLength, rawLength } = block;
  const possible = rawLength > 0 && rawLength <= rawBytesMax && storedLength > 0;
  if (possible && storedLength <= rawLength + STORED_BYTES_MORE_MAX) return;
  throw cursor.damaged(`refers to a block of ${storedLength} bytes that holds ${rawLength}`);
}

export interface Root {
  readonly totals: IndexTotals;
  readonly entryPages: readonly BlockReference[];
  readonly chunkPages: readonly BlockReference[];
}

/** The most bytes that a root of so many pages has. */
export function rootBytesMax(pageCount: number): number {
  return ROOT_HEAD_BYTES_MAX + pageCount * REFERENCE_BYTES_MAX;
}

export function writeRoot(root: Root): Uint8Array {
  const { totals, entryPages, chunkPages } = root;
  const out = new ByteWriter(rootBytesMax(entryPages.length + chunkPages.length));
  out.u8(BLOCK.root);
  out.u8(totals.sorted ? SORTED : 0);
  out.u8(0);
  out.u8(0);
  out.u32(entryPages.length);
  out.u32(chunkPages.length);
  for (const total of [totals.entries, totals.chunks, totals.rawBytes, totals.storedBytes]) out.v(total);
  out.v(totals.changed);
  out.v(totals.short);
  for (const page of entryPages) writeReference(out, page);
  for (const page of chunkPages) writeReference(out, page);
  return out.view();
}

/** Throws Failure E_INDEX_DAMAGED. `offset`: where the root stands. */
export function readRoot(raw: Uint8Array, offset: number): Root {
  const cursor = new ByteCursor(raw, "the root");
  if (cursor.u8() !== BLOCK.root) throw cursor.damaged("is something else");
  const flags = cursor.u8();
  cursor.zeros(2);
  const entryPageCount = cursor.u32();
  const chunkPageCount = cursor.u32();
  const totals: IndexTotals = {
    sorted: (flags & SORTED) !== 0,
    ...{ entries: cursor.v(), chunks: cursor.v(), rawBytes: cursor.v(), storedBytes: cursor.v() },
    ...{ changed: cursor.v(), short: cursor.v() },
  };
  const entryPages = readReferences(cursor, "entries", entryPageCount, offset);
  const chunkPages = readReferences(cursor, "chunks", chunkPageCount, offset);
  cursor.end();
  const whole = (totals.entries === 0) === (entryPageCount === 0) && (totals.chunks === 0) === (chunkPageCount === 0);
  if (!whole || flags > SORTED) throw cursor.damaged("contradicts itself");
  for (const pages of [entryPages, chunkPages]) {
    if (pages[0] !== undefined && pages[0].firstNumber !== 0) throw cursor.damaged("does not begin at the beginning");
  }
  return { totals, entryPages, chunkPages };
}

/** A block that the trailer refers to. */
export interface StoredBlock {
  readonly offset: number;
  readonly storedLength: number;
  readonly rawLength: number;
  readonly crc: number;
}

export interface Trailer {
  readonly indexBytes: number;
  readonly root: StoredBlock;
  readonly header: StoredBlock;
}

/** The 64 raw bytes. */
export function writeTrailer(trailer: Trailer): Uint8Array {
  const { root, header } = trailer;
  const out = new ByteWriter(TRAILER_BYTES);
  out.bytes(TRAILER_MAGIC);
  out.u8(INDEX_VERSION >> 8);
  out.u8(INDEX_VERSION & 0xff);
  out.u64(trailer.indexBytes);
  out.u64(root.offset);
  for (const value of [root.storedLength, root.rawLength, root.crc]) out.u32(value);
  for (const value of [header.storedLength, header.rawLength, header.crc]) out.u32(value);
  out.bytes(new Uint8Array(12));
  out.u32(crc32(out.view()));
  return out.view();
}

const GZIP_FRONT = Uint8Array.of(
  0x1f,
  0x8b,
  8,
  0,
  0,
  0,
  0,
  0,
  0,
  0xff,
  1,
  TRAILER_BYTES,
  0,
  0xff - TRAILER_BYTES,
  0xff,
);
const ZSTD_FRONT = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, TRAILER_BYTES, 1, TRAILER_BYTES >> 5, 0);
const GZIP_BACK_BYTES = 8;
/** What to read from the end of an index to have the trailer in either form. */
export const TRAILER_STORED_BYTES_MAX = GZIP_FRONT.length + TRAILER_BYTES + GZIP_BACK_BYTES;

export function storedTrailerBytes(mode: CompressionMode): number {
  return mode === "gzip" ? TRAILER_STORED_BYTES_MAX : ZSTD_FRONT.length + TRAILER_BYTES;
}

/** The gzip member or zstd frame that holds the trailer as it is. */
export function storeTrailer(raw: Uint8Array, mode: CompressionMode): Uint8Array {
  const stored = new Uint8Array(storedTrailerBytes(mode));
  const front = mode === "gzip" ? GZIP_FRONT : ZSTD_FRONT;
  stored.set(front);
  stored.set(raw, front.length);
  if (mode === "zst") return stored;
  const view = new DataView(stored.buffer);
  const back = stored.length - GZIP_BACK_BYTES;
  view.setUint32(back, crc32(raw), true);
  view.setUint32(back + 4, raw.length, true);
  return stored;
}

/** From the last bytes of an index of `indexBytes`. Throws Failure E_INDEX_DAMAGED. */
export function readTrailer(tail: Uint8Array, indexBytes: number): { trailer: Trailer; mode: CompressionMode } {
  for (const mode of ["gzip", "zst"] as const) {
    const start = tail.length - storedTrailerBytes(mode);
    if (start < 0) continue;
    const front = mode === "gzip" ? GZIP_FRONT : ZSTD_FRONT;
    const at = start + front.length;
    const raw = tail.subarray(at, at + TRAILER_BYTES);
    if (!equalBytes(raw.subarray(0, TRAILER_MAGIC.length), TRAILER_MAGIC)) continue;
    const trailer = parseTrailer(raw, indexBytes - storedTrailerBytes(mode));
    if (trailer.indexBytes !== indexBytes) {
      throw indexDamaged(`the index is ${indexBytes} bytes long, it says ${trailer.indexBytes}`);
    }
    if (!equalBytes(tail.subarray(start), storeTrailer(raw, mode))) throw indexDamaged("the trailer is damaged");
    return { trailer, mode };
  }
  throw indexDamaged("the end of an index is missing");
}

/** `end`: where the trailer begins. */
function parseTrailer(raw: Uint8Array, end: number): Trailer {
  const cursor = new ByteCursor(raw, "the trailer");
  cursor.bytes(TRAILER_MAGIC.length);
  const version = cursor.u8() * 256 + cursor.u8();
  if (version !== INDEX_VERSION) throw cursor.damaged(`is of version ${version}, expected ${INDEX_VERSION}`);
  if (
    crc32(raw.subarray(0, TRAILER_BYTES - 4)) !== new DataView(raw.buffer, raw.byteOffset).getUint32(TRAILER_BYTES - 4)
  ) {
    throw cursor.damaged("is damaged");
  }
  const indexBytes = cursor.u64();
  const rootOffset = cursor.u64();
  const block = (offset: number): StoredBlock => {
    return { offset, storedLength: cursor.u32(), rawLength: cursor.u32(), crc: cursor.u32() };
  };
  const root = block(rootOffset);
  const header = block(0);
  cursor.zeros(12);
  checkBlock(root, ROOT_RAW_BYTES_MAX, cursor);
  checkBlock(header, HEADER_RAW_BYTES_MAX, cursor);
  const places = header.storedLength <= root.offset && root.offset + root.storedLength === end;
  if (!places) throw cursor.damaged("refers to what is not there");
  return { indexBytes, root, header };
}
