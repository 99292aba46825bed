/**
 * Reads an archive's pieces, has them decompressed several at a time, and hands them over in order. Memory is that of the slots. A
 * piece that is damaged is handed over as such, and the next ones follow. Knows nothing of tar.
 */
import { crc32 } from "node:zlib";
import { assert, must } from "#base/assert.ts";
import { isLostBytes } from "#base/errors.ts";
import { storedBytesMax } from "#compress/codec.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import type { InflateSpec } from "./inflate.ts";
import {
  type Piece,
  PIECE_RAW_BYTES_MAX,
  PIECE_STORED_BYTES_MAX,
  type PieceFault,
  type PieceSource,
  type StreamRest,
} from "./piece.ts";
import type { Slot } from "./slots.ts";
import { StreamFault, streamBytes } from "./stream-bytes.ts";

/** Decompresses what is in a slot, somewhere. */
export interface Inflater {
  inflate(slot: Slot, storedLength: number, spec: InflateSpec): Promise<number | PieceFault>;
}

/** What comes, in the order of the archive. The slot is used again when the promise resolves. */
export interface PieceSink {
  piece(piece: Piece, slot: Slot, rawLength: number): Promise<void>;
  /** Where the raw length is known, or can be guessed, it is in `rawLength`. */
  bad(piece: Piece, fault: PieceFault, rawLength: number | undefined, resumeAt: number | undefined): Promise<void>;
  /** More of the tar stream, of an archive that is read as one. */
  bytes(slot: Slot, length: number): Promise<void>;
  /** The stream breaks off; `offset` is about where in the archive. */
  broken(fault: PieceFault, offset: number): Promise<void>;
}

export interface PipelineOptions {
  readonly access: ArchiveAccess;
  readonly source: PieceSource;
  readonly inflater: Inflater;
  readonly slots: readonly Slot[];
  readonly sink: PieceSink;
  /** Gets the stored bytes in order, damaged ones too; those that no piece holds, or that cannot be read, are not among them. */
  readonly stored?: (bytes: Uint8Array, offset: number) => void;
  readonly signal: AbortSignal;
}

interface Job {
  readonly piece: Piece;
  readonly slot: Slot;
  readonly result: Promise<Loaded>;
}

interface Loaded {
  readonly outcome: number | PieceFault;
  /** Stored bytes in the slot. */
  readonly length: number;
}

/**
 * Every attempt to join pieces reads from the beginning again. A file may hold thousands of beginnings in one member, by intent; copies of
 * archives of ours hold a few.
 */
const JOIN_ATTEMPTS_MAX = 32;

/** Resolves at the end of the archive, or when the signal has aborted; everything handed over has been taken then. */
export async function runPipeline(options: PipelineOptions): Promise<void> {
  await new Pipeline(options).run();
}

