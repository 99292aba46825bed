/** Laws of the index on random entries and trees, and of its reader on damage; failing seeds are printed by fast-check. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { comparePaths } from "#archive/bytes.ts";
import { diffIndexes } from "#archive/index-diff.ts";
import { ENTRY_TYPES, type IndexEntry } from "#archive/index-format.ts";
import { entriesBelow, entriesInRange, findPath, listDirectory, liesBelow } from "#archive/index-queries.ts";
import { entryEnd, IndexReader } from "#archive/index-reader.ts";
import { blocks } from "#archive/tar-format.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import {
  buildIndex,
  collect,
  expected,
  latin1,
  type MadeChunk,
  type MadeEntry,
  MemoryBytes,
  openIndex,
  plainEntries,
} from "#test/support/index-kit.ts";

const bytesOf = (text: string): Uint8Array => Buffer.from(text, "latin1");

/** Paths that tempt the order and the keys: slashes' neighbours, shared beginnings, long ones. */
const names = fc
  .oneof(
    fc.string({ unit: fc.constantFrom("a", "b", "/", "!", "\x01", "\xff"), minLength: 1, maxLength: 10 }),
    fc
      .tuple(fc.constantFrom(254, 255, 256, 400), fc.constantFrom("", "a", "/a", "b", "!"))
      .map(([length, end]) => "d".repeat(length) + end),
  )
  .map((text) =>
    text
      .split("/")
      .filter((part) => part !== "")
      .join("/"),
  );
const sortedNames = fc
  .uniqueArray(names, { maxLength: 60 })
  .map((all) => all.sort((a, b) => comparePaths(bytesOf(a), bytesOf(b))));

const seconds = fc.oneof(fc.integer({ min: -(2 ** 45), max: 2 ** 45 }), fc.constantFrom(0, 1_700_000_000));
const nanos = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 }));
const ids = fc.oneof(fc.nat(3), fc.constantFrom(0, 65_534, 2 ** 32 - 1));
const inodes = fc.oneof(fc.nat(100), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.constantFrom(10n ** 15n, 999n));

const madeEntries: fc.Arbitrary<readonly MadeEntry[]> = fc
  .tuple(
    fc.array(
      fc.record({
        path: names,
        type: fc.constantFrom(...ENTRY_TYPES),
        target: fc.uint8Array({ maxLength: 20 }),
        mode: fc.nat(0o7777),
        ...{
          uid: ids,
          gid: ids,
          mtimeSeconds: seconds,
          mtimeNanos: nanos,
          ctimeNanos: nanos,
          dev: inodes,
          ino: inodes,
        },
        ctime: fc.oneof(seconds, fc.constant(undefined)),
        ...{ major: fc.nat(2 ** 20), minor: fc.nat(2 ** 20) },
        size: fc.oneof(fc.nat(2000), fc.constantFrom(0, 2 ** 33, 2 ** 43)),
        holes: fc.oneof(fc.constant(0), fc.nat(1000)),
        ...{ gap: fc.oneof(fc.constant(0), fc.nat(3)), headers: fc.integer({ min: 1, max: 4 }) },
        digest: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        ...{ changed: fc.boolean(), short: fc.boolean(), racy: fc.boolean() },
      }),
      { maxLength: 40 },
    ),
    fc.boolean(),
  )
  .map(([all, live]) => {
    let end = 0;
    return all.map((one) => {
      const { path, type, target, mode, uid, gid, mtimeSeconds, mtimeNanos, major, minor } = one;
      const size = type === "file" ? one.size : 0;
      const storedBytes = Math.max(0, size - one.holes);
      const headersAt = end + one.gap * 512;
      const dataAt = headersAt + one.headers * 512;
      end = dataAt + blocks(storedBytes);
      const isLink = type === "hardlink" || type === "symlink";
      const ctimeSeconds = one.ctime ?? mtimeSeconds;
      const ctimeNanos = one.ctime === undefined ? mtimeNanos : one.ctimeNanos;
      return {
        entry: {
          ...{ path: bytesOf(path), type, mode, uid, gid, mtimeSeconds, mtimeNanos, size },
          ...{ rdevMajor: major, rdevMinor: minor, linkTarget: isLink ? target : undefined },
        },
        live: live ? { ctimeSeconds, ctimeNanos, dev: String(one.dev), ino: String(one.ino) } : undefined,
        place: {
          ...{ headersAt, dataAt, storedBytes, headersDigest: one.digest, sparse: storedBytes !== size },
          ...{ changed: one.changed, short: one.short, racy: one.racy },
        },
      };
    });
  });

const madeChunks: fc.Arbitrary<readonly MadeChunk[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("entries", "headers", "data", "end", "unknown", "stream"),
    rawLength: fc.oneof(fc.integer({ min: 1, max: 2 ** 21 }), fc.constant(2 ** 40)),
    storedLength: fc.oneof(fc.integer({ min: 1, max: 2 ** 21 }), fc.constant(2 ** 40)),
  }),
  { maxLength: 20 },
);
const modes = fc.constantFrom("gzip" as const, "zst" as const);

