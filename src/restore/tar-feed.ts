/**
 * Leads the tar stream, with what is missing of it, through the tar reader to whoever takes entries, and notes which files each damage
 * hits: by the headers around it. Where the length of what is missing is not known it looks for the next header.
 */
import { blocks } from "#archive/tar-format.ts";
import { TarReader } from "#archive/tar-reader.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import type { Failure } from "#base/errors.ts";
import { type Damage, DAMAGES_LISTED_MAX } from "./damage.ts";
import type { Piece, PieceFault } from "./piece.ts";

/** Takes entries: restores them, prints one, or only looks. */
export interface EntrySink {
  entry(entry: ReadEntry): void;
  data(bytes: Uint8Array, offset: number): void;
  lost(offset: number, length: number): void;
  entryEnd(): void;
  /** Entries may be missing from here on. */
  incomplete(): void;
  /** For who wants the stream itself, too: what is pushed, before and after the reader takes it, and what is missing. */
  raw?(bytes: Uint8Array, at: number): void;
  taken?(): void;
  rawMissing?(length: number): void;
}

export type PieceInfo = Pick<Piece, "index" | "offset" | "length" | "rawOffset" | "enterAt" | "leaveAt">;

export class TarFeed {
  readonly #sink: EntrySink;
  readonly #damages: Damage[] = [];
  #damageCount = 0;
  /** By chunk: those of an earlier pass are not told again. */
  readonly #byChunk = new Map<number, Damage>();
  #pass = 0;
  #reader: TarReader;
  #piece: PieceInfo | undefined;
  #open: ReadEntry | undefined;
  #lastPath: Uint8Array | undefined;
  #last: Damage | undefined;
  /** Damages that do not know yet which entry comes behind them. */
  #waiting: Damage[] = [];
  /** Missing bytes are being told to the reader. */
  #told: Damage | undefined;
  /** The stream has broken off, which has been told. */
  #broken = false;
  /** The reader is told that nothing more comes, where that is no news. */
  #ending = false;
  /** Behind damage: where the next entry begins. What lies in front of it belongs to nothing any more. */
  #resumeAt: number | undefined;
  entries = 0;

  constructor(sink: EntrySink) {
    this.#sink = sink;
    this.#reader = this.#makeReader(0, false);
  }

  get damages(): readonly Damage[] {
    return this.#damages;
  }

  get damageCount(): number {
    return this.#damageCount;
  }

  /** Where the reader is in the tar stream. */
  get rawOffset(): number {
    return this.#reader.offset;
  }

  get lastPath(): Uint8Array | undefined {
    return this.#lastPath;
  }

  push(bytes: Uint8Array, piece: PieceInfo | undefined): void {
    this.#piece = piece;
    if (piece?.enterAt !== undefined) this.#begin(piece.enterAt);
    const wanted = this.#wantedOf(bytes, piece);
    if (wanted.length === 0) return;
    // Behind the end there is nothing that anybody would want, however much of it comes.
    const { ended } = this.#reader;
    if (!ended) this.#sink.raw?.(wanted, this.#reader.pushedTo);
    this.#reader.push(wanted);
    if (!ended) this.#sink.taken?.();
  }

