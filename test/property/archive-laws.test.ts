/** Laws of the archive domain on random trees, sizes, names and patterns; failing seeds are printed by fast-check. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { comparePaths } from "#archive/bytes.ts";
import { cutData, fitsChunk, isLarge } from "#archive/cutter.ts";
import { Excludes } from "#archive/exclude.ts";
import { sortNames } from "#archive/name-sort.ts";
import { blocks } from "#archive/tar-format.ts";
import { errnoName } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { readChunks } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { walkTar } from "#test/support/tar-walk.ts";
import { patternBytes } from "#test/support/tree.ts";

const chunkSizes = fc.integer({ min: 1, max: 256 }).map((steps) => steps * 64 * KiB);
/** Sizes near the borders of chunks of `chunkBytes`, and others. */
const near = (chunkBytes: number): fc.Arbitrary<number> =>
  fc.oneof(
    fc
      .tuple(fc.constantFrom(0, 0.5, 1, 1.5, 2, 3), fc.integer({ min: -513, max: 513 }))
      .map(([times, more]) => Math.max(0, times * chunkBytes + more)),
    fc.integer({ min: 0, max: 4 * chunkBytes }),
  );

describe("cutting", () => {
  test("covers a large file's data once, at multiples of the chunk size, with the padding in the last chunk", () => {
    const inputs = chunkSizes.chain((chunk) => fc.tuple(fc.constant(chunk), near(chunk)));
    fc.assert(
      fc.property(inputs, ([chunkBytes, size]) => {
        fc.pre(isLarge(size, chunkBytes));
        let offset = 0;
        let raw = 0;
        for (let last = false; !last;) {
          const cut = cutData(offset, size, chunkBytes);
          expect(offset % chunkBytes).toBe(0);
          expect(cut.dataBytes).toBeGreaterThan(0);
          expect(cut.rawBytes).toBeLessThanOrEqual(chunkBytes);
          if (!cut.last) expect(cut.rawBytes).toBe(chunkBytes);
          offset += cut.dataBytes;
          raw += cut.rawBytes;
          last = cut.last;
        }
        expect([offset, raw]).toEqual([size, blocks(size)]);
      }),
    );
  });
  test("lets an entry into a chunk only if the chunk stays within its size, or it is the first", () => {
    fc.assert(
      fc.property(chunkSizes, fc.nat(20 * MiB), fc.nat(20 * MiB), (chunk, gathered, entry) => {
        expect(fitsChunk(gathered, entry, chunk)).toBe(gathered === 0 || gathered + entry <= chunk);
      }),
    );
  });
});

/** Random trees of names that tempt the order (dots, spaces, slashes' neighbours) and of sizes that tempt the cuts. */
const CHUNK = 64 * KiB;
const names = fc.string({
  unit: fc.constantFrom("a", "b", ".", "-", "/", " ", "\xff", "\x01"),
  minLength: 1,
  maxLength: 12,
});
const trees = fc.array(fc.tuple(names, near(CHUNK)), { maxLength: 25 });

function sourceOf(files: readonly (readonly [string, number])[]): MemorySource {
  const source = new MemorySource();
  source.directory("/s");
  for (const [name, size] of files) {
    const parts = `s/${name}`.split("/").filter((part) => part !== "" && part !== "." && part !== "..");
    const path = `/${parts.join("/")}`;
    const above = parts.slice(0, -1).map((_, i) => `/${parts.slice(0, i + 1).join("/")}`);
    // A file cannot lie in a file, nor take the place of a directory.
    if (parts.length < 2 || above.some((parent) => isFile(source, parent)) || exists(source, path)) continue;
    source.file(path, patternBytes(size, size + parts.length));
  }
  return source;
}

function exists(source: MemorySource, path: string): boolean {
  try {
    source.lstat(Buffer.from(path, "latin1"));
    return true;
  } catch (error) {
    expect(errnoName(error)).toBe("ENOENT");
    return false;
  }
}

