/**
 * Makes an index where everything is known when it comes: for a rebuild, in one thread and without a window. The same blocks in the same
 * order as in a session (index-assembler.ts). Compression comes from the caller.
 */
import { crc32 } from "node:zlib";
import { type BlockSeal, IndexAssembler, type IndexPart, type StoredSeal } from "./index-assembler.ts";
import { EntryBlocks, type NewEntry, type NewLiveFacts, type NewPlace } from "./index-entry-writer.ts";
import { BLOCK_RAW_BYTES_MAX, type IndexHeader, type TableKind } from "./index-format.ts";

export interface IndexBuilderOptions {
  readonly header: IndexHeader;
  /** One gzip member or zstd frame, as the header says. The result is its own memory. */
  readonly compress: (raw: Uint8Array) => Uint8Array;
  /** Gets the index, block by block. */
  readonly write: (stored: Uint8Array) => void;
}

export class IndexBuilder {
  readonly #options: IndexBuilderOptions;
  readonly #assembler: IndexAssembler;
  readonly #blocks = new EntryBlocks();
  readonly #scratch = new Uint8Array(BLOCK_RAW_BYTES_MAX);

  constructor(options: IndexBuilderOptions) {
    this.#options = options;
    this.#assembler = new IndexAssembler(options.header);
    this.#part(this.#assembler.begin());
  }

  /** In the order of the archive. */
  entry(entry: NewEntry, live: NewLiveFacts | undefined, place: NewPlace): void {
    this.#blocks.add(entry, live, place);
    this.#flush();
  }

  /** The next chunk of the archive. */
  chunk(kind: TableKind, rawLength: number, seal: StoredSeal): void {
    const parts = this.#assembler.announceChunk();
    this.#assembler.chunkSealed(kind, rawLength, seal);
    this.#parts(parts);
  }

  /** Once, after everything. */
  finish(): void {
    this.#blocks.finish();
    this.#flush();
    this.#parts(this.#assembler.finish());
  }

  #flush(): void {
    while (this.#blocks.finishedCount > 0) {
      const block = this.#blocks.take(this.#scratch);
      const parts = this.#assembler.announceEntries();
      const stored = this.#options.compress(this.#scratch.subarray(0, block.rawLength));
      this.#assembler.entriesSealed(block, sealOf(stored));
      this.#options.write(stored);
      this.#parts(parts);
    }
  }

  #parts(parts: readonly IndexPart[]): void {
    for (const part of parts) this.#part(part);
  }

  #part(part: IndexPart): void {
    const raw = this.#assembler.raw(part);
    const stored = part.what === "trailer" ? this.#assembler.storedTrailer(raw) : this.#options.compress(raw);
    this.#assembler.partSealed(part, raw.length, sealOf(stored));
    this.#options.write(stored);
  }
}

/** The index keeps no digest of its own blocks. */
function sealOf(stored: Uint8Array): BlockSeal {
  return { storedLength: stored.length, crc: crc32(stored) };
}