describe("an index", () => {
  test("gives back what was put in", async () => {
    await fc.assert(
      fc.asyncProperty(madeEntries, madeChunks, modes, async (entries, chunks, mode) => {
        const rebuilt = entries[0]?.live === undefined;
        const index = await openIndex(buildIndex(entries, chunks, { mode, header: { rebuilt } }));
        expect(await collect(index.entries())).toEqual(
          entries.map((made, number) => ({ number, ...expected(made) })) as IndexEntry[],
        );
        const told = (await collect(index.chunks())).map(({ kind, rawLength, storedLength }) => {
          return { kind, rawLength, storedLength };
        });
        expect(told).toEqual([...chunks]);
        const count = (what: "changed" | "short"): number => entries.filter(({ place }) => place[what]).length;
        const sorted = entries.every(({ entry }, i) => {
          const before = entries[i - 1];
          return before === undefined || comparePaths(before.entry.path, entry.path) < 0;
        });
        expect(index.totals).toMatchObject({ sorted, changed: count("changed"), short: count("short") });
      }),
      { numRuns: 150 },
    );
  });
  test("answers like a naive list", async () => {
    await fc.assert(
      fc.asyncProperty(sortedNames, names, fc.nat(100_000), fc.nat(5000), async (all, asked, from, length) => {
        const index = await openIndex(buildIndex(plainEntries(all)));
        const entries = await collect(index.entries());
        expect(index.totals.sorted).toBe(true);
        for (const name of [asked, all[from % Math.max(1, all.length)] ?? "a"]) {
          const path = bytesOf(name);
          const texts = (list: readonly { readonly path: Uint8Array }[]): string[] => list.map((e) => latin1(e.path));
          const found = await findPath(index, path);
          expect(found === undefined ? undefined : latin1(found.path)).toBe(all.includes(name) ? name : undefined);
          const below = entries.filter((entry) => liesBelow(path, entry.path));
          const itself = entries.filter((entry) => latin1(entry.path) === name);
          expect(texts(await collect(entriesBelow(index, path)))).toEqual(texts([...itself, ...below]));
          const depth = name === "" ? 0 : name.split("/").length;
          const children = new Set(texts(below).map((text) => text.split("/", depth + 1).join("/")));
          const listed = await collect(listDirectory(index, path));
          expect(texts(listed)).toEqual([...children]);
          for (const child of listed) expect(child.entry !== undefined).toBe(all.includes(latin1(child.path)));
        }
        const to = from + length;
        const inRange = entries.filter((entry) => entry.headersAt < to && entryEnd(entry) > from);
        expect(await collect(entriesInRange(index, from, to))).toEqual(inRange);
      }),
      { numRuns: 150 },
    );
  });
  test("differs from another by what is only in one", async () => {
    await fc.assert(
      fc.asyncProperty(sortedNames, sortedNames, async (a, b) => {
        const items = await collect(
          diffIndexes(await openIndex(buildIndex(plainEntries(a))), await openIndex(buildIndex(plainEntries(b)))),
        );
        const added = items.flatMap((item) => (item.change === "added" ? [latin1(item.after.path)] : []));
        const removed = items.flatMap((item) => (item.change === "removed" ? [latin1(item.before.path)] : []));
        expect(added).toEqual(b.filter((name) => !a.includes(name)));
        expect(removed).toEqual(a.filter((name) => !b.includes(name)));
      }),
      { numRuns: 100 },
    );
  });
});

/** Reads all there is; what it throws must be the one Failure, else the test fails. */
async function readAll(bytes: Uint8Array): Promise<"read" | "refused"> {
  try {
    const index = await IndexReader.open(new MemoryBytes(bytes));
    await collect(index.entries());
    await collect(index.chunks());
    return "read";
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    expect(error.code).toBe("E_INDEX_DAMAGED");
    return "refused";
  }
}

describe("a damaged index", () => {
  function* manyNames(): Generator<string> {
    for (let i = 0; i < 3000; i += 1) yield `some/directory/${String(i).padStart(6, "0")}`;
  }
  const chunks = Array.from({ length: 1500 }, () => ({ kind: "data", rawLength: 512, storedLength: 100 }) as const);
  const real: Readonly<Record<CompressionMode, Uint8Array>> = {
    gzip: buildIndex(plainEntries(manyNames()), chunks),
    zst: buildIndex(plainEntries(manyNames()), chunks, { mode: "zst" }),
  };

  test("with any one bit flipped is refused, and with any end cut off or anything behind it", async () => {
    await fc.assert(
      fc.asyncProperty(modes, fc.nat(), fc.nat(7), async (mode, place, bit) => {
        const bytes = new Uint8Array(real[mode]);
        const at = place % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        expect(await readAll(bytes)).toBe("refused");
        expect(await readAll(real[mode].subarray(0, at))).toBe("refused");
        expect(await readAll(Buffer.concat([real[mode], real[mode].subarray(at)]))).toBe("refused");
      }),
      { numRuns: 150 },
    );
  }, 60_000);
  test("that lies, with every checksum right, is read or refused, and nothing else", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(6),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        async (which, lies) => {
          let number = 0;
          const lie = (raw: Uint8Array): Uint8Array => {
            number += 1;
            if (number - 1 !== which) return raw;
            const copy = new Uint8Array(raw);
            // The beginning of a block says more than the rest.
            for (const [i, [at, byte]] of lies.entries())
              copy[at % (i === 0 ? Math.min(64, copy.length) : copy.length)] = byte;
            return copy;
          };
          await readAll(buildIndex(plainEntries(manyNames()), chunks, { lie }));
        },
      ),
      { numRuns: 100 },
    );
  }, 60_000);
  test("that is none at all is refused", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        expect(await readAll(bytes)).toBe("refused");
      }),
    );
    for (const bytes of [new Uint8Array(0), new Uint8Array(1000), Bun.gzipSync("no index")]) {
      expect(await readAll(bytes)).toBe("refused");
    }
  });
});
