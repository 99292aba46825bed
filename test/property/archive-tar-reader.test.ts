/** Laws of the tar reader: what the writer wrote comes back, however the stream is cut; damaged bytes never do more than damage. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { TarReader } from "#archive/tar-reader.ts";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { readChunks } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { writeTar, writtenEntries, type WrittenEntry } from "#test/support/tar-arbitraries.ts";
import { CollectingSink, collectTar, describeEntry } from "#test/support/tar-collect.ts";
import { patternBytes } from "#test/support/tree.ts";

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const written = fc.array(writtenEntries, { maxLength: 6 });
const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 700 }), fc.constantFrom(1, 511, 512, 513, 10_240)), {
  minLength: 1,
  maxLength: 20,
});

/** What the writer was told, in the reader's words. */
function expected({ entry }: WrittenEntry): Partial<ReadEntry> {
  const { stat, type, sparse } = entry;
  const device = type === "char" || type === "block";
  return {
    type,
    path: entry.path,
    linkTarget: entry.linkTarget,
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    size: sparse?.realSize ?? entry.size,
    storedBytes: entry.size,
    sparse: sparse !== undefined,
    mtimeSeconds: stat.mtimeSeconds,
    mtimeNanos: stat.mtimeSeconds < 0 ? 0 : stat.mtimeNanos,
    deviceMajor: device ? stat.rdevMajor : 0,
    deviceMinor: device ? stat.rdevMinor : 0,
    aclUnreadable: false,
    headersMayBeLost: false,
  };
}

function contentOf({ entry, data }: WrittenEntry): Uint8Array {
  if (entry.sparse === undefined) return data;
  const content = new Uint8Array(entry.sparse.realSize);
  let at = 0;
  for (const { start, end } of entry.sparse.extents) {
    content.set(data.subarray(at, at + end - start), start);
    at += end - start;
  }
  return content;
}

describe("the tar reader", () => {
  test("gives back what the writer was given, attributes too, for any entries", () => {
    fc.assert(
      fc.property(written, (entries) => {
        const { entries: found } = collectTar(writeTar(entries));
        expect(found.length).toBe(entries.length);
        for (const [i, one] of entries.entries()) {
          const back = found[i];
          expect(back?.entry).toMatchObject(expected(one));
          expect(Buffer.compare(back?.content ?? new Uint8Array(0), contentOf(one))).toBe(0);
          const attributes = one.entry.attributes.map(({ value }) => latin1(value)).sort();
          const acls = one.entry.attributes.filter(({ key }) => latin1(key).startsWith("SCHILY.acl."));
          expect([back?.entry.aclAccess, back?.entry.aclDefault].filter((acl) => acl !== undefined).length).toBe(
            acls.length,
          );
          const values = (back?.entry.xattrs ?? []).map(({ value }) => latin1(value));
          expect([...values, ...acls.map(({ value }) => latin1(value))].sort()).toEqual(attributes);
        }
      }),
      { numRuns: 80 },
    );
  }, 120_000);
  test("gives the same entries however the stream is cut", () => {
    fc.assert(
      fc.property(written, pieces, (entries, lengths) => {
        const tar = writeTar(entries);
        const whole = collectTar(tar).entries.map(describeEntry);
        expect(collectTar(tar, { pieces: lengths }).entries.map(describeEntry)).toEqual(whole);
      }),
      { numRuns: 100 },
    );
  }, 120_000);
  test("reads what the chunk reader makes of whole trees, and knows where each entry lies", () => {
    const source = new MemorySource();
    for (let i = 0; i < 30; i += 1) source.file(`/s/d${i % 3}/f${i}`, patternBytes(i * 5000, i));
    const { tar, chunks } = readChunks(source, ["/s"], { chunkBytes: 64 * KiB });
    const starts = new Set<number>();
    let at = 0;
    for (const chunk of chunks) {
      starts.add(at);
      at += chunk.rawLength;
    }
    const { entries } = collectTar(tar);
    expect(entries.length).toBe(chunks.reduce((sum, chunk) => sum + chunk.entries, 0));
    // From the beginning of any of its entries on, the rest is the same.
    for (const [i, { entry }] of entries.entries()) {
      const rest = collectTar(tar.subarray(entry.headersAt), { startAt: entry.headersAt });
      expect(rest.entries.map(describeEntry)).toEqual(entries.slice(i).map(describeEntry));
    }
    const large = entries.filter(({ entry }) => entry.size > 32 * KiB);
    for (const { entry } of large) expect(starts).toContain(entry.dataAt);
  });
});