function isFile(source: MemorySource, path: string): boolean {
  return exists(source, path) && source.lstat(Buffer.from(path, "latin1")).type === "file";
}

describe("an archive", () => {
  test("is a whole tar in the order of the walk, cut where the rules say, whatever the tree", () => {
    fc.assert(
      fc.property(trees, (files) => {
        const archive = readChunks(sourceOf(files), ["/s"], { chunkBytes: CHUNK });
        expect(archive.problems).toEqual([]);
        const entries = walkTar(archive.tar);
        const paths = entries.map((entry) => Buffer.from(entry.path.replace(/\/$/, ""), "latin1"));
        expect([...paths].sort(comparePaths)).toEqual(paths);
        let at = 0;
        for (const chunk of archive.chunks) {
          const end = at + chunk.rawLength;
          const inside = entries.filter((entry) => entry.headersAt >= at && entry.headersAt < end);
          expect(inside.length).toBe(chunk.entries);
          expect(chunk.rawLength).toBeLessThanOrEqual(CHUNK);
          if (chunk.kind === "entries") for (const entry of inside) expect(isLarge(entry.size, CHUNK)).toBe(false);
          at = end;
        }
      }),
      { numRuns: 60 },
    );
  });
  test("puts next to each other what no chunk could hold: no chunk of small entries could have taken the next one", () => {
    fc.assert(
      fc.property(trees, (files) => {
        const { chunks, tar } = readChunks(sourceOf(files), ["/s"], { chunkBytes: CHUNK });
        const entries = walkTar(tar);
        let at = 0;
        for (const chunk of chunks) {
          at += chunk.rawLength;
          const next = entries.find((entry) => entry.headersAt === at);
          if (chunk.kind !== "entries" || next === undefined || isLarge(next.size, CHUNK)) continue;
          expect(chunk.rawLength + next.end - next.headersAt).toBeGreaterThan(CHUNK);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("sorting names", () => {
  const bytes = fc.string({ unit: fc.constantFrom("a", "b", "\x01", "\xff", "\x80"), minLength: 1, maxLength: 20 });
  test("is sorting by bytes", () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 300 }), fc.nat(5), (words, skip) => {
        const buffer = Buffer.from(words.map((word) => `${word}\0`).join(""), "latin1");
        const starts = new Uint32Array(words.length + skip);
        let at = 0;
        for (const [i, word] of words.entries()) {
          starts[i + skip] = at;
          at += word.length + 1;
        }
        sortNames(buffer, starts, skip, starts.length);
        const sorted = [...starts.subarray(skip)].map((start) =>
          buffer.subarray(start, buffer.indexOf(0, start)).toString("latin1"),
        );
        const expected = words.map((word) => Buffer.from(word, "latin1")).sort(Buffer.compare);
        expect(sorted).toEqual(expected.map((word) => word.toString("latin1")));
        expect([...starts.subarray(0, skip)].every((start) => start === 0)).toBe(true);
      }),
    );
  });
});

/** The rules of exclude.ts said once more, by recursion over text: slow, and with nothing in common with the real one. */
function naiveExcluded(pattern: string, path: string): boolean {
  const body = pattern.replace(/\/+$/, "");
  const parts = body.split("/").filter((part) => part !== "");
  if (parts.at(-1) === "**") parts.push("*");
  const components = path.split("/").slice(1);
  return naiveParts(body.startsWith("/") ? parts : ["**", ...parts], components);
}

function naiveParts(parts: readonly string[], components: readonly string[]): boolean {
  const [part, ...rest] = parts;
  if (part === undefined) return components.length === 0;
  if (part === "**") {
    return naiveParts(rest, components) || (components.length > 0 && naiveParts(parts, components.slice(1)));
  }
  const [component, ...others] = components;
  return component !== undefined && naiveName(part, component) && naiveParts(rest, others);
}

function naiveName(pattern: string, name: string): boolean {
  if (pattern === "") return name === "";
  if (pattern.startsWith("*")) {
    return naiveName(pattern.slice(1), name) || (name !== "" && naiveName(pattern, name.slice(1)));
  }
  if (name === "") return false;
  if (pattern.startsWith("?")) return naiveName(pattern.slice(1), name.slice(1));
  const set = /^\[(!?)(.)-(.)\]/.exec(pattern);
  if (set !== null) {
    const inside = name.charAt(0) >= (set[2] ?? "") && name.charAt(0) <= (set[3] ?? "");
    return inside !== (set[1] === "!") && naiveName(pattern.slice(set[0].length), name.slice(1));
  }
  return pattern.charAt(0) === name.charAt(0) && naiveName(pattern.slice(1), name.slice(1));
}

describe("excluding", () => {
  const component = fc.string({ unit: fc.constantFrom("a", "b", "c", "."), minLength: 1, maxLength: 5 });
  const real = component.filter((name) => name !== "." && name !== "..");
  const paths = fc.array(real, { minLength: 1, maxLength: 6 }).map((parts) => `/${parts.join("/")}`);
  const piece = fc.constantFrom("a", "b", "c", "*", "?", "[a-b]", "[!a-b]", ".");
  const patternPart = fc.oneof(
    { weight: 4, arbitrary: fc.array(piece, { minLength: 1, maxLength: 4 }).map((pieces) => pieces.join("")) },
    { weight: 1, arbitrary: fc.constant("**") },
  );
  const patterns = fc
    .tuple(fc.constantFrom("", "/"), fc.array(patternPart, { minLength: 1, maxLength: 5 }), fc.constantFrom("", "/"))
    .filter(([, parts]) => parts.every((part) => part !== "." && part !== ".."))
    .map(([front, parts, back]) => `${front}${parts.join("/")}${back}`);
  test("is what the rules say, for any pattern and path", () => {
    let matches = 0;
    fc.assert(
      fc.property(patterns, paths, (pattern, path) => {
        const bytes = Buffer.from(path);
        const answer = new Excludes([pattern]).match(bytes, bytes.lastIndexOf("/") + 1, bytes.length);
        const expected = naiveExcluded(pattern, path);
        if (expected) matches += 1;
        expect(answer).toBe(expected ? (pattern.endsWith("/") ? "if-directory" : "yes") : "no");
      }),
      { numRuns: 5000 },
    );
    expect(matches).toBeGreaterThan(100);
  });
  test("goes by the last of many patterns that matches, kept or not", () => {
    const lists = fc.array(fc.tuple(fc.boolean(), patterns), { maxLength: 6 });
    const seen = new Set<string>();
    fc.assert(
      fc.property(lists, paths, fc.boolean(), (list, path, isDirectory) => {
        const bytes = Buffer.from(path);
        const excludes = new Excludes(list.map(([keeps, pattern]) => (keeps ? `!${pattern}` : pattern)));
        const answer = excludes.match(bytes, bytes.lastIndexOf("/") + 1, bytes.length);
        seen.add(answer);
        const counts = ([, pattern]: readonly [boolean, string]): boolean =>
          naiveExcluded(pattern, path) && (isDirectory || !pattern.endsWith("/"));
        const decisive = list.findLast(counts);
        const excluded = answer === "yes" || answer === (isDirectory ? "if-directory" : "unless-directory");
        expect(excluded).toBe(decisive !== undefined && !decisive[0]);
      }),
      { numRuns: 2000 },
    );
    expect([...seen].sort()).toEqual(["if-directory", "no", "unless-directory", "yes"]);
  }, 120_000);
  test("never fails but with a sentence about the pattern", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 30 }), paths, (pattern, path) => {
        const bytes = Buffer.from(path);
        try {
          new Excludes([pattern]).match(bytes, bytes.lastIndexOf("/") + 1, bytes.length);
        } catch (error) {
          expect(String(error)).toStartWith("E_CONFIG: exclude pattern ");
        }
      }),
      { numRuns: 1000 },
    );
  });
});
