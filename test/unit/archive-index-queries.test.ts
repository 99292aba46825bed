/** Questions to an index: paths, directories, trees, patterns, stretches of the archive, differences. */
import { describe, expect, test } from "bun:test";
import { diffIndexes, type DiffItem } from "#archive/index-diff.ts";
import { indexPath } from "#archive/index-path.ts";
import {
  entriesBelow,
  entriesInRange,
  entriesOfChunk,
  findPath,
  findPattern,
  listDirectory,
} from "#archive/index-queries.ts";
import { IndexReader } from "#archive/index-reader.ts";
import { must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import {
  buildIndex,
  collect,
  indexTree,
  latin1,
  type MadeEntry,
  MemoryBytes,
  openIndex,
  paths,
  plainEntries,
  refusalOf,
} from "#test/support/index-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { patternBytes } from "#test/support/tree.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

const TREE = ["srv/a/", "srv/a/b/", "srv/a/b/c.txt", "srv/a/d.txt", "srv/a-b/", "srv/a-b/x", "srv/z.txt"];
const treeIndex = (): Promise<IndexReader> => openIndex(buildIndex(plainEntries(TREE)));
/** As another program writes them: in no order, and one of them twice. */
const SHUFFLED = ["srv/z.txt", "srv/a/d.txt", "srv/a/", "srv/a/b/c.txt", "srv/z.txt", "top"];
const shuffledIndex = (): Promise<IndexReader> => openIndex(buildIndex(plainEntries(SHUFFLED)));

describe("a path", () => {
  test("is found, or not, with and without order", async () => {
    for (const index of [await treeIndex(), await shuffledIndex()]) {
      expect(latin1((await findPath(index, bytes("srv/a/d.txt")))?.path ?? bytes(""))).toBe("srv/a/d.txt");
      for (const absent of ["", "srv", "srv/a/", "srv/a/d.tx", "srv/a/d.txt/x", "zzz"]) {
        expect(await findPath(index, bytes(absent))).toBeUndefined();
      }
    }
  });
  test("that an archive holds twice is the later one", async () => {
    const index = await shuffledIndex();
    expect(index.totals.sorted).toBe(false);
    expect((await findPath(index, bytes("srv/z.txt")))?.number).toBe(4);
  });
  test("is found behind a beginning that is longer than any key", async () => {
    const long = `${"d".repeat(200)}/${"e".repeat(200)}`;
    const names = Array.from({ length: 6000 }, (_, i) => `${long}/${String(i).padStart(6, "0")}`);
    const index = await openIndex(buildIndex(plainEntries(names)));
    for (let i = 0; i < names.length; i += 397) {
      expect((await findPath(index, bytes(names[i] ?? "")))?.number).toBe(i);
      expect(await findPath(index, bytes(`${names[i]}x`))).toBeUndefined();
    }
    expect(await paths(listDirectory(index, bytes(long)))).toEqual(names);
  });
  test("is meant however it is written", () => {
    const meant = ["/srv/a", "srv/a/", "./srv//a", "/./srv/./a/."].map((path) => latin1(indexPath(bytes(path))));
    expect(meant).toEqual(Array.from({ length: 4 }, () => "srv/a"));
    expect(["", "/", "./", "../x/..", ".a/..."].map((path) => latin1(indexPath(bytes(path))))).toEqual([
      ...["", "", "", "../x/..", ".a/..."],
    ]);
  });
});

describe("a directory", () => {
  const list = async (index: IndexReader, path: string): Promise<string[]> =>
    (await collect(listDirectory(index, bytes(path)))).map(
      ({ path: name, entry }) => `${latin1(name)}${entry === undefined ? " implied" : ""}`,
    );
  test("lists its names and nothing below them", async () => {
    const index = await treeIndex();
    expect(await list(index, "srv")).toEqual(["srv/a", "srv/a-b", "srv/z.txt"]);
    expect(await list(index, "srv/a")).toEqual(["srv/a/b", "srv/a/d.txt"]);
    expect(await list(index, "srv/z.txt")).toEqual([]);
    expect(await list(index, "sr")).toEqual([]);
  });
  test("is listed too where it lies above the sources", async () => {
    expect(await list(await treeIndex(), "")).toEqual(["srv implied"]);
    expect(await list(await shuffledIndex(), "")).toEqual(["srv implied", "top"]);
    expect(await list(await shuffledIndex(), "srv/a")).toEqual(["srv/a/d.txt", "srv/a/b implied"]);
  });
  test("is listed without reading what lies below its names", async () => {
    function* names(): Generator<string> {
      for (const top of ["a", "b", "c"]) {
        yield `${top}/`;
        for (let i = 0; i < 30_000; i += 1) yield `${top}/${String(i).padStart(6, "0")}`;
      }
      yield "d";
    }
    const source = new MemoryBytes(buildIndex(plainEntries(names())));
    const index = await IndexReader.open(source);
    expect(await paths(listDirectory(index, bytes("")))).toEqual(["a", "b", "c", "d"]);
    expect(source.readBytes).toBeLessThan(source.size / 4);
  });
});

describe("a tree", () => {
  test("is everything below a path, and the path itself", async () => {
    const index = await treeIndex();
    expect(await paths(entriesBelow(index, bytes("srv/a")))).toEqual([
      ...["srv/a", "srv/a/b", "srv/a/b/c.txt", "srv/a/d.txt"],
    ]);
    expect(await paths(entriesBelow(index, bytes("srv/z.txt")))).toEqual(["srv/z.txt"]);
    expect(await paths(entriesBelow(index, bytes("")))).toEqual(TREE.map((path) => path.replace(/\/$/, "")));
    expect(await paths(entriesBelow(index, bytes("no")))).toEqual([]);
    expect(await paths(entriesBelow(await shuffledIndex(), bytes("srv/a")))).toEqual([
      ...["srv/a/d.txt", "srv/a", "srv/a/b/c.txt"],
    ]);
  });
});

describe("a pattern", () => {
  test("finds as an exclude pattern would, in order and anywhere", async () => {
    for (const [pattern, found] of [
      ["*.txt", ["srv/a/b/c.txt", "srv/a/d.txt", "srv/z.txt"]],
      ["/srv/a/*.txt", ["srv/a/d.txt"]],
      ["/srv/a/**", ["srv/a/b", "srv/a/b/c.txt", "srv/a/d.txt"]],
      ["b/c.*", ["srv/a/b/c.txt"]],
      ["a*/", ["srv/a", "srv/a-b"]],
      ["/srv/z.txt", ["srv/z.txt"]],
      ["/srv", []],
    ] as const) {
      expect(await paths(findPattern(await treeIndex(), bytes(pattern)))).toEqual([...found]);
    }
    expect(await paths(findPattern(await shuffledIndex(), bytes("z*")))).toEqual(["srv/z.txt", "srv/z.txt"]);
  });
  test("is bytes, in names and in the directories in front of them", async () => {
    const index = await openIndex(buildIndex(plainEntries(["a/\xe9t\xe9", "a/\xef\xbf\xbdt", "\xff/a", "\xff/b"])));
    for (const [pattern, found] of [
      ["\xe9*", ["a/\xe9t\xe9"]],
      ["\xef\xbf\xbdt", ["a/\xef\xbf\xbdt"]],
      ["[\xe0-\xef]t*", ["a/\xe9t\xe9"]],
      ["/\xff/*", ["\xff/a", "\xff/b"]],
    ] as const) {
      expect(await paths(findPattern(index, bytes(pattern)))).toEqual([...found]);
    }
  });
  test("that names a directory reads only that", async () => {
    function* names(): Generator<string> {
      for (let i = 0; i < 40_000; i += 1) yield `d${String(i % 100).padStart(2, "0")}/${i}`;
    }
    const sorted = [...names()].sort();
    const source = new MemoryBytes(buildIndex(plainEntries(sorted)));
    const index = await IndexReader.open(source);
    expect(index.totals.sorted).toBe(true);
    expect(await paths(findPattern(index, bytes("/d42/*7")))).toEqual(sorted.filter((name) => /^d42\/.*7$/.test(name)));
    expect(source.readBytes).toBeLessThan(source.size / 8);
  });
  test("that cannot be one is refused with a sentence", async () => {
    const index = await treeIndex();
    for (const [pattern, text] of [
      ["[x", 'pattern "[x": [ without ]'],
      ["!x", 'pattern "!x" begins with !; write \\! for a name that does'],
    ] as const) {
      expect(await refusalOf(collect(findPattern(index, bytes(pattern))))).toBe(`E_USAGE: ${text}`);
    }
  });
});

describe("a stretch of the archive", () => {
  test("is told by the entries that have a byte of theirs in it", async () => {
    const index = await treeIndex();
    const entries = await collect(index.entries());
    const third = must(entries[2], "an entry");
    const at = (from: number, to: number): Promise<string[]> => paths(entriesInRange(index, from, to));
    expect(await at(third.headersAt, third.headersAt + 1)).toEqual(["srv/a/b/c.txt"]);
    expect(await at(third.headersAt - 1, third.headersAt + 1)).toEqual(["srv/a/b", "srv/a/b/c.txt"]);
    // The padding behind the data is the entry's.
    expect(await at(third.dataAt + 511, third.dataAt + 513)).toEqual(["srv/a/b/c.txt", "srv/a/d.txt"]);
    expect(await at(1e9, 2e9)).toEqual([]);
  });
  test("that is a chunk holds whole entries, or part of one", async () => {
    const source = new MemorySource();
    source.file("/s/a", "1");
    source.file("/s/big", patternBytes(200 * KiB));
    source.file("/s/c", "1");
    const index = await openIndex(indexTree(source, ["/s"]).bytes);
    const told: string[] = [];
    for (const chunk of await collect(index.chunks())) {
      told.push(`${chunk.kind}: ${(await paths(entriesOfChunk(index, chunk))).join(" ")}`);
    }
    const data = Array.from({ length: 4 }, () => "data: s/big");
    expect(told).toEqual(["entries: s s/a", "headers: s/big", ...data, "entries: s/c", "end: "]);
  });
  test("leads to the chunk by number, and by either offset", async () => {
    const chunks = Array.from({ length: 3000 }, (_, i) => {
      return { kind: "entries", rawLength: 1000 + i, storedLength: 10 + (i % 7) } as const;
    });
    const index = await openIndex(buildIndex([], chunks));
    const all = await collect(index.chunks());
    expect(all).toHaveLength(3000);
    for (const number of [0, 1, 1023, 1024, 2047, 2048, 2999]) {
      const { rawOffset, rawLength, storedOffset, storedLength } = must(all[number], "a chunk");
      for (const place of [
        { number },
        { rawOffset },
        { rawOffset: rawOffset + rawLength - 1 },
        { storedOffset },
        { storedOffset: storedOffset + storedLength - 1 },
      ]) {
        const first = await index.chunks(place).next();
        expect(first.done === true ? undefined : first.value[0]?.number).toBe(number);
      }
    }
    expect(await collect(index.chunks({ number: 3000 }))).toEqual([]);
  });
});

describe("differences", () => {
  const told = (items: readonly DiffItem[]): string[] =>
    items.map((item) => {
      if (item.change === "added") return `+ ${latin1(item.after.path)}`;
      if (item.change === "removed") return `- ${latin1(item.before.path)}`;
      return `~ ${latin1(item.after.path)} ${item.what.join()}`;
    });
  const made = (names: readonly string[], change: (made: MadeEntry, name: string) => MadeEntry = (same) => same) => {
    const entries = [...plainEntries(names)].map((entry, i) => change(entry, names[i] ?? ""));
    return openIndex(buildIndex(entries));
  };
  test("are what was added, removed and changed, and how", async () => {
    const names = ["a", "b", "c", "d", "e", "f", "g/"];
    const before = await made(names);
    const after = await made(["a", "aa", "b", "d", "e", "f", "g/"], (entry, name) => {
      const base = must([...plainEntries(names)].find((_, i) => names[i] === name) ?? entry, "an entry");
      if (name === "b") return { ...base, entry: { ...base.entry, size: base.entry.size + 1 }, place: entry.place };
      if (name === "d") return { ...base, entry: { ...base.entry, mode: 0o600, uid: 0 }, place: entry.place };
      if (name === "e") return { ...base, place: { ...entry.place, headersDigest: 1n } };
      if (name === "f") return { ...base, entry: { ...base.entry, mtimeNanos: 1 }, place: entry.place };
      return { ...base, place: entry.place };
    });
    expect(told(await collect(diffIndexes(before, after)))).toEqual([
      ...["+ aa", "~ b size", "- c", "~ d mode,owner", "~ e attributes", "~ f mtime"],
    ]);
    expect(told(await collect(diffIndexes(after, before)))).toEqual([
      ...["- aa", "~ b size", "+ c", "~ d mode,owner", "~ e attributes", "~ f mtime"],
    ]);
    expect(await collect(diffIndexes(before, before))).toEqual([]);
  });
  test("of an archive without order are those of what counts in it", async () => {
    const shuffled = await shuffledIndex();
    const sorted = await made(["srv/a/", "srv/a/b/c.txt", "srv/new", "top"]);
    const items = told(await collect(diffIndexes(shuffled, sorted))).filter((line) => !line.startsWith("~"));
    expect(items).toEqual(["- srv/a/d.txt", "+ srv/new", "- srv/z.txt"]);
  });
});