class Pipeline {
  readonly #options: PipelineOptions;
  readonly #free: Slot[];
  readonly #jobs: Job[] = [];
  /** Pieces behind the jobs that were looked at and wait for a slot. */
  readonly #peeked: Piece[] = [];
  readonly #taking = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #rest: StreamRest | undefined;
  #ended = false;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#free = [...options.slots];
  }

  async run(): Promise<void> {
    try {
      while (!this.#stopped()) {
        await this.#fill();
        const job = this.#jobs.shift();
        if (job !== undefined) await this.#deliver(job);
        else if (this.#taking.size > 0) await Promise.race(this.#taking);
        else if (this.#ended && this.#peeked.length === 0) break;
      }
      if (this.#rest !== undefined && !this.#stopped()) await this.#stream(this.#rest);
    } finally {
      // Slots must not be written to when this has returned.
      await Promise.allSettled([...this.#jobs.map(({ result }) => result), ...this.#taking]);
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #stopped(): boolean {
    return this.#failure !== undefined || this.#options.signal.aborted;
  }

  /** Begins with pieces for as long as there are slots. */
  async #fill(): Promise<void> {
    while (this.#free.length > 0 && !this.#stopped()) {
      const piece = this.#peeked.shift() ?? (await this.#next());
      if (piece === undefined) return;
      const slot = must(this.#free.pop(), "a free slot");
      const result = this.#load(piece, slot);
      // Awaited in its turn; until then its failure is nobody's surprise.
      result.catch(() => undefined);
      this.#jobs.push({ piece, slot, result });
    }
  }

  async #next(): Promise<Piece | undefined> {
    // Asked again, it must not forget what is to be read as a stream.
    if (this.#ended) return undefined;
    const next = await this.#options.source.next();
    if (next !== undefined && !("streamFrom" in next)) return next;
    this.#ended = true;
    this.#rest = next;
    return undefined;
  }

  async #load(piece: Piece, slot: Slot): Promise<Loaded> {
    const length = Math.min(piece.length, slot.stored.length);
    let got = 0;
    try {
      got = await this.#options.access.read(slot.stored.subarray(0, length), piece.offset);
    } catch (error) {
      if (!isLostBytes(error)) throw error;
      return { outcome: "unreadable", length: 0 };
    }
    if (got < piece.length) return { outcome: length < piece.length ? "too-long" : "missing", length: got };
    const outcome = await this.#options.inflater.inflate(slot, got, piece);
    // Of a lost one nobody knew how long it would be, and what follows lies as if it were not there.
    const isUnknown = piece.lost && piece.rawLength === undefined && typeof outcome === "number";
    return { outcome: isUnknown ? "length" : outcome, length: got };
  }

  async #deliver(job: Job): Promise<void> {
    let { piece } = job;
    let { outcome, length } = await job.result;
    const guessed = piece.digest === undefined && piece.rawLength === undefined;
    if (guessed && outcome === "unfinished") {
      const joined = await this.#join(job);
      // Nobody knows then what the piece is, and nobody asks.
      if (this.#stopped()) {
        this.#free.push(job.slot);
        return;
      }
      if (joined !== undefined) ({ piece, outcome, length } = joined);
    }
    if (guessed && outcome === "too-long") {
      await this.#streamFrom({ mode: piece.mode, streamFrom: piece.offset }, job.slot);
      return;
    }
    const stored = job.slot.stored.subarray(0, length);
    if (typeof outcome === "string" && (await this.#options.source.contradicted?.(piece, outcome, stored)) === true) {
      // What comes next is the same bytes, cut otherwise.
      this.#free.push(job.slot);
      await this.#void();
      return;
    }
    this.#options.stored?.(stored, piece.offset);
    const { sink, source } = this.#options;
    if (typeof outcome === "number") {
      const end = guessed && piece.mode === "gzip" ? memberEnd(stored, job.slot.raw.subarray(0, outcome)) : length;
      const taken = [sink.piece({ ...piece, length: end }, job.slot, outcome)];
      if (end < length) {
        // The next member's header is damaged, so that it was not seen to begin here: gunzip passes over it without a word.
        const rest = { ...piece, offset: piece.offset + end, length: length - end };
        taken.push(sink.bad(rest, "damaged", guessRawLength(rest.length, stored), undefined));
      }
      this.#take(job.slot, Promise.all(taken));
      return;
    }
    // Asked for before anything is handed over: the sink gets pieces in the order of these calls.
    const resumeAt = await source.resumeAt?.(piece);
    const rawLength = piece.rawLength ?? (piece.lost ? undefined : guessedLength(piece, stored));
    this.#take(job.slot, sink.bad(piece, outcome, rawLength, resumeAt));
  }

  /**
   * What was taken for the beginning of a member lay in the middle of one: tries longer and longer pieces. If even the longest is not whole
   * the archive is none of ours, and `too-long`; so it is after many attempts, because a stream needs no beginnings.
   */
  async #join(job: Job): Promise<(Loaded & { readonly piece: Piece }) | undefined> {
    const { slot } = job;
    let end = job.piece.offset + job.piece.length;
    for (let count = 1; ; count += 1) {
      if (this.#stopped()) return undefined;
      const following = await this.#peek(count - 1);
      if (following === undefined) return undefined;
      end = following.offset + following.length;
      const piece = { ...job.piece, length: end - job.piece.offset };
      if (piece.length > PIECE_STORED_BYTES_MAX || count > JOIN_ATTEMPTS_MAX) {
        return { piece, outcome: "too-long", length: 0 };
      }
      const loaded = await this.#load(piece, slot);
      if (loaded.outcome === "unfinished") continue;
      if (typeof loaded.outcome !== "number") break;
      const joined = this.#jobs.splice(0, count);
      for (const { slot: other, result } of joined) this.#take(other, result);
      this.#peeked.splice(0, count - joined.length);
      return { ...loaded, piece };
    }
    // It was damaged after all: its own bytes are handed over.
    return { ...(await this.#load(job.piece, slot)), piece: job.piece };
  }

  /** The piece that many places behind the one in hand, which was taken out of the jobs. */
  async #peek(count: number): Promise<Piece | undefined> {
    const job = this.#jobs[count];
    if (job !== undefined) return job.piece;
    const index = count - this.#jobs.length;
    if (index === this.#peeked.length) {
      const next = await this.#next();
      if (next !== undefined) this.#peeked.push(next);
    }
    return this.#peeked[index];
  }

  /** The slot is free again when `promise` resolves. */
  #take(slot: Slot, promise: Promise<unknown>): void {
    const taken = promise.then(
      () => undefined,
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
    const done = taken.then(() => {
      this.#taking.delete(done);
      this.#free.push(slot);
    });
    this.#taking.add(done);
  }

  /** Gives up on pieces: what is not handed over yet comes as a stream. */
  async #streamFrom(rest: StreamRest, slot: Slot): Promise<void> {
    this.#free.push(slot);
    await this.#void();
    this.#ended = true;
    this.#rest = rest;
  }

  /** Drops what was begun with and not handed over. */
  async #void(): Promise<void> {
    this.#ended = false;
    this.#rest = undefined;
    this.#peeked.length = 0;
    const dropped = this.#jobs.splice(0);
    await Promise.allSettled(dropped.map(({ result }) => result));
    this.#free.push(...dropped.map((job) => job.slot));
  }

  async #stream(rest: StreamRest): Promise<void> {
    const { access, sink, stored } = this.#options;
    try {
      for await (const bytes of streamBytes(access, rest, (read, offset) => stored?.(read, offset))) {
        for (let at = 0; at < bytes.length && !this.#stopped();) {
          const slot = await this.#slot();
          const part = bytes.subarray(at, at + slot.raw.length);
          slot.raw.set(part);
          this.#take(slot, sink.bytes(slot, part.length));
          at += part.length;
        }
        if (this.#stopped()) break;
      }
    } catch (error) {
      if (!(error instanceof StreamFault)) throw error;
      await sink.broken(error.fault, error.offset);
    }
  }

  async #slot(): Promise<Slot> {
    while (this.#free.length === 0) {
      assert(this.#taking.size > 0, "every slot is lost");
      await Promise.race(this.#taking);
    }
    return must(this.#free.pop(), "a free slot");
  }
}

function guessedLength(piece: Piece, stored: Uint8Array): number | undefined {
  return piece.mode === "gzip" && stored.length === piece.length ? guessRawLength(piece.length, stored) : undefined;
}

/**
 * A gzip member ends with its raw length. Whether the damage is there nobody knows; a length that our writer could have made is
 * most likely right, and lets the files behind be read in step. Not of what is longer than one member of that length: there are several,
 * whose headers are damaged. `length`: of what ends where `stored` does.
 */
function guessRawLength(length: number, stored: Uint8Array): number | undefined {
  if (length < MEMBER_BYTES_MIN) return undefined;
  const raw = viewOf(stored).getUint32(stored.length - 4, true);
  const possible = raw > 0 && raw % 512 === 0 && raw <= PIECE_RAW_BYTES_MAX && length <= storedBytesMax("gzip", raw);
  return possible ? raw : undefined;
}

/** Header and trailer of a gzip member. */
const MEMBER_BYTES_MIN = 18;
const TRAILER_BYTES = 8;

/** Where the member ends that `stored` begins with and that decompressed to `raw`: behind its trailer, which nothing else looks like. */
function memberEnd(stored: Uint8Array, raw: Uint8Array): number {
  const trailer = Buffer.alloc(TRAILER_BYTES);
  trailer.writeUInt32LE(crc32(raw as Uint8Array<ArrayBuffer>), 0);
  trailer.writeUInt32LE(raw.length, 4);
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  const last = stored.length - TRAILER_BYTES;
  if (bytes.subarray(last).equals(trailer)) return stored.length;
  const found = bytes.indexOf(trailer);
  return found < 0 ? stored.length : found + TRAILER_BYTES;
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
