/**
 * The blocks of an index as a source of bytes has them: read whole, checked by CRC, and decompressed to exactly the length that their
 * reference promises. Knows the trailer, and nothing of what is in the other blocks.
 */
import { crc32, gunzipSync, zstdDecompressSync } from "node:zlib";
import { assert } from "#base/assert.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { indexDamaged } from "./index-bytes.ts";
import { readTrailer, type StoredBlock, type Trailer, TRAILER_STORED_BYTES_MAX } from "./index-directory.ts";

/** A file, or what stands for one. */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes from `offset`; both lie within the size. What it gives may be kept. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export class IndexBlocks {
  readonly mode: CompressionMode;
  readonly #source: ByteSource;

  private constructor(source: ByteSource, mode: CompressionMode) {
    this.#source = source;
    this.mode = mode;
  }

  /** Throws Failure E_INDEX_DAMAGED when what the source has does not end like an index. */
  static async open(source: ByteSource): Promise<{ blocks: IndexBlocks; trailer: Trailer }> {
    const length = Math.min(source.size, TRAILER_STORED_BYTES_MAX);
    const tail = await source.read(source.size - length, length);
    assert(tail.length === length, "a source gave another length than was asked for");
    const { trailer, mode } = readTrailer(tail, source.size);
    return { blocks: new IndexBlocks(source, mode), trailer };
  }

  /** The raw block. `what` names it in failures. */
  async read(block: StoredBlock, what: string): Promise<Uint8Array> {
    const { offset, storedLength, rawLength, crc } = block;
    const damaged = (how: string) => indexDamaged(`${what} at ${offset} ${how}`);
    if (offset + storedLength > this.#source.size) throw damaged("lies behind the end");
    const stored = await this.#source.read(offset, storedLength);
    assert(stored.length === storedLength, "a source gave another length than was asked for");
    if (crc32(stored) !== crc) throw damaged("is damaged");
    const raw = this.#decompress(stored, rawLength);
    if (raw?.length !== rawLength) throw damaged(`does not decompress to ${rawLength} bytes`);
    return raw;
  }

  /** Undefined when it cannot be, or would be longer than `lengthMax`. */
  #decompress(stored: Uint8Array, lengthMax: number): Uint8Array | undefined {
    try {
      const options = { maxOutputLength: lengthMax };
      return this.mode === "gzip" ? gunzipSync(stored, options) : zstdDecompressSync(stored, options);
    } catch (error) {
      if (error instanceof Error) return undefined;
      throw error;
    }
  }
}