  /** A piece cannot be had. `resumeAt`: where the next entry behind it begins, if an index says so. */
  missing(piece: PieceInfo, fault: PieceFault, rawLength: number | undefined, resumeAt: number | undefined): void {
    // Behind the end of the tar there is nothing that anybody would miss, unless a table says that there was.
    if (this.#reader.ended && piece.rawOffset === undefined) return;
    if (piece.enterAt !== undefined) this.#begin(piece.enterAt);
    const rawFrom = piece.rawOffset ?? this.#reader.offset;
    const left = this.#openLeft();
    const entered = piece.enterAt === undefined ? 0 : piece.enterAt - rawFrom;
    const length = rawLength === undefined ? left : Math.max(0, rawLength - entered);
    const rawTo = rawLength === undefined ? undefined : rawFrom + rawLength;
    const storedTo = piece.offset + piece.length;
    const damage =
      this.#goesOn(piece, fault, storedTo, rawTo) ??
      (this.#pass > 0 ? this.#byChunk.get(piece.index) : undefined) ??
      this.#note({
        ...nothingKnown(fault, this.#lastPath),
        ...{ chunk: piece.index, storedFrom: piece.offset, storedTo, rawFrom, rawTo },
      });
    const beyond = rawLength === undefined || length > left;
    this.#lose(damage, length, beyond && !this.#reader.ended);
    if (this.#reader.ended) return;
    if (this.#open === undefined && resumeAt !== undefined) this.#resumeAt = resumeAt;
    else if (rawLength === undefined) this.#reader = this.#makeReader(this.#reader.offset, true);
  }

  /** The stream breaks off. */
  broken(fault: PieceFault, offset: number): void {
    // Behind the end of the tar there is nothing that anybody would miss.
    if (this.#reader.ended) return;
    const damage = this.#note({
      ...nothingKnown(fault, this.#lastPath),
      storedFrom: offset,
      rawFrom: this.#reader.offset,
    });
    this.#lose(damage, this.#openLeft(), true);
    this.#broken = true;
  }

  /** All of one pass has come. `partial`: only what was wanted, so that the archive's end may be missing. */
  endPass(partial: boolean): void {
    this.#end(partial || this.#broken);
    this.#waiting = [];
    this.#broken = false;
    this.#resumeAt = undefined;
    this.#pass += 1;
    this.#last = undefined;
    this.#reader = this.#makeReader(0, false);
  }

  /** The stream goes on at another place, where an entry begins. */
  #begin(rawOffset: number): void {
    if (this.#open !== undefined) this.#end(true);
    this.#resumeAt = undefined;
    this.#reader = this.#makeReader(rawOffset, false);
  }

  /** What of a piece is for the reader, which stands where that begins. */
  #wantedOf(bytes: Uint8Array, piece: PieceInfo | undefined): Uint8Array {
    const rawOffset = piece?.rawOffset;
    const resumeAt = this.#resumeAt;
    if (rawOffset === undefined) {
      // The index is not believed any more, nor is what it said about the next entry.
      if (resumeAt !== undefined) this.#reader = this.#makeReader(this.#reader.offset, true);
      this.#resumeAt = undefined;
      return bytes;
    }
    const from = Math.max(0, (piece?.enterAt ?? resumeAt ?? rawOffset) - rawOffset);
    const to = piece?.leaveAt === undefined ? bytes.length : Math.min(bytes.length, piece.leaveAt - rawOffset);
    if (from >= to) return bytes.subarray(0, 0);
    if (resumeAt !== undefined) this.#reader = this.#makeReader(rawOffset + from, false);
    this.#resumeAt = undefined;
    return bytes.subarray(from, to);
  }

  /** The damage that this is the rest of: an archive that ends too early is one damage, however many chunks are behind its end. */
  #goesOn(piece: PieceInfo, fault: PieceFault, storedTo: number, rawTo: number | undefined): Damage | undefined {
    const last = this.#last;
    if (fault !== "missing" || last?.fault !== fault || last.storedTo !== piece.offset) return undefined;
    last.chunkCount += 1;
    last.storedTo = storedTo;
    last.rawTo = rawTo;
    return last;
  }

  #lose(damage: Damage, length: number, entriesLost: boolean): void {
    if (entriesLost) {
      damage.entriesLost = true;
      if (!this.#waiting.includes(damage)) this.#waiting.push(damage);
      this.#sink.incomplete();
    }
    this.#told = damage;
    this.#sink.rawMissing?.(length);
    this.#reader.missing(length);
    this.#told = undefined;
  }

  /** `expected`: the end of the archive need not come here. What is wrong in front of it is damage all the same. */
  #end(expected: boolean): void {
    // That the end is missing says nothing new when what is damaged reaches up to it.
    this.#ending = expected || this.#waiting.length > 0;
    this.#reader.end();
    this.#ending = false;
    this.#open = undefined;
  }

  /** Bytes of the stream up to the end of the entry in hand. */
  #openLeft(): number {
    const open = this.#open;
    return open === undefined ? 0 : open.dataAt + blocks(open.storedBytes) - this.#reader.offset;
  }

  #makeReader(startAt: number, search: boolean): TarReader {
    return new TarReader({
      startAt: Math.ceil(startAt / 512) * 512,
      search,
      sink: {
        entry: (entry) => this.#entry(entry),
        data: (bytes, offset) => this.#sink.data(bytes, offset),
        lost: (offset, length) => this.#lost(offset, length),
        entryEnd: () => {
          this.#open = undefined;
          this.#sink.entryEnd();
        },
        damaged: (failure) => this.#damaged(failure),
        skipped: () => undefined,
      },
    });
  }

  #entry(entry: ReadEntry): void {
    this.#open = entry;
    this.#lastPath = entry.path;
    this.entries += 1;
    for (const damage of this.#waiting) damage.before = entry.path;
    if (this.#waiting.length > 0) this.#waiting = [];
    this.#sink.entry(entry);
  }

  #lost(offset: number, length: number): void {
    const path = this.#open?.path;
    const files = this.#told?.files;
    if (path !== undefined && files?.at(-1) !== path) files?.push(path);
    this.#sink.lost(offset, length);
  }

  #damaged(failure: Failure): void {
    if (this.#ending) return;
    const piece = this.#piece;
    const rawFrom = this.#reader.offset;
    const damage =
      this.#toldBefore(rawFrom) ??
      this.#note({
        ...nothingKnown("tar", this.#lastPath),
        message: failure.message,
        chunk: piece?.index,
        storedFrom: piece?.offset,
        storedTo: piece === undefined ? undefined : piece.offset + piece.length,
        ...{ rawFrom, entriesLost: true },
      });
    this.#waiting.push(damage);
    this.#sink.incomplete();
  }

  /** What an earlier pass said of the same headers. */
  #toldBefore(rawFrom: number): Damage | undefined {
    if (this.#pass === 0) return undefined;
    return this.#damages.find((damage) => damage.fault === "tar" && damage.rawFrom === rawFrom);
  }

  #note(damage: Damage): Damage {
    this.#damageCount += 1;
    this.#last = damage;
    if (this.#damages.length === DAMAGES_LISTED_MAX) return damage;
    this.#damages.push(damage);
    if (damage.chunk !== undefined) this.#byChunk.set(damage.chunk, damage);
    return damage;
  }
}

function nothingKnown(fault: Damage["fault"], after: Uint8Array | undefined): Damage {
  return {
    ...{
      fault,
      after,
      message: undefined,
      chunk: undefined,
      chunkCount: 1,
      files: [],
      entriesLost: false,
      before: undefined,
    },
    ...{ storedFrom: undefined, storedTo: undefined, rawFrom: undefined, rawTo: undefined },
  };
}
