/**
 * Reads a tar stream: bytes are pushed in, in pieces of any length, and a sink gets entries and their data. Understands what our
 * writer, GNU tar (gnu, oldgnu, pax, ustar, v7; all its sparse forms), bsdtar, star and Python write. Does no I/O and keeps no more
 * than the headers of one entry. Whether a name may be created is not its business: what reads an archive of strangers asks
 * itself. Numbers, names and maps that cannot be are damage; the sink decides whether the search for the next header begins.
 */
import { assert } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { BLOCK_BYTES, blocks, FIELD } from "./tar-format.ts";
import { TAR_LIMITS, type TarLimits, type TarSink } from "./tar-reader-entry.ts";
import { EXTENSION_TYPES, type ExtensionData, Extensions, GlobalRecords } from "./tar-reader-extensions.ts";
import { checksumFits, dialectOf, isZeroBlock, numberField } from "./tar-reader-fields.ts";
import { type Header, makeEntry, readHeader } from "./tar-reader-header.ts";
import { PaxProblem } from "./tar-reader-pax.ts";
import { addOldBlock, MapReader, Placer, SparseProblem } from "./tar-reader-sparse.ts";

export interface TarReaderOptions {
  readonly sink: TarSink;
  /** Where in the tar stream the first byte pushed lies; a header must begin there, unless `search` is set. */
  readonly startAt?: number;
  /** Look for the first header: what lies before it is skipped. */
  readonly search?: boolean;
  readonly limits?: TarLimits;
}

/**
 * header: a header or the end. extension: data of a header that describes the next one. old-map, map: the map of a sparse file. data: of
 * the entry in hand, then its padding. search: looking for a header. end: behind the two end blocks. closed: after end() or an error.
 */
type State = "header" | "extension" | "old-map" | "map" | "data" | "search" | "end" | "closed";

/** Data of an entry, and what it is made of. */
interface Reading {
  /** Undefined when the data is not for anybody. */
  readonly placer: Placer | undefined;
  dataLeft: number;
  /** With the padding. */
  rawLeft: number;
}

/** Headers seen of an entry that has not been given out. */
interface Begun {
  readonly at: number;
  readonly lostBefore: boolean;
  readonly extensions: Extensions;
  /** From here on for a sparse file whose map is not complete. */
  header?: Header;
  map?: MapReader;
  /** What is left of the member while its map is read. */
  memberBytes: number;
}

export class TarReader {
  readonly #sink: TarSink;
  readonly #limits: TarLimits;
  #state: State;
  #offset: number;
  readonly #block = new Uint8Array(BLOCK_BYTES);
  #blockLength = 0;
  readonly #global = new GlobalRecords();
  #begun: Begun | undefined;
  #extension: ExtensionData | undefined;
  #reading: Reading | undefined;
  /** Zero blocks directly before the offset, while a header or the end is expected. */
  #zeroBlocks = 0;
  #skippedFrom = 0;

