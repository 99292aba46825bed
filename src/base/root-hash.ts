/**
 * The proof of a file: SHA-256 over each chunk's (offset u64, stored length u32, digest 32 bytes) in sequence order,
 * big-endian. PROTOCOL.md "Integrity". Both sides compute it from their own digests; it says nothing about whether the
 * bytes are on disk.
 */
import { createHash } from "node:crypto";
import { assert } from "./assert.ts";

export const DIGEST_BYTES = 32;
const RECORD_BYTES = 8 + 4 + DIGEST_BYTES;

/** Takes the chunks of one file in sequence order; each must start where the one before it ended. */
export class RootHasher {
  readonly #hash = createHash("sha256");
  readonly #record = new Uint8Array(RECORD_BYTES);
  readonly #view = new DataView(this.#record.buffer);
  #nextOffset = 0;
  #chunkCount = 0;

  /** Chunks added so far. */
  get chunkCount(): number {
    return this.#chunkCount;
  }

  /** Stored bytes of the chunks added so far: where the next one starts. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** `offset` and `length` in bytes of the stored chunk, `digest` its SHA-256. */
  add(offset: number, length: number, digest: Uint8Array): void {
    assert(offset === this.#nextOffset, `chunk ${this.#chunkCount} at offset ${offset}, expected ${this.#nextOffset}`);
    assert(length > 0 && length <= 0xffff_ffff, `chunk ${this.#chunkCount} of ${length} bytes`);
    assert(digest.length === DIGEST_BYTES, `digest of ${digest.length} bytes`);
    this.#view.setUint32(0, Math.floor(offset / 2 ** 32));
    this.#view.setUint32(4, offset % 2 ** 32);
    this.#view.setUint32(8, length);
    this.#record.set(digest, 12);
    this.#hash.update(this.#record);
    this.#nextOffset += length;
    this.#chunkCount += 1;
  }

  /** The root of what was added so far, 32 bytes; more may be added afterwards. */
  root(): Uint8Array {
    return new Uint8Array(this.#hash.copy().digest());
  }
}
