/** Indexes in memory, for tests: made from a tree by the code of the product without its threads, and read again. */
import { type Batches, IndexReader } from "#archive/index-reader.ts";
import type { ByteSource } from "#archive/index-blocks.ts";

/** Bytes as a source, which counts what is read. */
export class MemoryBytes implements ByteSource {
  readonly #bytes: Uint8Array;
  reads = 0;
  readBytes = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    if (offset < 0 || length < 0 || offset + length > this.size) {
      return Promise.reject(new RangeError(`${length} bytes at ${offset} of ${this.size}`));
    }
    this.reads += 1;
    this.readBytes += length;
    return Promise.resolve(this.#bytes.slice(offset, offset + length));
  }
}

export function openIndex(bytes: Uint8Array): Promise<IndexReader> {
  return IndexReader.open(new MemoryBytes(bytes));
}

export async function collect<T>(batches: Batches<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const batch of batches) items.push(...batch);
  return items;
}
