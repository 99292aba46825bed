/** Versions of files over archives: the merge against a naive one, and which archives make one version. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { comparePaths } from "#archive/bytes.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import type { Batches } from "#archive/index-reader.ts";
import { fileHistories } from "#restore/file-versions.ts";
import { collect } from "#test/support/index-kit.ts";

function entry(path: string, size: number): IndexEntry {
  return {
    ...{ number: 0, path: Buffer.from(path), type: "file", changed: false, short: false, racy: false, sparse: false },
    ...{ size, storedBytes: size, headersAt: 0, dataAt: 0, headersDigest: BigInt(size) },
    ...{ mtimeSeconds: 1, mtimeNanos: 0, live: undefined, mode: 0o644, uid: 0, gid: 0, linkTarget: undefined },
    ...{ deviceMajor: 0, deviceMinor: 0 },
  };
}

/** In batches of `size`, as an index gives them. */
async function* batches(entries: readonly IndexEntry[], size: number): Batches<IndexEntry> {
  for (let at = 0; at < entries.length; at += size) yield await Promise.resolve(entries.slice(at, at + size));
}

/** `path: size first-last count changed`, one for each version. */
async function history(archives: readonly Readonly<Record<string, number>>[], batch = 2): Promise<string[]> {
  const finds = archives.map((files, archive) => {
    const entries = Object.entries(files).map(([path, size]) => entry(path, size));
    entries.sort((a, b) => comparePaths(a.path, b.path));
    return { archive, entries: batches(entries, batch) };
  });
  const found = await collect(fileHistories(finds));
  return found.flatMap(({ path, versions }) =>
    versions.map(({ file, first, last, archiveCount, changed }) => {
      return `${Buffer.from(path)}: ${file.size} ${first}-${last} ${archiveCount} ${changed.join(",")}`.trimEnd();
    }),
  );
}

describe("a version", () => {
  test("is what archives that follow each other have unchanged", async () => {
    expect(await history([{ a: 1 }, { a: 1 }, { a: 2 }, { a: 2 }, { a: 1 }])).toEqual([
      "a: 1 0-1 2",
      "a: 2 2-3 2 size",
      "a: 1 4-4 1 size",
    ]);
  });
  test("ends where an archive does not have the file", async () => {
    expect(await history([{ a: 1, b: 1 }, { b: 1 }, { a: 1, b: 1 }])).toEqual([
      "a: 1 0-0 1",
      "a: 1 2-2 1",
      "b: 1 0-2 3",
    ]);
  });
  test("is none in archives that have nothing", async () => {
    expect(await history([{}, {}])).toEqual([]);
    expect(await history([])).toEqual([]);
  });
  test("comes path by path in the order of an archive, however the finds are cut into batches", async () => {
    const names = ["a", "a/b", "a/b/c", "a-b", "b", "c"];
    const archive = fc.dictionary(fc.constantFrom(...names), fc.integer({ min: 1, max: 2 }));
    const property = fc.asyncProperty(
      fc.array(archive, { maxLength: 5 }),
      fc.integer({ min: 1, max: 4 }),
      async (all, batch) => {
        expect(await history(all, batch)).toEqual(naive(all));
      },
    );
    await fc.assert(property);
  });
});

function naive(archives: readonly Readonly<Record<string, number>>[]): string[] {
  const paths = [...new Set(archives.flatMap((files) => Object.keys(files)))];
  paths.sort((a, b) => comparePaths(Buffer.from(a), Buffer.from(b)));
  return paths.flatMap((path) => {
    const spans: { size: number; from: number; to: number; changed: boolean }[] = [];
    for (const [archive, files] of archives.entries()) {
      const size = files[path];
      if (size === undefined) continue;
      const last = spans.at(-1);
      if (last?.to === archive - 1 && last.size === size) last.to = archive;
      else spans.push({ size, from: archive, to: archive, changed: last?.to === archive - 1 });
    }
    return spans.map(({ size, from, to, changed }) => {
      return `${path}: ${size} ${from}-${to} ${to - from + 1}${changed ? " size" : ""}`;
    });
  });
}
