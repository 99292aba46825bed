/** What a compress thread does to one chunk: compress it in its place, and compute what proves the stored bytes. */
import { crc32 } from "node:zlib";
import { assert } from "#base/assert.ts";
import type { Compression } from "#base/chunk.ts";
import { compress, release, storedBytesMax } from "./codec.ts";

export interface Seal extends Proof {
  /** Length of the stored bytes. */
  readonly storedLength: number;
}

export interface Proof {
  /** CRC-32 of the stored bytes. */
  readonly crc: number;
  /** SHA-256 of the stored bytes, 32 bytes. */
  readonly digest: Uint8Array;
}

/**
 * Replaces the first `rawLength` bytes of `slab` by their compressed form, which begins where they began. `slab` needs room for
 * storedBytesMax of them.
 */
export function sealChunk(slab: Uint8Array, rawLength: number, compression: Compression): Seal {
  const stored = compress(slab.subarray(0, rawLength), compression);
  const storedLength = stored.length;
  assert(storedLength <= storedBytesMax(compression.mode, rawLength), "a chunk grew more than it can");
  const proof = proofOf(stored);
  slab.set(stored);
  release(stored);
  return { storedLength, ...proof };
}

/** What goes with stored bytes wherever they go. */
export function proofOf(stored: Uint8Array): Proof {
  return { crc: crc32(stored), digest: new Bun.CryptoHasher("sha256").update(stored).digest() };
}
