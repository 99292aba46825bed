/**
 * Compares what an index says of an entry with the headers in the archive, before anything is read by it: the tar that begins there must
 * be of that path, type and size, and its headers of that digest. Reads the chunk that they lie in, and keeps the last one.
 */
import type { IndexEntry, TableChunk } from "#archive/index-format.ts";
import { disagreement, indexedEntry } from "#archive/index-facts.ts";
import { headersDigest } from "#archive/index-entry-writer.ts";
import type { IndexReader } from "#archive/index-reader.ts";
import { TarReader } from "#archive/tar-reader.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { isLostBytes } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { MiB } from "#base/units.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import { IndexJudge } from "./index-judge.ts";
import { contradiction } from "./index-trust.ts";
import { inflatePiece } from "./inflate.ts";
import { PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX, type Piece, type PieceFault } from "./piece.ts";

/** More than the tar reader takes of one entry, but for maps of sparse files that no program of note writes. */
const HEADERS_BYTES_MAX = 32 * MiB;

export class IndexProbe {
  readonly #archive: ArchiveAccess;
  readonly #index: IndexReader;
  readonly #judge: IndexJudge;
  #raw = new Uint8Array(0);
  /** The chunk in `#raw`. */
  #kept: { readonly number: number; readonly raw: Uint8Array } | undefined;

  constructor(archive: ArchiveAccess, index: IndexReader) {
    this.#archive = archive;
    this.#index = index;
    this.#judge = new IndexJudge(archive, index, false);
  }

  /**
   * Throws Failure E_INDEX_DAMAGED when the archive has something else there. What the archive cannot tell, because it is damaged
   * there or one stream, says nothing against the index.
   */
  async check(entry: IndexEntry): Promise<void> {
    const headers = await this.#headers(entry);
    if (headers === undefined) return;
    const read = readEntry(headers, entry.headersAt);
    const digest = this.#isDigestKnown(entry) ? headersDigest(headers) : entry.headersDigest;
    const what =
      read?.dataAt === entry.dataAt ? disagreement(entry, indexedEntry(read, digest)) : "headers of another length";
    if (what === undefined) return;
    throw contradiction(`at byte ${entry.headersAt} of the tar, where ${pathText(entry.path)} should be, is ${what}`);
  }

  /** What a rebuild had no memory for it has no digest of. */
  #isDigestKnown({ headersDigest: digest }: IndexEntry): boolean {
    return !this.#index.header.rebuilt || digest !== 0n;
  }

  /** Undefined when the archive does not give them. */
  async #headers({ headersAt, dataAt }: IndexEntry): Promise<Uint8Array | undefined> {
    const length = dataAt - headersAt;
    if (length > HEADERS_BYTES_MAX) throw contradiction(`headers of ${length} bytes`);
    const headers = new Uint8Array(length);
    let filled = 0;
    for await (const batch of this.#index.chunks({ rawOffset: headersAt })) {
      for (const chunk of batch) {
        const from = headersAt + filled - chunk.rawOffset;
        if (from < 0) throw contradiction(`no chunk has byte ${headersAt + filled} of the tar`);
        const raw = await this.#load(chunk);
        if (raw === undefined) return undefined;
        const part = raw.subarray(from, from + length - filled);
        headers.set(part, filled);
        filled += part.length;
        if (filled === length) return headers;
      }
    }
    throw contradiction(`it has no chunks behind byte ${headersAt + filled} of the tar`);
  }

  async #load(chunk: TableChunk): Promise<Uint8Array | undefined> {
    if (chunk.kind === "stream" || chunk.kind === "lost") return undefined;
    if (this.#kept?.number === chunk.number) return this.#kept.raw;
    const { storedOffset, storedLength, rawOffset, rawLength, crc, digest } = chunk;
    if (storedLength > PIECE_STORED_BYTES_MAX || rawLength > PIECE_RAW_BYTES_MAX) {
      throw contradiction(`its chunk ${chunk.number} is none that can be`);
    }
    const { mode } = this.#index.header.compression;
    const piece: Piece = {
      ...{ index: chunk.number, mode, offset: storedOffset, length: storedLength, rawOffset, rawLength, crc, digest },
      ...{ enterAt: undefined, leaveAt: undefined, lost: false },
    };
    this.#kept = undefined;
    if (this.#raw.length < rawLength) this.#raw = new Uint8Array(rawLength);
    const stored = new Uint8Array(storedLength);
    const outcome = await this.#read(piece, stored);
    if (typeof outcome === "number") {
      const raw = this.#raw.subarray(0, outcome);
      this.#kept = { number: chunk.number, raw };
      return raw;
    }
    const what = await this.#judge.contradiction(piece, outcome, stored);
    if (what !== undefined) throw contradiction(what);
    return undefined;
  }

  async #read(piece: Piece, stored: Uint8Array): Promise<number | PieceFault> {
    try {
      const got = await this.#archive.read(stored, piece.offset);
      return got < piece.length ? "missing" : inflatePiece(stored, piece, this.#raw);
    } catch (error) {
      if (!isLostBytes(error)) throw error;
      return "unreadable";
    }
  }
}

/** The entry whose headers these are; undefined when they are none, or not whole. */
function readEntry(headers: Uint8Array, startAt: number): ReadEntry | undefined {
  let found: ReadEntry | undefined;
  let damaged = false;
  const reader = new TarReader({
    startAt,
    sink: {
      entry: (entry) => {
        found ??= entry;
      },
      data: () => undefined,
      lost: () => undefined,
      entryEnd: () => undefined,
      skipped: () => undefined,
      damaged: () => {
        damaged = true;
      },
    },
  });
  reader.push(headers);
  return damaged ? undefined : found;
}
