/**
 * Puts an index together where sealed chunks pass in order (the agent's main thread, or a rebuild): constant work per chunk, and memory
 * that does not grow with the archive but for one reference per 256 blocks. The blocks of entries come from the reader
 * (index-entry-writer.ts); this file makes the others, and says beforehand where in the order they stand. So the same archive gives the same
 * index however its threads are scheduled. Compresses nothing itself.
 */
import { assert, must } from "#base/assert.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { ByteWriter } from "./index-bytes.ts";
import {
  type Listed,
  rootBytesMax,
  type StoredBlock,
  storeTrailer,
  storedTrailerBytes,
  writeChunkHead,
  writeChunkRecord,
  writePageHead,
  writeReference,
  writeRoot,
  writeTrailer,
} from "./index-directory.ts";
import type { EntryBlock } from "./index-entry-writer.ts";
import {
  type BlockReference,
  BLOCKS_PER_PAGE,
  CHUNK_RECORD_BYTES_MAX,
  CHUNKS_HEAD_BYTES,
  CHUNKS_PER_BLOCK,
  type IndexHeader,
  PAGE_HEAD_BYTES,
  REFERENCE_BYTES_MAX,
  type TableChunk,
  type TableKind,
  TRAILER_BYTES,
} from "./index-format.ts";
import { writeHeader } from "./index-header.ts";

/** A block made here, announced before what goes into it is known. */
export interface IndexPart {
  readonly what: "header" | "chunks" | "page-of-entries" | "page-of-chunks" | "root" | "trailer";
  readonly rawBytesMax: number;
}

/** What is known of a stored block of the index. */
export interface BlockSeal {
  readonly storedLength: number;
  /** CRC-32. */
  readonly crc: number;
}

/** What is known of a stored chunk of the archive. */
export interface StoredSeal extends BlockSeal {
  /** SHA-256. */
  readonly digest: Uint8Array;
}

/** What was announced and not yet made, and the references that its page has so far. */
interface Directory {
  readonly listed: Listed;
  /** Blocks announced since the last page was. */
  announced: number;
  readonly out: ByteWriter;
  count: number;
  first: BlockReference | undefined;
  readonly pages: BlockReference[];
}

const NO_KEY = new Uint8Array(0);

export class IndexAssembler {
  readonly #header: Uint8Array;
  readonly #mode: CompressionMode;
  readonly #entries = directory("entries");
  readonly #chunks = directory("chunks");
  /** Chunks announced since the last block of them was. */
  #announcedChunks = 0;
  #pageCount = 0;
  readonly #table = new ByteWriter(CHUNKS_PER_BLOCK * CHUNK_RECORD_BYTES_MAX);
  #tableFirst: TableChunk | undefined;
  #tableCount = 0;
  // Of the archive, as far as it was sealed.
  #chunkCount = 0;
  #rawBytes = 0;
  #storedBytes = 0;
  #entryCount = 0;
  #changed = 0;
  #short = 0;
  #sorted = true;
  /** Stored bytes of the index itself. */
  #indexBytes = 0;
  #headerBlock: StoredBlock | undefined;
  #rootBlock: StoredBlock | undefined;

  constructor(header: IndexHeader) {
    this.#header = writeHeader(header);
    this.#mode = header.compression.mode;
  }