describe("a sparse file", () => {
  const CHUNK = 256 * KiB;
  const stretches = fc.array(
    fc.tuple(fc.oneof(fc.integer({ min: 1, max: 3 * MiB }), fc.nat(100_000)), fc.integer({ min: 1, max: 400_000 })),
    { maxLength: 6 },
  );
  test("comes back whole whatever its holes, each chunk with data of one stretch of chunk_size", () => {
    fc.assert(
      fc.property(stretches, fc.nat(3 * MiB), (parts, tail) => {
        const ranges: [number, number][] = [];
        let size = 0;
        for (const [hole, data] of parts) {
          ranges.push([size + hole, size + hole + data]);
          size += hole + data;
        }
        size += tail;
        const data = new Uint8Array(size);
        for (const [start, end] of ranges) data.set(patternBytes(end - start, start + 1), start);
        const source = new MemorySource();
        source.file("/f", data, { allocatedBytes: 0 }).ranges = ranges;
        const { tar, chunks, problems } = readChunks(source, ["/f"], { chunkBytes: CHUNK });
        expect(problems).toEqual([]);
        const { entries } = collectTar(tar);
        expect(Buffer.compare(entries[0]?.content ?? new Uint8Array(0), data)).toBe(0);
        const bounds = chunks.filter((chunk) => chunk.kind === "data").map((chunk) => chunk.rawLength);
        expect(bounds.every((length) => length <= CHUNK)).toBe(true);
        expect(bounds.length).toBeLessThanOrEqual(Math.ceil(size / CHUNK));
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});

/** Reads to the end whatever comes. Throws when the reader does anything but call its sink or fail with E_ARCHIVE_DAMAGED. */
function survive(tar: Uint8Array, lengths: readonly number[]): CollectingSink {
  const { entries: strict } = catchDamage(() => collectTar(tar, { pieces: lengths })) ?? { entries: [] };
  const sink = collectTar(tar, { pieces: lengths, lenient: true });
  for (const text of sink.damages) expect(text).toMatch(/^E_ARCHIVE_DAMAGED: .* \(byte \d+ of the tar\)$/);
  // Where nothing is wrong both are the same.
  if (sink.damages.length === 0) expect(strict.map(describeEntry)).toEqual(sink.entries.map(describeEntry));
  return sink;
}

function catchDamage<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof Failure && error.code === "E_ARCHIVE_DAMAGED") return undefined;
    throw error;
  }
}

describe("damage", () => {
  const mutations = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("set" as const), at: fc.nat(), value: fc.nat(255) }),
      fc.record({ kind: fc.constant("cut" as const), at: fc.nat(), value: fc.nat(2000) }),
      fc.record({ kind: fc.constant("double" as const), at: fc.nat(), value: fc.nat(2000) }),
      // With the checksum made right again: the numbers themselves lie.
      fc.record({ kind: fc.constant("forge" as const), at: fc.nat(), value: fc.nat(255) }),
    ),
    { minLength: 1, maxLength: 5 },
  );
  type Mutation = { readonly kind: "set" | "cut" | "double" | "forge"; readonly at: number; readonly value: number };
  function mutate(tar: Uint8Array, { kind, at: anywhere, value }: Mutation): Uint8Array {
    const at = anywhere % Math.max(1, tar.length);
    if (kind === "cut") return Buffer.concat([tar.subarray(0, at), tar.subarray(at + value)]);
    if (kind === "double") return Buffer.concat([tar.subarray(0, at + value), tar.subarray(at)]);
    const changed = new Uint8Array(tar);
    changed[at] = value;
    if (kind === "forge") forge(changed, at - (at % 512));
    return changed;
  }
  function forge(tar: Uint8Array, block: number): void {
    if (block + 512 > tar.length) return;
    const sum = tar
      .subarray(block, block + 512)
      .reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
    tar.set(Buffer.from(`${sum.toString(8).padStart(6, "0")}\0 `), block + 148);
  }
  test("of any kind is a typed failure, and never stops a reader that goes on", () => {
    let damaged = 0;
    fc.assert(
      fc.property(written, mutations, pieces, (entries, changes, lengths) => {
        const tar = changes.reduce(mutate, writeTar(entries));
        if (survive(tar, lengths).damages.length > 0) damaged += 1;
      }),
      { numRuns: 200 },
    );
    expect(damaged).toBeGreaterThan(60);
  }, 120_000);
  test("is what random bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), pieces, (bytes, lengths) => {
        expect(survive(bytes, lengths).damages.length).toBeGreaterThan(0);
      }),
    );
  });
  test("in one entry's headers costs that entry and no other", () => {
    fc.assert(
      fc.property(fc.array(writtenEntries, { minLength: 2, maxLength: 6 }), fc.nat(), (entries, anywhere) => {
        const tar = writeTar(entries);
        const whole = collectTar(tar).entries;
        const victim = anywhere % whole.length;
        const { headersAt, dataAt } = whole[victim]?.entry ?? { headersAt: 0, dataAt: 0 };
        // All of its headers, so that none of them looks like a smaller entry.
        const damaged = new Uint8Array(tar).fill(0xee, headersAt, dataAt);
        const { entries: found, skips } = collectTar(damaged, { lenient: true });
        const others = whole.filter((_, i) => i !== victim).map((one) => latin1(one.entry.path));
        expect(found.map((one) => latin1(one.entry.path))).toEqual(others);
        expect(skips.length).toBe(1);
      }),
      { numRuns: 100 },
    );
  }, 120_000);
  test("that is told as missing costs what was in it, and data of a large file only that part", () => {
    fc.assert(
      fc.property(
        fc.array(writtenEntries, { minLength: 1, maxLength: 5 }),
        fc.nat(),
        fc.nat(4000),
        (entries, anywhere, length) => {
          const tar = writeTar(entries);
          const from = anywhere % tar.length;
          const to = Math.min(tar.length, from + length);
          const sink = new CollectingSink();
          sink.damaged = () => undefined;
          const reader = new TarReader({ sink });
          reader.push(tar.subarray(0, from));
          reader.missing(to - from);
          reader.push(tar.subarray(to));
          reader.end();
          expect(reader.offset).toBe(tar.length);
          const intact = collectTar(tar).entries.filter(({ entry }) => {
            const end = entry.dataAt + Math.ceil(entry.storedBytes / 512) * 512;
            return end <= from || entry.headersAt >= to;
          });
          const found = new Set(sink.entries.map((one) => describeEntry(one).replace(" after damage", "")));
          for (const one of intact) expect(found).toContain(describeEntry(one));
        },
      ),
      { numRuns: 200 },
    );
  }, 120_000);
});
