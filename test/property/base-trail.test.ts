/** Laws of the trail of a root: both sides make the same one however many chunks there are, and it finds what differs. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { RootHasher } from "#base/root-hash.ts";
import { type ChunkSpan, RootTrail, trailBytes, TRAIL_PREFIXES_MAX, trailStride } from "#base/root-trail.ts";

interface Chunk {
  readonly length: number;
  readonly text: string;
}

function trailOf(chunks: readonly Chunk[]): RootTrail {
  const root = new RootHasher();
  const trail = new RootTrail(root);
  for (const { length, text } of chunks) {
    root.add(root.nextOffset, length, createHash("sha256").update(text).digest());
    trail.follow();
  }
  return trail;
}

const chunksOf = (count: number): Chunk[] =>
  Array.from({ length: count }, (_, n) => ({ length: 1 + (n % 7), text: `${n}` }));

/** The chunks from the one at `index` on are others: where the trail says the first of them is. */
function differenceAt(chunks: readonly Chunk[], index: number): ChunkSpan | undefined {
  const other = chunks.map((chunk, n) => (n < index ? chunk : { ...chunk, text: `not ${chunk.text}` }));
  return trailOf(chunks).firstDifference(trailOf(other).bytes());
}

function startOf(chunks: readonly Chunk[], index: number): number {
  return chunks.slice(0, index).reduce((sum, { length }) => sum + length, 0);
}

describe("the trail of a root", () => {
  test("has the length that follows from the number of chunks, and never more than 2,048 prefixes", () => {
    const counts = [0, 1, 2, 2047, 2048, 2049, 4095, 4096, 4097, 4098, 8191, 8192, 8193, 20_000];
    for (const count of counts) {
      const bytes = trailOf(chunksOf(count)).bytes();
      expect([count, bytes.length]).toEqual([count, trailBytes(count)]);
      expect(bytes.length).toBeLessThanOrEqual(8 * TRAIL_PREFIXES_MAX);
    }
    expect([2048, 2049, 4097, 4098, 2 ** 32 - 1].map(trailStride)).toEqual([1, 2, 2, 4, 2 ** 21]);
  });

  test("is the first 8 bytes of the root after every stride chunks", () => {
    const chunks = chunksOf(5000);
    const bytes = trailOf(chunks).bytes();
    for (const at of [0, 1, 700, 1249]) {
      const root = new RootHasher();
      for (const { length, text } of chunks.slice(0, (at + 1) * trailStride(chunks.length))) {
        root.add(root.nextOffset, length, createHash("sha256").update(text).digest());
      }
      expect(bytes.subarray(at * 8, at * 8 + 8).toHex()).toBe(root.root().subarray(0, 8).toHex());
    }
  });

  test("names the very chunk up to 2,048 of them, and its bytes", () => {
    const chunks = chunksOf(300);
    for (const index of [0, 1, 150, 298, 299]) {
      const start = startOf(chunks, index);
      const end = startOf(chunks, index + 1);
      expect(differenceAt(chunks, index)).toEqual({ first: index, last: index, start, end });
    }
  });

  test("names the stride of chunks it lies in beyond that, the last and shorter one too", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2049, max: 6000 }), fc.nat(), (count, pick) => {
        const chunks = chunksOf(count);
        const index = pick % count;
        const stride = trailStride(count);
        const first = index - (index % stride);
        const last = Math.min(first + stride, count) - 1;
        const [start, end] = [startOf(chunks, first), startOf(chunks, last + 1)];
        expect(differenceAt(chunks, index)).toEqual({ first, last, start, end });
      }),
      { numRuns: 10 },
    );
  });

  test("finds the same of a chunk that only has another length, and nothing where nothing differs", () => {
    const chunks = chunksOf(100);
    const longer = chunks.map((chunk, n) => (n === 42 ? { ...chunk, length: chunk.length + 1 } : chunk));
    expect(trailOf(chunks).firstDifference(trailOf(longer).bytes())).toMatchObject({ first: 42, last: 42 });
    expect(trailOf(chunks).firstDifference(trailOf(chunks).bytes())).toBeUndefined();
  });
});
