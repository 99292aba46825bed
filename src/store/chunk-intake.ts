/**
 * One chunk on its way from a connection to its place: copied into pooled pieces as its bytes come, each piece written
 * when it is full, CRC-32 and SHA-256 kept along. Whether the chunk may come at all, the ledger has decided before.
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { assert } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import { CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import { Failure } from "#base/errors.ts";
import { costOf, type IntakeMemory, type Piece } from "./intake-memory.ts";
import type { ChunkRecord } from "./journal-format.ts";
import type { ChunkPlace, ChunkTail, ChunkWriter } from "./session-types.ts";
import type { QueuedWrite, WriteQueue } from "./write-queue.ts";

/** What a chunk needs of its session. */
export interface IntakeHost {
  readonly memory: IntakeMemory;
  readonly writes: WriteQueue;
  /** The most raw bytes of a chunk, without pax records. */
  readonly chunkBytes: number;
  /** So many bytes of a file were taken. */
  took(file: FileNumber, bytes: number): void;
  /** The intake has a half-filled piece (`flush` writes it), or no longer has one. */
  pieceOpened(intake: ChunkIntake): void;
  pieceClosed(intake: ChunkIntake): void;
  received(intake: ChunkIntake, record: ChunkRecord, pieces: readonly Piece[]): void;
  /** After `received`: all writes of the chunk have returned. */
  placed(record: ChunkRecord): void;
  /** `wrong`: the CRC-32 of the frame, or, with that right, the digest of the stored bytes. */
  damaged(intake: ChunkIntake, place: ChunkPlace, wrong: "crc" | "digest"): void;
  aborted(intake: ChunkIntake, place: ChunkPlace): void;
}

export class ChunkIntake implements ChunkWriter {
  readonly #host: IntakeHost;
  readonly #place: ChunkPlace;
  readonly #hash = createHash("sha256");
  readonly #pieces: Piece[] = [];
  readonly #queued = new Set<QueuedWrite>();
  #crc = 0;
  #taken = 0;
  /** The last of #pieces, while it is being filled. */
  #open: Piece | undefined;
  #over = false;
  #superseded = false;
  #record: ChunkRecord | undefined;

  constructor(host: IntakeHost, place: ChunkPlace) {
    this.#host = host;
    this.#place = place;
  }

  /** Memory that the half-filled piece takes. */
  get openBytes(): number {
    return costOf(this.#open?.buffer);
  }

  write(segment: Uint8Array): void {
    if (this.#over) return;
    const end = this.#taken + segment.length;
    assert(
      end <= this.#place.storedLength,
      `chunk ${this.#place.sequence}: ${end} bytes of ${this.#place.storedLength}`,
    );
    this.#crc = crc32(segment, this.#crc);
    this.#hash.update(segment);
    let at = 0;
    while (at < segment.length) {
      const piece = this.#open ?? this.#begin();
      const buffer = piece.buffer;
      assert(buffer !== undefined, "a piece that is being filled has no buffer");
      const part = segment.subarray(at, at + buffer.length - piece.length);
      buffer.set(part, piece.length);
      piece.length += part.length;
      at += part.length;
      this.#taken += part.length;
      if (piece.length === buffer.length) this.flush();
    }
    this.#host.took(this.#place.file, segment.length);
  }

  finish(tail: ChunkTail): "received" | "damaged" | "superseded" {
    if (this.#over) return this.#superseded ? "superseded" : "damaged";
    const place = this.#place;
    assert(
      this.#taken === place.storedLength,
      `chunk ${place.sequence}: ${this.#taken} bytes of ${place.storedLength}`,
    );
    const digest = this.#hash.digest();
    if (!tail.payloadIntact || !digest.equals(tail.digest)) {
      this.#drop();
      this.#host.damaged(this, place, tail.payloadIntact ? "digest" : "crc");
      return "damaged";
    }
    const wrong = checkTail(place, tail, this.#host.chunkBytes);
    if (wrong !== undefined) {
      this.abort();
      throw wrong;
    }
    this.flush();
    this.#over = true;
    this.#record = { ...place, rawLength: tail.rawLength, kind: tail.kind, crc: this.#crc, digest };
    this.#host.received(this, this.#record, this.#pieces);
    if (this.#queued.size === 0) this.#host.placed(this.#record);
    return "received";
  }

  carries(place: ChunkPlace): boolean {
    return this.#place.file === place.file && this.#place.sequence === place.sequence;
  }

  /** A newer copy of the chunk takes over: what else comes is dropped. The claim is the newer one's. */
  supersede(): void {
    assert(!this.#over, `chunk ${this.#place.sequence} was superseded after its end`);
    this.#superseded = true;
    this.#drop();
  }

  abort(): void {
    if (this.#over) return;
    this.#drop();
    this.#host.aborted(this, this.#place);
  }

  /** Queues the write of the half-filled piece, if there is one. */
  flush(): void {
    const piece = this.#open;
    if (piece?.buffer === undefined) return;
    this.#open = undefined;
    this.#host.pieceClosed(this);
    const write: QueuedWrite = {
      chunk: this.#place,
      offset: piece.offset,
      bytes: piece.buffer.subarray(0, piece.length),
      cancelled: false,
      ended: (written) => {
        this.#queued.delete(write);
        this.#host.memory.written(piece);
        if (written && this.#record !== undefined && this.#queued.size === 0) this.#host.placed(this.#record);
      },
    };
    this.#queued.add(write);
    this.#host.writes.push(write);
  }

  #begin(): Piece {
    const { offset, storedLength } = this.#place;
    const piece = this.#host.memory.begin(offset + this.#taken, storedLength - this.#taken);
    this.#pieces.push(piece);
    this.#open = piece;
    this.#host.pieceOpened(this);
    return piece;
  }

  /** The chunk is worth nothing: writes that have not started never will, and all memory goes back. */
  #drop(): void {
    this.#over = true;
    if (this.#open !== undefined) {
      const piece = this.#open;
      this.#open = undefined;
      this.#host.pieceClosed(this);
      this.#host.memory.unwanted(piece);
      this.#host.memory.written(piece);
    }
    for (const write of this.#queued) write.cancelled = true;
    for (const piece of this.#pieces) this.#host.memory.unwanted(piece);
  }
}

/** What is wrong with a tail that says what cannot be. */
function checkTail(place: ChunkPlace, tail: ChunkTail, chunkBytes: number): Failure | undefined {
  const rightFile = (tail.kind === "index") === (place.file === 1);
  if (rightFile && tail.rawLength >= 1 && tail.rawLength <= chunkBytes + CHUNK_RECORDS_BYTES_MAX) return undefined;
  return new Failure(
    "E_PROTOCOL",
    `chunk ${place.sequence} of file ${place.file} says that it is ${tail.rawLength} raw bytes of kind ${tail.kind}`,
  );
}
