/** Chunks become gzip members and zstd frames that say nothing but their content, never longer than announced. */
import { describe, expect, test } from "bun:test";
import { crc32, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { Compression } from "#base/chunk.ts";
import { KiB, MiB } from "#base/units.ts";
import { compress, release, storedBytesMax } from "#compress/codec.ts";
import { sealChunk } from "#compress/seal.ts";
import { patternBytes } from "#test/support/tree.ts";

const ALL: readonly Compression[] = [
  { mode: "gzip", level: 1 },
  { mode: "gzip", level: 3 },
  { mode: "gzip", level: 6 },
  { mode: "gzip", level: 12 },
  { mode: "zst", level: 1 },
  { mode: "zst", level: 3 },
];

function decompress(stored: Uint8Array, { mode }: Compression): Buffer {
  return mode === "gzip" ? gunzipSync(stored) : zstdDecompressSync(stored);
}

function incompressible(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

describe.each(ALL.map((compression) => [compression] as const))("%o", (compression) => {
  test("gives back what it took, from ordinary and from shared memory", () => {
    for (const length of [0, 1, 512, 64 * KiB, MiB + 1]) {
      const raw = patternBytes(length, length);
      const shared = new Uint8Array(new SharedArrayBuffer(length));
      shared.set(raw);
      const stored = compress(raw, compression);
      expect(decompress(stored, compression).equals(raw)).toBe(true);
      expect(Buffer.compare(compress(shared, compression), stored)).toBe(0);
    }
  });
  test("never makes more than it says it may", () => {
    for (const length of [0, 1, 4999, 5000, 5001, 128 * KiB, 128 * KiB + 1, 2 * MiB]) {
      const stored = compress(incompressible(length), compression);
      expect(stored.length).toBeLessThanOrEqual(storedBytesMax(compression.mode, length));
    }
  });
  test("frees its result when told, and only that", () => {
    const first = compress(patternBytes(100), compression);
    const second = compress(patternBytes(200), compression);
    const copy = second.slice();
    release(first);
    expect(Buffer.compare(second, copy)).toBe(0);
  });
});

describe("a gzip member", () => {
  test("carries neither time, name nor system, the same bytes whenever and wherever it is made", () => {
    for (const [level, flags] of [
      [1, 4],
      [6, 0],
      [12, 2],
    ] as const) {
      const stored = compress(patternBytes(1000), { mode: "gzip", level });
      expect([...stored.subarray(0, 10)]).toEqual([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, flags, 255]);
    }
  });
  test("has no level beyond those of the library", () => {
    expect(() => compress(new Uint8Array(1), { mode: "gzip", level: 13 })).toThrow(RangeError);
  });
});

describe("a zstd frame", () => {
  test("says how long its content is, and has a checksum of it, also where it is stored as it was", () => {
    const stored = compress(patternBytes(100_000), { mode: "zst", level: 1 });
    const view = new DataView(stored.buffer, stored.byteOffset);
    expect(view.getUint32(0, true)).toBe(0xfd2fb528);
    const descriptor = view.getUint8(4);
    expect([descriptor >> 6, descriptor & 4]).toEqual([2, 4]);
    const singleSegment = (descriptor & 0x20) !== 0;
    expect(view.getUint32(singleSegment ? 5 : 6, true)).toBe(100_000);
    const raw = compress(incompressible(100_000), { mode: "zst", level: 1 });
    expect(raw.length).toBeGreaterThan(100_000);
    raw[50_000] = (raw[50_000] ?? 0) ^ 1;
    expect(() => zstdDecompressSync(raw)).toThrow("checksum");
  });
});

describe("a zstd chunk", () => {
  test.each([[1], [3], [19]])("finds what comes again anywhere in it, at level %d", (level) => {
    const once = incompressible(900 * KiB);
    const raw = new Uint8Array(4 * MiB);
    for (let at = 0; at + once.length <= raw.length; at += once.length) raw.set(once, at);
    const stored = compress(raw, { mode: "zst", level });
    expect(stored.length).toBeLessThan(once.length * 1.1);
    expect(decompress(stored, { mode: "zst", level }).equals(raw)).toBe(true);
  });
  test("may be as long as the longest chunk there is", () => {
    const raw = patternBytes(17 * MiB);
    const stored = compress(raw, { mode: "zst", level: 1 });
    expect(decompress(stored, { mode: "zst", level: 1 }).equals(raw)).toBe(true);
    release(stored);
    expect(stored.length).toBe(0);
  });
});

describe("sealing", () => {
  test.each([[ALL[0]], [ALL[4]]])("replaces a chunk in its slab and proves the stored bytes: %o", (compression) => {
    if (compression === undefined) throw new Error("no compression");
    const raw = incompressible(300_000);
    const slab = new Uint8Array(new SharedArrayBuffer(storedBytesMax(compression.mode, raw.length) + 100));
    slab.set(raw);
    const seal = sealChunk(slab, raw.length, compression);
    const stored = slab.slice(0, seal.storedLength);
    expect(decompress(stored, compression).equals(raw)).toBe(true);
    expect(seal.crc).toBe(crc32(stored));
    expect(Buffer.from(seal.digest).toString("hex")).toBe(new Bun.CryptoHasher("sha256").update(stored).digest("hex"));
  });
});
