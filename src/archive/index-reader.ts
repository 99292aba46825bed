/**
 * Reads an index (index-format.ts) from anywhere that gives bytes by offset, a few blocks at a time: memory does not depend on how many
 * entries there are. Everything is checked before it is believed, and decompressed no further than its reference says. What it throws
 * is Failure E_INDEX_DAMAGED, or what the source throws. The archive itself is never looked at.
 */
import { assert, must } from "#base/assert.ts";
import { indexDamaged } from "./index-bytes.ts";
import { type ByteSource, IndexBlocks } from "./index-blocks.ts";
import { type Listed, readChunks, readPage, readRoot, type Root } from "./index-directory.ts";
import { readEntries } from "./index-entry-reader.ts";
import type { BlockReference, IndexEntry, IndexHeader, IndexTotals, TableChunk } from "./index-format.ts";
import { readHeader } from "./index-header.ts";
import { blocks } from "./tar-format.ts";

/** What comes in order: a batch is never empty, and may be kept. */
export type Batches<T> = AsyncGenerator<readonly T[], void, undefined>;

/** One of its numbers, whichever is known. */
export type ChunkPlace =
  { readonly number: number } | { readonly rawOffset: number } | { readonly storedOffset: number };

/** Where in the index to begin: at the last block for which this is true, or at the first. */
type BeginsBefore = (reference: BlockReference) => boolean;

/** Pages that stay parsed, for those who search again and again. */
const PAGES_KEPT_MAX = 4;

/** The blocks of one kind, as the root lists them. */
interface Listing<T> {
  readonly listed: Listed;
  readonly pages: readonly BlockReference[];
  readonly total: number;
  read(reference: BlockReference): Promise<readonly T[]>;
  /** Whether what the reference refers to begins where the item ends. */
  follows(reference: BlockReference, item: T): boolean;
}

export class IndexReader {
  readonly header: IndexHeader;
  readonly #blocks: IndexBlocks;
  readonly #root: Root;
  readonly #entries: Listing<IndexEntry>;
  readonly #chunks: Listing<TableChunk>;
  readonly #pages = new Map<number, readonly BlockReference[]>();
  /** The block of entries that was read last. */
  #kept: { readonly offset: number; readonly entries: readonly IndexEntry[] } | undefined;

