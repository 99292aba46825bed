/**
 * Makes the index of an archive again by reading the archive once, from its beginning to its end, in one thread and in memory for two
 * pieces. Members and frames are found as a restore without an index finds them (scan-gzip.ts, scan-zstd.ts); what is damaged is named and
 * passed over. Writes nothing itself: the index is handed over block by block.
 */
import { crc32 } from "node:zlib";
import { IndexRebuilder } from "#archive/index-rebuilder.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { compress } from "#compress/codec.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import { archiveFormat, scanArchive } from "./archive-format.ts";
import { inflatePiece } from "./inflate.ts";
import { type Piece, PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX, type PieceFault } from "./piece.ts";
import { type Inflater, type PieceSink, runPipeline } from "./pipeline.ts";
import { makeSlots, type Slot, viewSlots } from "./slots.ts";

export interface IndexRebuild {
  readonly access: ArchiveAccess;
  /** As the server names it, if it does. */
  readonly archive: string | undefined;
  /** Gets the index in order; the next block waits until it is through. */
  readonly write: (stored: Uint8Array) => Promise<void>;
  /** Failure E_ARCHIVE_DAMAGED: what the index cannot have. */
  readonly onDamage: (failure: Failure) => void;
  readonly signal: AbortSignal;
  /** Also of a tar that is not compressed, where an index is of use for a moment. */
  readonly plain?: boolean;
}

/** An index is read far more often than made; beyond these levels it gets hardly shorter. */
const INDEX_LEVELS: Readonly<Record<CompressionMode, number>> = { gzip: 6, zst: 3 };
const SLOTS = 2;
const READ_BYTES = MiB;
const NOTHING = new Uint8Array(0);

/** Decompresses where it stands. */
const HERE: Inflater = {
  inflate: (slot, storedLength, spec) =>
    Promise.resolve(inflatePiece(slot.stored.subarray(0, storedLength), spec, slot.raw)),
};

/** Throws Failure E_ARCHIVE_FOREIGN for what is not compressed as archives are, E_INTERRUPTED when the signal aborts. */
export async function rebuildIndex(options: IndexRebuild): Promise<void> {
  const { access, signal } = options;
  const format = await archiveFormat(access);
  if (format === "plain" && options.plain !== true) {
    throw new Failure("E_ARCHIVE_FOREIGN", "the archive is a tar that is not compressed: it needs no index");
  }
  const run = new Rebuild(options, format === "plain" ? "gzip" : format);
  await runPipeline({
    ...{ access, source: scanArchive(access, format), inflater: HERE, signal, sink: run },
    slots: viewSlots(makeSlots(SLOTS, PIECE_STORED_BYTES_MAX, PIECE_RAW_BYTES_MAX)),
    stored: (bytes) => run.stored(bytes),
  });
  if (!signal.aborted) await run.finish();
  if (signal.aborted) throw new Failure("E_INTERRUPTED", "interrupted");
}

/** Sums over stored bytes since the last chunk was closed. */
class Sums {
  #hash = new Bun.CryptoHasher("sha256");
  #crc = 0;
  length = 0;

  add(bytes: Uint8Array): void {
    // They may be in shared memory, which the types do not say.
    this.#hash.update(bytes as Uint8Array<ArrayBuffer>);
    this.#crc = crc32(bytes as Uint8Array<ArrayBuffer>, this.#crc);
    this.length += bytes.length;
  }

  /** As a chunk of `storedLength` bytes, not all of which may have been readable; begins anew. */
  take(storedLength = this.length): {
    readonly storedLength: number;
    readonly crc: number;
    readonly digest: Uint8Array;
  } {
    const seal = { storedLength, crc: this.#crc, digest: new Uint8Array(this.#hash.digest()) };
    this.#hash = new Bun.CryptoHasher("sha256");
    this.#crc = 0;
    this.length = 0;
    return seal;
  }
}

class Rebuild implements PieceSink {
  readonly #options: IndexRebuild;
  readonly #rebuilder: IndexRebuilder;
  readonly #sums = new Sums();
  readonly #blocks: Uint8Array[] = [];
  #turn: Promise<void> = Promise.resolve();
  /** Where the next chunk of the table begins in the archive. */
  #offset = 0;
  #streaming = false;

  constructor(options: IndexRebuild, mode: CompressionMode) {
    this.#options = options;
    const level = INDEX_LEVELS[mode];
    this.#rebuilder = new IndexRebuilder({
      ...{ mode, archive: options.archive, onDamage: options.onDamage },
      compress: (raw) => compress(raw, { mode, level }),
      write: (stored) => this.#blocks.push(stored),
    });
  }

  stored(bytes: Uint8Array): void {
    this.#sums.add(bytes);
  }

  piece(piece: Piece, slot: Slot, rawLength: number): Promise<void> {
    const seal = this.#sums.take(piece.length);
    return this.#inTurn(async () => {
      await this.#upTo(piece.offset);
      this.#rebuilder.chunk(slot.raw.subarray(0, rawLength), seal);
      this.#offset = piece.offset + piece.length;
    });
  }

  bad(piece: Piece, fault: PieceFault, rawLength: number | undefined): Promise<void> {
    const { offset, length, index } = piece;
    const seal = this.#sums.take(length);
    return this.#inTurn(async () => {
      await this.#upTo(offset);
      const where = `chunk ${index}, bytes ${offset} to ${offset + length - 1} of the archive,`;
      this.#damaged(`${where} cannot be read (${fault})`);
      this.#rebuilder.lost(rawLength, seal);
      this.#offset = offset + length;
    });
  }

  bytes(slot: Slot, length: number): Promise<void> {
    this.#streaming = true;
    return this.#inTurn(() => {
      this.#rebuilder.stream(slot.raw.subarray(0, length));
      return Promise.resolve();
    });
  }

  broken(fault: PieceFault, offset: number): Promise<void> {
    this.#streaming = true;
    this.#damaged(`from about byte ${offset} on nothing of the archive can be read (${fault})`);
    return Promise.resolve();
  }

  /** What is left, and the parts of the index that stand behind everything. */
  finish(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#streaming && this.#sums.length > 0) {
        const seal = this.#sums.take();
        this.#offset += seal.storedLength;
        this.#rebuilder.streamEnd(seal);
      }
      await this.#upTo(this.#options.access.size);
      this.#rebuilder.finish();
    });
  }

  /** The table has every byte of the archive: frames that hold nothing and were passed over, and what a broken stream did not get to. */
  async #upTo(end: number): Promise<void> {
    const { access, signal } = this.#options;
    if (this.#offset === end) return;
    const sums = new Sums();
    const buffer = new Uint8Array(Math.min(READ_BYTES, end - this.#offset));
    while (this.#offset < end && !signal.aborted) {
      const wanted = buffer.subarray(0, Math.min(buffer.length, end - this.#offset));
      const length = await access.read(wanted, this.#offset);
      if (length === 0) break;
      sums.add(wanted.subarray(0, length));
      this.#offset += length;
    }
    if (sums.length === 0) return;
    if (this.#streaming) this.#rebuilder.lost(undefined, sums.take());
    else this.#rebuilder.chunk(NOTHING, sums.take());
  }

  #damaged(what: string): void {
    this.#options.onDamage(new Failure("E_ARCHIVE_DAMAGED", what));
  }

  /** One after another, each with the blocks that it made written. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      await work();
      for (const block of this.#blocks.splice(0)) await this.#options.write(block);
    });
    return this.#turn;
  }
}
