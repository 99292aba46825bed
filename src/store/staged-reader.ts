/**
 * Reads staged chunks one after another as one run of bytes, several files at a time. It knows where batches end, which is
 * always between two chunks, and writes nothing.
 */
import { Failure } from "#base/errors.ts";
import { allOf, awaitedLater } from "./at-once.ts";
import { type DiskFile, orMissing } from "./disk.ts";

/** Files that are opened before their turn, and reads of one block at a time: small chunks cost calls, not bytes. */
const OPEN_AHEAD = 16;
const READS_AT_ONCE = 16;

interface OpenChunk {
  readonly sequence: number;
  readonly file: DiskFile;
  readonly length: number;
  /** Bytes that were read, or are being read. */
  at: number;
}

export class StagedReader {
  readonly #open: (sequence: number) => Promise<DiskFile>;
  readonly #file: number;
  readonly #end: number;
  /** The next to be opened. */
  #nextOpen: number;
  /** Opened and not begun, in order. */
  readonly #ahead: Promise<OpenChunk>[] = [];
  #current: OpenChunk | undefined;
  /** The chunk that will be read next. */
  #next: number;
  #batchBytesLeft = 0;
  #batchChunksLeft = 0;
  #batchEmpty = true;

  /** `open` opens the staged file of a chunk; `file` is only for what is said of errors. */
  constructor(
    open: (sequence: number) => Promise<DiskFile>,
    file: number,
    range: { readonly first: number; readonly end: number },
  ) {
    this.#open = open;
    this.#file = file;
    this.#nextOpen = range.first;
    this.#next = range.first;
    this.#end = range.end;
  }

  /** All chunks below were read to their end. */
  get next(): number {
    return this.#next;
  }

  /** A new batch: as many chunks as fit into `bytesMax`, at least one, at most `chunksMax`. */
  beginBatch(bytesMax: number, chunksMax: number): void {
    this.#batchBytesLeft = bytesMax;
    this.#batchChunksLeft = chunksMax;
    this.#batchEmpty = true;
  }

  /**
   * Fills the beginning of a block with the next bytes and resolves with how many they are: 0 at the end of the batch.
   * Rejects with E_DISK when a chunk is missing or shorter than it was, or with what the disk throws; no call is under way then.
   */
  async fill(block: Buffer): Promise<number> {
    let filled = 0;
    const reads: Promise<void>[] = [];
    try {
      while (filled < block.length && reads.length < READS_AT_ONCE) {
        const chunk = this.#current ?? (await this.#begin());
        if (chunk === undefined) break;
        const length = Math.min(chunk.length - chunk.at, block.length - filled);
        reads.push(awaitedLater(this.#read(chunk, block.subarray(filled, filled + length))));
        filled += length;
        chunk.at += length;
        this.#current = chunk.at < chunk.length ? chunk : undefined;
      }
    } finally {
      await allOf(reads);
    }
    return filled;
  }

  /** Closes what is open; no `fill` may be under way. */
  async close(): Promise<void> {
    const ahead = await Promise.allSettled(this.#ahead.splice(0));
    const open = ahead.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    if (this.#current !== undefined) open.push(this.#current);
    this.#current = undefined;
    await allOf(open.map((chunk) => chunk.file.close()));
  }

  /** The next chunk of the batch; undefined when there is none. */
  async #begin(): Promise<OpenChunk | undefined> {
    if (this.#batchChunksLeft === 0) return undefined;
    this.#openAhead();
    const [first] = this.#ahead;
    const chunk = await first;
    if (chunk === undefined || (chunk.length > this.#batchBytesLeft && !this.#batchEmpty)) return undefined;
    void this.#ahead.shift(); // It was awaited above.
    this.#batchBytesLeft -= chunk.length;
    this.#batchChunksLeft -= 1;
    this.#batchEmpty = false;
    this.#next = chunk.sequence + 1;
    return chunk;
  }

  #openAhead(): void {
    while (this.#nextOpen < this.#end && this.#ahead.length < OPEN_AHEAD) {
      this.#ahead.push(awaitedLater(this.#openChunk(this.#nextOpen)));
      this.#nextOpen += 1;
    }
  }

  async #openChunk(sequence: number): Promise<OpenChunk> {
    const file = await orMissing(this.#open(sequence));
    if (file === undefined) throw this.#lost(sequence, "is missing");
    try {
      const length = await file.size();
      if (length === 0) throw this.#lost(sequence, "is empty");
      return { sequence, file, length, at: 0 };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Reads the next bytes of a chunk, and closes it when they were the last. */
  async #read(chunk: OpenChunk, into: Buffer): Promise<void> {
    const at = chunk.at;
    const last = at + into.length === chunk.length;
    try {
      const got = await chunk.file.read(into, at);
      if (got !== into.length) throw this.#lost(chunk.sequence, `has ${at + got} bytes, not ${chunk.length}`);
    } finally {
      if (last) await chunk.file.close();
    }
  }

  #lost(sequence: number, what: string): Failure {
    return new Failure("E_DISK", `staged chunk ${sequence} of file ${this.#file} ${what}`);
  }
}