  /** The part that stands before everything else. */
  begin(): IndexPart {
    return { what: "header", rawBytesMax: this.#header.length };
  }

  /** A chunk of the archive has its place in the order: the parts that stand behind it. */
  announceChunk(): IndexPart[] {
    this.#announcedChunks += 1;
    return this.#announcedChunks === CHUNKS_PER_BLOCK ? this.#announceTable() : [];
  }

  /** A block of entries has its place in the order: the parts that stand behind it. */
  announceEntries(): IndexPart[] {
    return this.#announceBlock(this.#entries);
  }

  /** After the last chunk and block of entries. */
  finish(): IndexPart[] {
    const parts = this.#announcedChunks > 0 ? this.#announceTable() : [];
    for (const listing of [this.#entries, this.#chunks]) {
      if (listing.announced > 0) parts.push(this.#announcePage(listing));
    }
    parts.push({ what: "root", rawBytesMax: rootBytesMax(this.#pageCount) });
    parts.push({ what: "trailer", rawBytesMax: TRAILER_BYTES });
    return parts;
  }

  /** The raw bytes of a part, once everything in front of it was sealed; valid until the next call. */
  raw(part: IndexPart): Uint8Array {
    const raw = this.#make(part.what);
    assert(raw.length <= part.rawBytesMax, `${part.what} of ${raw.length} bytes, ${part.rawBytesMax} were announced`);
    return raw;
  }

  /** The stored bytes of the trailer, which is not compressed like the others. */
  storedTrailer(raw: Uint8Array): Uint8Array {
    return storeTrailer(raw, this.#mode);
  }

  /** A part was compressed, and comes next in the index. */
  partSealed(part: IndexPart, rawLength: number, seal: BlockSeal): void {
    const block: StoredBlock = {
      offset: this.#indexBytes,
      storedLength: seal.storedLength,
      rawLength,
      crc: seal.crc,
    };
    this.#indexBytes += seal.storedLength;
    if (part.what === "header") this.#headerBlock = block;
    else if (part.what === "root") this.#rootBlock = block;
    else if (part.what === "chunks") this.#refer(this.#chunks, this.#tableReference(block));
    else if (part.what === "page-of-entries") this.#pageSealed(this.#entries, block);
    else if (part.what === "page-of-chunks") this.#pageSealed(this.#chunks, block);
  }

  /** A block of entries was compressed, and comes next in the index. */
  entriesSealed(block: EntryBlock, seal: BlockSeal): void {
    const { firstNumber, rawOffset, rawLength, key } = block;
    const { storedLength, crc } = seal;
    const offset = this.#indexBytes;
    this.#refer(this.#entries, {
      ...{ offset, storedLength, rawLength, crc, firstNumber, rawOffset, key },
      storedOffset: 0,
    });
    this.#indexBytes += storedLength;
    this.#entryCount += block.count;
    this.#changed += block.changed;
    this.#short += block.short;
    this.#sorted &&= block.sorted;
  }

  /** A chunk of the archive was compressed, and comes next in it. */
  chunkSealed(kind: TableKind, rawLength: number, seal: StoredSeal): void {
    const chunk: TableChunk = {
      ...{ number: this.#chunkCount, kind, rawLength, rawOffset: this.#rawBytes, storedOffset: this.#storedBytes },
      ...{ storedLength: seal.storedLength, crc: seal.crc, digest: seal.digest },
    };
    this.#tableFirst ??= chunk;
    writeChunkRecord(this.#table, chunk);
    this.#tableCount += 1;
    this.#chunkCount += 1;
    this.#rawBytes += rawLength;
    this.#storedBytes += seal.storedLength;
  }

  #announceTable(): IndexPart[] {
    this.#announcedChunks = 0;
    const rawBytesMax = CHUNKS_HEAD_BYTES + CHUNKS_PER_BLOCK * CHUNK_RECORD_BYTES_MAX;
    return [{ what: "chunks", rawBytesMax }, ...this.#announceBlock(this.#chunks)];
  }

  #announceBlock(listing: Directory): IndexPart[] {
    listing.announced += 1;
    return listing.announced === BLOCKS_PER_PAGE ? [this.#announcePage(listing)] : [];
  }

  #announcePage(listing: Directory): IndexPart {
    const rawBytesMax = PAGE_HEAD_BYTES + listing.announced * REFERENCE_BYTES_MAX;
    listing.announced = 0;
    this.#pageCount += 1;
    return { what: `page-of-${listing.listed}`, rawBytesMax };
  }

  #make(what: IndexPart["what"]): Uint8Array {
    if (what === "header") return this.#header;
    if (what === "chunks") return this.#takeTable();
    if (what === "page-of-entries") return takePage(this.#entries);
    if (what === "page-of-chunks") return takePage(this.#chunks);
    return what === "root" ? this.#makeRoot() : this.#makeTrailer();
  }

  #takeTable(): Uint8Array {
    const first = must(this.#tableFirst, "a chunk for the table");
    const out = new ByteWriter(CHUNKS_HEAD_BYTES + this.#table.length);
    writeChunkHead(out, this.#tableCount, first);
    out.bytes(this.#table.view());
    this.#table.clear();
    this.#tableCount = 0;
    return out.view();
  }

  #tableReference(block: StoredBlock): BlockReference {
    const { number, rawOffset, storedOffset } = must(this.#tableFirst, "a chunk for the table");
    this.#tableFirst = undefined;
    return { ...block, firstNumber: number, rawOffset, storedOffset, key: NO_KEY };
  }

  #refer(listing: Directory, reference: BlockReference): void {
    listing.first ??= reference;
    listing.count += 1;
    writeReference(listing.out, reference);
  }

  #pageSealed(listing: Directory, block: StoredBlock): void {
    listing.pages.push({ ...must(listing.first, "a block for the page"), ...block });
    listing.first = undefined;
  }

  #makeRoot(): Uint8Array {
    return writeRoot({
      totals: {
        ...{ entries: this.#entryCount, chunks: this.#chunkCount, rawBytes: this.#rawBytes },
        ...{ storedBytes: this.#storedBytes, changed: this.#changed, short: this.#short, sorted: this.#sorted },
      },
      entryPages: this.#entries.pages,
      chunkPages: this.#chunks.pages,
    });
  }

  #makeTrailer(): Uint8Array {
    return writeTrailer({
      indexBytes: this.#indexBytes + storedTrailerBytes(this.#mode),
      root: must(this.#rootBlock, "the root"),
      header: must(this.#headerBlock, "the header"),
    });
  }
}

function directory(listed: Listed): Directory {
  const out = new ByteWriter(BLOCKS_PER_PAGE * 128);
  return { listed, announced: 0, out, count: 0, first: undefined, pages: [] };
}

function takePage(listing: Directory): Uint8Array {
  const out = new ByteWriter(PAGE_HEAD_BYTES + listing.out.length);
  writePageHead(out, listing.listed, listing.count);
  out.bytes(listing.out.view());
  listing.out.clear();
  listing.count = 0;
  return out.view();
}