  constructor(options: TarReaderOptions) {
    this.#sink = options.sink;
    this.#limits = options.limits ?? TAR_LIMITS;
    this.#offset = options.startAt ?? 0;
    assert(this.#offset % BLOCK_BYTES === 0, "a tar stream is entered between two blocks");
    this.#state = options.search === true ? "search" : "header";
    this.#skippedFrom = this.#offset;
  }

  /** Where in the tar stream the next byte lies. */
  get offset(): number {
    return this.#offset;
  }

  /** The same, with what was pushed of a block that is not complete. */
  get pushedTo(): number {
    return this.#offset + this.#blockLength;
  }

  /** True once both end blocks were seen: what else is pushed is ignored, as other readers do. */
  get ended(): boolean {
    return this.#state === "end";
  }

  /** Takes the next bytes. What the sink throws comes out of here, and nothing may be pushed afterwards. */
  push(bytes: Uint8Array): void {
    assert(this.#state !== "closed", "a closed tar reader was pushed to");
    try {
      let at = 0;
      while (at < bytes.length) at = this.#step(bytes, at);
    } catch (error) {
      this.#state = "closed";
      throw error;
    }
  }

  /**
   * Passes over bytes of the stream that cannot be had. Inside the data of a file that is said as `lost`, and the reader goes on in
   * step; anywhere else it has to look for the next header.
   */
  missing(length: number): void {
    assert(this.#state !== "closed" && length >= 0, "a closed tar reader was told of missing bytes");
    try {
      this.#missing(length);
    } catch (error) {
      this.#state = "closed";
      throw error;
    }
  }

  /** Says that nothing more comes. Everything short of the two end blocks is damage. */
  end(): void {
    assert(this.#state !== "closed", "a tar reader was ended twice");
    const at = this.#offset + this.#blockLength;
    try {
      if (this.#state === "data") this.#missing(this.#reading?.rawLeft ?? 0);
      else if (this.#state === "search") this.#endSearch(at);
      if (this.#state !== "end") {
        this.#sink.damaged(this.#failure("the archive ends without its end blocks, so more is missing", at));
      }
    } finally {
      this.#state = "closed";
    }
  }

  /** Handles a piece of what is there, and gives the offset behind it. */
  #step(bytes: Uint8Array, at: number): number {
    if (this.#state === "data") return this.#data(bytes, at);
    if (this.#state === "extension") return this.#extend(bytes, at);
    if (this.#state === "end") return this.#ignore(bytes, at);
    if (this.#blockLength === 0 && bytes.length - at >= BLOCK_BYTES) {
      this.#whole(bytes, at);
      return at + BLOCK_BYTES;
    }
    const taken = Math.min(BLOCK_BYTES - this.#blockLength, bytes.length - at);
    this.#block.set(bytes.subarray(at, at + taken), this.#blockLength);
    this.#blockLength += taken;
    if (this.#blockLength === BLOCK_BYTES) {
      this.#blockLength = 0;
      this.#whole(this.#block, 0);
    }
    return at + taken;
  }

  #ignore(bytes: Uint8Array, at: number): number {
    this.#offset += bytes.length - at;
    return bytes.length;
  }

  /** A whole block in a state that takes them so. */
  #whole(bytes: Uint8Array, at: number): void {
    const blockAt = this.#offset;
    this.#offset += BLOCK_BYTES;
    try {
      if (this.#state === "map") this.#mapBlock(bytes, at);
      else if (this.#state === "old-map") this.#oldMapBlock(bytes, at);
      else if (this.#state === "search") this.#searchBlock(bytes, at, blockAt);
      else this.#headerBlock(bytes, at, blockAt);
    } catch (error) {
      if (!(error instanceof SparseProblem) && !(error instanceof PaxProblem)) throw error;
      this.#damage(error.message, this.#begun?.at ?? blockAt);
    }
  }

  #headerBlock(bytes: Uint8Array, at: number, blockAt: number): void {
    if (isZeroBlock(bytes, at)) {
      this.#zeroBlock();
      return;
    }
    this.#zeroBlocks = 0;
    if (!checksumFits(bytes, at)) {
      this.#damage("a header has the wrong checksum", blockAt);
      return;
    }
    this.#header(bytes, at, blockAt, false);
  }

  #zeroBlock(): void {
    if (this.#begun !== undefined) {
      this.#damage("an entry ends before its own header", this.#begun.at);
      return;
    }
    this.#zeroBlocks += 1;
    if (this.#zeroBlocks === 2) this.#state = "end";
  }

  #header(bytes: Uint8Array, at: number, blockAt: number, lostBefore: boolean): void {
    this.#begun ??= { at: blockAt, lostBefore, extensions: new Extensions(), memberBytes: 0 };
    const begun = this.#begun;
    const { extensions } = begun;
    const type = EXTENSION_TYPES.get(bytes[at + FIELD.type] ?? 0);
    if (type !== undefined) {
      const length = numberField(bytes, at + FIELD.size, 12) ?? -1;
      this.#beginExtension(begun, extensions.begin(type, length, this.#limits));
      return;
    }
    const pax = extensions.pax ?? this.#global.fields;
    const header = readHeader(bytes, at, { extensions, pax, limits: this.#limits });
    if (typeof header === "string") {
      this.#damage(header, begun.at);
      return;
    }
    begun.header = header;
    begun.memberBytes = header.memberBytes;
    if (header.sparseForm === "map" && header.extents !== undefined) {
      begun.map = new MapReader(header.extents);
      this.#state = "map";
      this.#needMap(begun);
    } else if (header.sparseForm === "old-map") {
      this.#state = "old-map";
    } else {
      this.#give(begun, header);
    }
  }

  #beginExtension(begun: Begun, extension: ExtensionData | string): void {
    if (typeof extension === "string") {
      this.#damage(extension, begun.at);
      return;
    }
    this.#extension = extension;
    this.#state = "extension";
    if (extension.complete) this.#endExtension(begun, extension);
  }

  #extend(bytes: Uint8Array, at: number): number {
    const extension = this.#extension;
    const begun = this.#begun;
    assert(extension !== undefined && begun !== undefined, "an extension of nothing");
    const taken = extension.take(bytes, at);
    this.#offset += taken;
    if (extension.complete) this.#endExtension(begun, extension);
    return at + taken;
  }

  #endExtension(begun: Begun, extension: ExtensionData): void {
    this.#extension = undefined;
    this.#state = "header";
    try {
      begun.extensions.add(extension, this.#global, this.#limits);
      if (begun.extensions.empty) this.#begun = undefined;
    } catch (error) {
      if (!(error instanceof PaxProblem)) throw error;
      this.#damage(error.message, begun.at);
    }
  }

  /** The map is part of the member: there is no more of it than that. */
  #needMap(begun: Begun): void {
    if (begun.memberBytes < BLOCK_BYTES) this.#damage("a sparse file without its map", begun.at);
  }

  #mapBlock(bytes: Uint8Array, at: number): void {
    const begun = this.#begun;
    assert(begun?.map !== undefined && begun.header !== undefined, "a map of nothing");
    const last = begun.map.block(bytes, at);
    begun.memberBytes -= BLOCK_BYTES;
    if (last) this.#give(begun, begun.header);
    else this.#needMap(begun);
  }

  #oldMapBlock(bytes: Uint8Array, at: number): void {
    const begun = this.#begun;
    assert(begun?.header?.extents !== undefined, "a map of nothing");
    if (!addOldBlock(begun.header.extents, bytes, at)) this.#give(begun, begun.header);
  }

  /** Gives out the entry whose headers are complete; its data is next. */
  #give(begun: Begun, header: Header): void {
    const { extensions, memberBytes: storedBytes } = begun;
    const { extents } = header;
    extents?.check(header.size, storedBytes);
    const headersMayBeLost = begun.lostBefore && extensions.count === 0;
    const place = { headersAt: begun.at, dataAt: this.#offset, headersMayBeLost, storedBytes };
    const entry = makeEntry(header, extensions.pax ?? this.#global.fields, place);
    this.#begun = undefined;
    this.#sink.entry(entry);
    const placer = entry.type === "file" ? new Placer(extents) : undefined;
    this.#reading = { placer, dataLeft: storedBytes, rawLeft: blocks(storedBytes) };
    this.#state = "data";
    if (this.#reading.rawLeft === 0) this.#endData();
  }

  #data(bytes: Uint8Array, at: number): number {
    const reading = this.#reading;
    assert(reading !== undefined, "data of nothing");
    const taken = Math.min(reading.rawLeft, bytes.length - at);
    const data = Math.min(reading.dataLeft, taken);
    reading.rawLeft -= taken;
    reading.dataLeft -= data;
    this.#offset += taken;
    if (data > 0) {
      reading.placer?.take(data, (offset, start, length) => {
        this.#sink.data(bytes.subarray(at + start, at + start + length), offset);
      });
    }
    if (reading.rawLeft === 0) this.#endData();
    return at + taken;
  }

  #endData(): void {
    this.#reading = undefined;
    this.#state = "header";
    this.#sink.entryEnd();
  }

  #missing(length: number): void {
    let left = length;
    const reading = this.#reading;
    if (reading !== undefined) {
      const taken = Math.min(reading.rawLeft, left);
      const data = Math.min(reading.dataLeft, taken);
      reading.rawLeft -= taken;
      reading.dataLeft -= data;
      this.#offset += taken;
      left -= taken;
      if (data > 0) reading.placer?.take(data, (offset, _, piece) => this.#sink.lost(offset, piece));
      if (reading.rawLeft === 0) this.#endData();
    }
    if (left === 0) return;
    if (this.#state === "end") {
      this.#offset += left;
      return;
    }
    if (this.#state === "header" || this.#begun !== undefined) this.#beginSearch(this.#begun?.at ?? this.#offset);
    const end = this.#offset + this.#blockLength + left;
    // A block of which the beginning is missing is no header.
    this.#blockLength = end % BLOCK_BYTES;
    this.#block.fill(0xff, 0, this.#blockLength);
    this.#offset = end - this.#blockLength;
    this.#zeroBlocks = 0;
  }

  #failure(what: string, at: number): Failure {
    return new Failure("E_ARCHIVE_DAMAGED", `${what} (byte ${at} of the tar)`);
  }

  #damage(what: string, at: number): void {
    this.#beginSearch(at);
    this.#sink.damaged(this.#failure(what, at));
  }

  #beginSearch(from: number): void {
    this.#begun = undefined;
    this.#extension = undefined;
    this.#state = "search";
    this.#skippedFrom = from;
    this.#zeroBlocks = 0;
  }

  /** Only what has a magic is taken for a header here: eight digits that fit come up by chance in other data. */
  #searchBlock(bytes: Uint8Array, at: number, blockAt: number): void {
    if (isZeroBlock(bytes, at)) {
      this.#zeroBlocks += 1;
      return;
    }
    this.#zeroBlocks = 0;
    if (dialectOf(bytes, at) === "v7" || !checksumFits(bytes, at)) return;
    this.#state = "header";
    if (blockAt > this.#skippedFrom) this.#sink.skipped(this.#skippedFrom, blockAt);
    this.#header(bytes, at, blockAt, true);
  }

  #endSearch(at: number): void {
    const zeroBlocks = this.#blockLength === 0 ? this.#zeroBlocks : 0;
    const isEnd = zeroBlocks >= 2;
    const to = isEnd ? at - zeroBlocks * BLOCK_BYTES : at;
    if (to > this.#skippedFrom) this.#sink.skipped(this.#skippedFrom, to);
    if (isEnd) this.#state = "end";
  }
}
