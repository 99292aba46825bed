/**
 * Turns a tree into the chunks of its archive and the blocks of its index, one per call, in memory that the caller brings. Synchronous and without
 * threads: the reader thread, the simulator and tests run the same code. Whatever happens to the files meanwhile, the
 * result is a whole archive; what is not in it as it should be is reported by name. Compresses nothing.
 */
import { assert } from "#base/assert.ts";
import type { ChunkKind } from "#base/chunk.ts";
import { CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import { keepLight } from "#base/light-code.ts";
import { KiB } from "#base/units.ts";
import { AttributeReader } from "./attributes.ts";
import { cutData, type DataCut, fitsChunk, isLarge } from "./cutter.ts";
import { type EntryContext, type Prepared, prepareEntry } from "./entry.ts";
import type { Excludes } from "./exclude.ts";
import { type DataResult, readData, readPieces } from "./file-data.ts";
import { IndexEntries, isShort } from "./index-entries.ts";
import type { EntryBlock } from "./index-entry-writer.ts";
import { type LinkLimits, LinkTable } from "./links.ts";
import { ATTRIBUTES_BYTES_MAX } from "./pax.ts";
import { type Report, Scan } from "./scan.ts";
import type { FileSource, OpenFile } from "./source.ts";
import type { SourceRoot } from "./source-roots.ts";
import { SparseCutter } from "./sparse.ts";
import { BLOCK_BYTES, blocks, END_BYTES } from "./tar-format.ts";
import { TarWriter } from "./tar-writer.ts";
import type { WalkRules } from "./walk-rules.ts";

/** For the byte that shows whether a file grew, and headers that turn out not to fit any more. */
const SPARE_BYTES = 64 * KiB;

/** What a buffer given to `next` must hold: the longest chunk, and room to work. */
export function rawBufferBytes(chunkBytes: number): number {
  return chunkBytes + CHUNK_RECORDS_BYTES_MAX + SPARE_BYTES;
}

/** What `next` wrote to the beginning of the buffer: a chunk of the archive, or a block of its index. */
export type RawChunk = ArchiveChunk | IndexChunk;

export interface ArchiveChunk {
  readonly kind: Exclude<ChunkKind, "index">;
  readonly rawLength: number;
  /** Entries whose headers are in this chunk. */
  readonly entries: number;
}

export interface IndexChunk {
  readonly kind: "index";
  readonly rawLength: number;
  readonly block: EntryBlock;
}

export interface ChunkReaderOptions {
  readonly source: FileSource;
  /** Sorted and not nested, as sourceRoots gives them. */
  readonly roots: readonly SourceRoot[];
  readonly excludes: Excludes;
  readonly rules: WalkRules;
  readonly chunkBytes: number;
  readonly report: Report;
  /** Wall-clock milliseconds: a file that changed just before it was read may change again without showing it. */
  readonly wall: () => number;
  readonly onPath?: (path: Uint8Array) => void;
  readonly linkLimits?: LinkLimits;
}

/** A large file between two of its chunks. The scan goes on only after the last one, so the views in its entry stay valid. */
interface Streaming {
  readonly file: OpenFile;
  readonly entry: Prepared;
  /** Of a file stored without its holes. */
  readonly sparse: { readonly cutter: SparseCutter; readonly realSize: number } | undefined;
  /** Bytes of data handed out. */
  offset: number;
  /** Once it has shrunk or failed only zeros come any more. */
  outcome: DataResult["outcome"];
}

export class ChunkReader {
  readonly #options: ChunkReaderOptions;
  readonly #scan: Scan;
  readonly #tar: TarWriter;
  readonly #links: LinkTable;
  readonly #index: IndexEntries;
  readonly #entryContext: EntryContext;
  /** An entry that did not fit into the last chunk. */
  #pending: Prepared | undefined;
  #streaming: Streaming | undefined;
  /** Raw bytes of the archive in front of the chunk in hand. */
  #rawOffset = 0;
  #ended = false;

  constructor(options: ChunkReaderOptions) {
    assert(options.chunkBytes % BLOCK_BYTES === 0 && options.chunkBytes > 0, "chunk size is not whole blocks");
    this.#options = options;
    this.#scan = new Scan(options);
    this.#tar = new TarWriter(options.source);
    this.#links = new LinkTable(options.linkLimits);
    this.#index = new IndexEntries(options.wall);
    keepLight(this.next, this.#entries, this.#take, this.#smallData, this.#remember, this.#reportData, readData);
    keepLight(prepareEntry);
    const { source, report } = options;
    this.#entryContext = { source, report, links: this.#links, attributes: new AttributeReader(ATTRIBUTES_BYTES_MAX) };
  }

  /**
   * Writes the next chunk to the beginning of `into` (rawBufferBytes long) and says what it is; undefined after the last. A block
   * of the index comes as soon as it is full. Throws Failure E_SOURCE_MISSING when a source root is gone.
   */
  next(into: Uint8Array): RawChunk | undefined {
    assert(into.length >= rawBufferBytes(this.#options.chunkBytes), "the buffer is too short for a chunk");
    const block = this.#index.next(into, this.#ended);
    if (block !== undefined) return { kind: "index", rawLength: block.rawLength, block };
    if (this.#ended) return undefined;
    const chunk =
      this.#streaming === undefined ? (this.#entries(into) ?? this.#end(into)) : this.#data(into, this.#streaming);
    this.#rawOffset += chunk.rawLength;
    return chunk;
  }

  /** Closes what is open. Nothing may be read afterwards. */
  close(): void {
    this.#pending?.file?.close();
    this.#pending = undefined;
    this.#streaming?.file.close();
    this.#streaming = undefined;
    this.#ended = true;
    this.#options.source.close();
  }

  /** Gathers small entries until the chunk is full, or gives the headers of a large one; undefined when none are left. */
  #entries(into: Uint8Array): ArchiveChunk | undefined {
    let length = 0;
    let entries = 0;
    for (let entry = this.#take(); entry !== undefined; entry = this.#take()) {
      const large = isLarge(entry.size, this.#options.chunkBytes);
      // Behind an entry whose headers alone made the chunk longer than it should be there is no room for others of that kind.
      if (length > 0 && (large || length >= this.#options.chunkBytes)) {
        this.#pending = entry;
        break;
      }
      const dataAt = this.#tar.write(into, length, entry);
      if (large) return this.#startLarge(into, entry, dataAt);
      const end = dataAt + blocks(entry.size);
      if (!fitsChunk(length, end - length, this.#options.chunkBytes)) {
        this.#pending = entry;
        break;
      }
      const outcome = this.#smallData(into, dataAt, entry);
      if (outcome === "unreadable") continue;
      into.fill(0, dataAt + entry.size, end);
      this.#index.headers(into, length, dataAt, this.#rawOffset);
      this.#index.add(entry, outcome);
      this.#remember(entry);
      length = end;
      entries += 1;
    }
    return length === 0 ? undefined : { kind: "entries", rawLength: length, entries };
  }

  /** The entry left over from the last chunk, or the next one of the scan that can be archived. */
  #take(): Prepared | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) return pending;
    for (let found = this.#scan.next(); found !== undefined; found = this.#scan.next()) {
      const prepared = prepareEntry(found, this.#entryContext);
      if (prepared === undefined) continue;
      this.#index.opened();
      return prepared;
    }
    return undefined;
  }

  /**
   * Reads a small file's data and closes it. `unreadable` when not a byte of it could be read: its header has not left this
   * buffer yet, so it is left out, which is more honest than a file of zeros.
   */
  #smallData(into: Uint8Array, at: number, entry: Prepared): DataResult["outcome"] | "unreadable" {
    if (entry.file === undefined) return "whole";
    try {
      const { sparse } = entry;
      const result =
        sparse === undefined
          ? readData(entry.file, into, at, entry.size, 0, true)
          : readPieces(entry.file, into, at, sparse.extents, sparse.realSize);
      if (result.outcome === "read-error" && result.gotBytes === 0) {
        this.#options.report(entry.sourcePath, "unreadable", result.errno);
        return "unreadable";
      }
      this.#reportData(entry.sourcePath, result);
      return result.outcome;
    } finally {
      entry.file.close();
    }
  }

  #startLarge(into: Uint8Array, entry: Prepared, rawLength: number): ArchiveChunk {
    const { file } = entry;
    assert(file !== undefined, "a large entry without a file");
    // It is added behind its data, when it is known whether it held still.
    this.#index.headers(into, 0, rawLength, this.#rawOffset);
    const sparse = entry.sparse && {
      cutter: new SparseCutter(entry.sparse, this.#options.chunkBytes),
      realSize: entry.sparse.realSize,
    };
    this.#streaming = { file, entry, sparse, offset: 0, outcome: "whole" };
    this.#remember(entry);
    return { kind: "headers", rawLength, entries: 1 };
  }

  #data(into: Uint8Array, streaming: Streaming): ArchiveChunk {
    const { dataBytes, rawBytes, last } = this.#fillData(into, streaming);
    into.fill(0, dataBytes, rawBytes);
    streaming.offset += dataBytes;
    if (last) {
      streaming.file.close();
      this.#index.add(streaming.entry, streaming.outcome);
      this.#streaming = undefined;
    }
    return { kind: "data", rawLength: rawBytes, entries: 0 };
  }

  /** Puts the next data of a large file into the buffer, zeros once it is broken. */
  #fillData(into: Uint8Array, streaming: Streaming): DataCut {
    const { file, entry, offset, sparse } = streaming;
    const sparseCut = sparse?.cutter.next();
    const cut = sparseCut ?? cutData(offset, entry.size, this.#options.chunkBytes);
    const { dataBytes, last } = cut;
    if (isShort(streaming.outcome)) {
      into.fill(0, 0, dataBytes);
      return cut;
    }
    const result =
      sparseCut === undefined
        ? readData(file, into, 0, dataBytes, offset, last)
        : readPieces(file, into, 0, sparseCut.pieces, last ? sparse?.realSize : undefined);
    this.#reportData(entry.sourcePath, result);
    streaming.outcome = result.outcome;
    return cut;
  }

  #reportData(path: Uint8Array, result: DataResult): void {
    if (result.outcome === "whole") return;
    const errno = result.outcome === "read-error" ? result.errno : undefined;
    this.#options.report(path, result.outcome, errno);
  }

  /** Only what is really in the archive may be linked to. */
  #remember(entry: Prepared): void {
    if (entry.type === "hardlink" || entry.type === "directory" || entry.stat.nlink < 2) return;
    if (!this.#links.add(entry.stat, entry.path)) this.#options.report(entry.sourcePath, "links-forgotten");
  }

  #end(into: Uint8Array): ArchiveChunk {
    this.#ended = true;
    into.fill(0, 0, END_BYTES);
    return { kind: "end", rawLength: END_BYTES, entries: 0 };
  }
}
