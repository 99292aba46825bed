/**
 * The Data frames of one connection on their way into the session's store: it checks that they belong to the connection's
 * slot and generation, gives their bytes to the chunk's writer, and says what became of each. It places nothing itself.
 */
import { must } from "#base/assert.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { ChunkTail, ChunkWriter } from "#store/session-types.ts";
import type { DataEnd } from "#wire/decoder.ts";
import type { FrameHeader } from "#wire/frame.ts";
import { CHUNK_TAIL_BYTES } from "#wire/limits.ts";
import type { DataOwner } from "./link.ts";

/** `dropped`: it came after Finish, or for a session that is ending. */
export type ChunkFate = "received" | "duplicate" | "damaged" | "dropped";

export interface ReceiverHost {
  /** Where chunks go; undefined while none is taken, and then they are read and dropped. */
  store(): SessionStore | undefined;
  /** The agent sent what it must not, or the store failed: the session ends. */
  fail(failure: Failure): void;
  /** Bytes were handed over: time to look at `store.congested`. */
  fed(): void;
  /** Stored bytes came on a slot, whatever becomes of them. */
  arrived(slot: number, bytes: number): void;
  fate(fate: ChunkFate, header: FrameHeader): void;
}

/** What the tail of a damaged frame says is not believed: the writer only learns that it was damaged. */
const DAMAGED_TAIL: ChunkTail = { rawLength: 0, kind: "entries", digest: new Uint8Array(32), payloadIntact: false };

export class ChunkReceiver implements DataOwner {
  readonly #host: ReceiverHost;
  readonly #slot: number;
  readonly #generation: number;
  #header: FrameHeader | undefined;
  #writer: ChunkWriter | undefined;
  #fate: ChunkFate = "dropped";

  constructor(host: ReceiverHost, slot: number, generation: number) {
    this.#host = host;
    this.#slot = slot;
    this.#generation = generation;
  }

  /** A chunk is under way. */
  get busy(): boolean {
    return this.#header !== undefined;
  }

  start(header: FrameHeader): void {
    this.#header = header;
    this.#writer = undefined;
    this.#fate = "dropped";
    const store = this.#host.store();
    if (store === undefined) return;
    if (header.slot !== this.#slot || header.generation !== this.#generation) {
      this.#host.fail(
        new Failure(
          "E_PROTOCOL",
          `data of slot ${header.slot}, generation ${header.generation} on a connection of slot ${this.#slot}, ` +
            `generation ${this.#generation}`,
        ),
      );
      return;
    }
    try {
      const { file, sequence, offset } = header;
      const placing = store.beginChunk({ file, sequence, offset, storedLength: storedLengthOf(header) });
      if (placing.verdict === "new") this.#writer = placing.writer;
      else this.#fate = "duplicate";
    } catch (error) {
      this.#host.fail(toFailure(error));
    }
  }

  bytes(view: Uint8Array): void {
    this.#host.arrived(this.#slot, view.length);
    if (this.#writer === undefined) return;
    this.#writer.write(view);
    this.#host.fed();
  }

  end(end: DataEnd): void {
    const header = must(this.#header, "header of a data frame that ends");
    const writer = this.#writer;
    this.#header = undefined;
    this.#writer = undefined;
    try {
      if (writer !== undefined) {
        const result = writer.finish(end.crcOk ? { ...end, payloadIntact: true } : DAMAGED_TAIL);
        this.#fate = result === "superseded" ? "duplicate" : result;
      }
    } catch (error) {
      this.#host.fail(toFailure(error));
      return;
    }
    this.#host.fed();
    this.#host.fate(this.#fate, header);
  }

  /** The connection is gone: a chunk that has not arrived whole may come again on another one. */
  abort(): void {
    this.#writer?.abort();
    this.#writer = undefined;
    this.#header = undefined;
  }
}

/** Bytes of the chunk that a Data frame carries. */
export function storedLengthOf(header: FrameHeader): number {
  return header.length - CHUNK_TAIL_BYTES;
}