  private constructor(parts: IndexBlocks, root: Root, header: IndexHeader) {
    this.#blocks = parts;
    this.#root = root;
    this.header = header;
    this.#entries = {
      ...{ listed: "entries", pages: root.entryPages, total: root.totals.entries },
      read: (reference) => this.#readEntries(reference),
      follows: (reference, entry) => reference.rawOffset === entryEnd(entry),
    };
    this.#chunks = {
      ...{ listed: "chunks", pages: root.chunkPages, total: root.totals.chunks },
      read: async (reference) => readChunks(await this.#blocks.read(reference, "a block of chunks"), reference),
      follows: ({ rawOffset, storedOffset }, chunk) =>
        rawOffset === chunk.rawOffset + chunk.rawLength && storedOffset === chunk.storedOffset + chunk.storedLength,
    };
  }

  static async open(source: ByteSource): Promise<IndexReader> {
    const { blocks: parts, trailer } = await IndexBlocks.open(source);
    const header = readHeader(await parts.read(trailer.header, "the header"));
    if (header.compression.mode !== parts.mode) throw indexDamaged("the header names another compression than it has");
    const root = readRoot(await parts.read(trailer.root, "the root"), trailer.root.offset);
    return new IndexReader(parts, root, header);
  }

  get totals(): IndexTotals {
    return this.#root.totals;
  }

  /** All entries, in the order of the archive. */
  entries(): Batches<IndexEntry> {
    return this.#stream(
      this.#entries,
      () => false,
      () => true,
    );
  }

  /** From the first entry whose path is not before; `isBefore` is true for none behind one for which it is false. Needs sorted paths. */
  async *entriesFrom(isBefore: (path: Uint8Array) => boolean): Batches<IndexEntry> {
    assert(this.totals.sorted, "a search by path in an index that is not sorted");
    let searching = true;
    // A cut key may name a block too far on: then its first entry is not before, and the one in front of it is looked at.
    for await (const batch of this.#stream(
      this.#entries,
      (reference) => isBefore(reference.key),
      ([first]) => first !== undefined && isBefore(first.path),
    )) {
      const start = searching ? firstNot(batch, (entry) => isBefore(entry.path)) : 0;
      if (start === batch.length) continue;
      searching = false;
      yield start === 0 ? batch : batch.slice(start);
    }
  }

  /** From the entry that holds this raw byte of the archive, or the first behind it. */
  async *entriesAt(rawOffset: number): Batches<IndexEntry> {
    const stream = this.#stream(
      this.#entries,
      (reference) => reference.rawOffset <= rawOffset,
      () => true,
    );
    for await (const batch of stream) {
      const start = firstNot(batch, (entry) => entryEnd(entry) <= rawOffset);
      if (start < batch.length) yield batch.slice(start);
    }
  }

  /** From the entry of this number on. */
  async *entriesFromNumber(number: number): Batches<IndexEntry> {
    const stream = this.#stream(
      this.#entries,
      (reference) => reference.firstNumber <= number,
      () => true,
    );
    for await (const batch of stream) {
      const start = firstNot(batch, (entry) => entry.number < number);
      if (start < batch.length) yield start === 0 ? batch : batch.slice(start);
    }
  }

  /** From the chunk at this place, or the first one behind it. */
  async *chunks(place: ChunkPlace = { number: 0 }): Batches<TableChunk> {
    const beginsBefore: BeginsBefore =
      "number" in place
        ? (reference) => reference.firstNumber <= place.number
        : "rawOffset" in place
          ? (reference) => reference.rawOffset <= place.rawOffset
          : (reference) => reference.storedOffset <= place.storedOffset;
    for await (const batch of this.#stream(this.#chunks, beginsBefore, () => true)) {
      const start = firstNot(batch, (chunk) => endsBefore(chunk, place));
      if (start < batch.length) yield batch.slice(start);
    }
  }

  /** The items from the block found on, each block checked against the one before it. */
  async *#stream<T extends { readonly number: number }>(
    listing: Listing<T>,
    beginsBefore: BeginsBefore,
    isEarlyEnough: (items: readonly T[]) => boolean,
  ): Batches<T> {
    if (listing.pages.length === 0) return;
    let page = lastBefore(listing.pages, beginsBefore);
    let references = await this.#page(listing, page);
    let block = lastBefore(references, beginsBefore);
    let items = await this.#items(listing, references, block);
    while (!isEarlyEnough(items) && (page > 0 || block > 0)) {
      if (block === 0) {
        page -= 1;
        references = await this.#page(listing, page);
        block = references.length;
      }
      block -= 1;
      items = await this.#items(listing, references, block);
    }
    for (;;) {
      yield items;
      const last = must(items.at(-1), "an item of the index");
      if (last.number === listing.total - 1) return;
      block += 1;
      if (block === references.length) {
        page += 1;
        block = 0;
        if (page === listing.pages.length) throw indexDamaged(`the index ends at ${listing.listed} ${last.number}`);
        references = await this.#page(listing, page);
      }
      const next = must(references[block], "a reference");
      if (next.firstNumber !== last.number + 1 || !listing.follows(next, last)) {
        throw indexDamaged(`the ${listing.listed} at ${next.offset} do not follow those before`);
      }
      items = await this.#items(listing, references, block);
    }
  }

  async #items<T extends { readonly number: number }>(
    listing: Listing<T>,
    references: readonly BlockReference[],
    block: number,
  ): Promise<readonly T[]> {
    const items = await listing.read(must(references[block], "a reference"));
    const last = must(items.at(-1), "an item of the index");
    const next = references[block + 1];
    if (last.number >= listing.total || (next !== undefined && next.firstNumber !== last.number + 1)) {
      throw indexDamaged(`a block holds other ${listing.listed} than its page says`);
    }
    return items;
  }

  async #page(
    listing: { readonly listed: Listed; readonly pages: readonly BlockReference[] },
    index: number,
  ): Promise<readonly BlockReference[]> {
    const reference = must(listing.pages[index], "a page");
    const kept = this.#pages.get(reference.offset);
    if (kept !== undefined) return kept;
    const raw = await this.#blocks.read(reference, `the page of ${listing.listed}`);
    const references = readPage(raw, listing.listed, reference);
    const oldest = this.#pages.keys().next();
    if (this.#pages.size === PAGES_KEPT_MAX && oldest.done !== true) this.#pages.delete(oldest.value);
    this.#pages.set(reference.offset, references);
    return references;
  }

  async #readEntries(reference: BlockReference): Promise<readonly IndexEntry[]> {
    if (this.#kept?.offset === reference.offset) return this.#kept.entries;
    const raw = await this.#blocks.read(reference, "a block of entries");
    const entries = readEntries(raw, reference, { live: !this.header.rebuilt, sorted: this.totals.sorted });
    this.#kept = { offset: reference.offset, entries };
    return entries;
  }
}

/** Where an entry ends in the archive, padding included. */
export function entryEnd(entry: IndexEntry): number {
  return entry.dataAt + blocks(entry.storedBytes);
}

function endsBefore(chunk: TableChunk, place: ChunkPlace): boolean {
  if ("number" in place) return chunk.number < place.number;
  if ("rawOffset" in place) return chunk.rawOffset + chunk.rawLength <= place.rawOffset;
  return chunk.storedOffset + chunk.storedLength <= place.storedOffset;
}

/** The last index for which `isBefore` is true, as it is for all in front of that; 0 when there is none. */
function lastBefore(references: readonly BlockReference[], isBefore: BeginsBefore): number {
  let low = 0;
  let high = references.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (isBefore(must(references[middle], "a reference"))) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The first index, at or behind `from`, for which `isBefore` is false; the length when it is true for all. */
export function firstNot<T>(items: readonly T[], isBefore: (item: T) => boolean, from = 0): number {
  let low = from;
  let high = items.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const item = items[middle];
    if (item !== undefined && isBefore(item)) low = middle + 1;
    else high = middle;
  }
  return low;
}
