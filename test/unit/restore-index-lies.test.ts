/** Indexes that lie, one lie at a time: what is restored is complete and right all the same, and one sentence says why. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { must } from "#base/assert.ts";
import type { IndexEntry, TableChunk } from "#archive/index-format.ts";
import { openIndexed } from "#restore/index-open.ts";
import type { TreeIndex } from "#test/support/index-kit.ts";
import { archiveTree, type IndexChange, rewriteIndex, runIndexed } from "#test/support/restore-index-kit.ts";
import { describeTree } from "#test/support/restore-kit.ts";
import { MemoryAccess, restoreJob } from "#test/support/restore-run.ts";
import { makeTempDir, memoryDir, patternBytes, removeTree } from "#test/support/tree.ts";

let dir: string;
let source: string;
let target: string;
let made: TreeIndex;
const bytes = (length: number, seed: number): Uint8Array => patternBytes(length, seed);

beforeEach(() => {
  dir = makeTempDir(memoryDir());
  source = path.join(dir, "source");
  target = path.join(dir, "target");
  fs.mkdirSync(target);
  for (const name of ["a", "b", "c"]) {
    fs.mkdirSync(path.join(source, name), { recursive: true });
    for (let i = 0; i < 8; i += 1) fs.writeFileSync(path.join(source, name, `f${i}`), bytes(9000, i + 1));
    fs.writeFileSync(path.join(source, name, "large"), bytes(150_000, 77));
  }
  fs.linkSync(path.join(source, "a/large"), path.join(source, "c/link"));
  made = archiveTree(source);
});
afterEach(() => removeTree(dir));

const inArchive = (name: string): string => path.join(source, name).slice(1);
const restored = (name = ""): string => path.join(target, source, name);
const isEntry = (entry: IndexEntry, name: string): boolean => Buffer.from(entry.path).toString() === inArchive(name);

type Edit<T> = (all: readonly T[]) => readonly T[];
const edit =
  (name: string, change: Partial<IndexEntry>): Edit<IndexEntry> =>
  (all) =>
    all.map((entry) => (isEntry(entry, name) ? { ...entry, ...change } : entry));
const without =
  (name: string): Edit<IndexEntry> =>
  (all) =>
    all.filter((entry) => !isEntry(entry, name));
/** Another length for a chunk at the cost of the next. */
const shift =
  (number: number, field: "storedLength" | "rawLength", by: number): Edit<TableChunk> =>
  (all) =>
    all.map((chunk) => {
      if (chunk.number === number) return { ...chunk, [field]: chunk[field] + by };
      return chunk.number === number + 1 ? { ...chunk, [field]: chunk[field] - by } : chunk;
    });
const editChunk =
  (number: number, change: Partial<TableChunk>): Edit<TableChunk> =>
  (all) =>
    all.map((chunk) => (chunk.number === number ? { ...chunk, ...change } : chunk));

/** Restores all, then `b`; both must be as they were. Gives what was said against the index, both times. */
async function both(index: Uint8Array, stored = made.stored): Promise<readonly (string | undefined)[]> {
  const all = await runIndexed(stored, index, restoreJob(target));
  expect([all.report.problems, all.report.damages]).toEqual([[], []]);
  expect(describeTree(restored())).toBe(describeTree(source));
  fs.rmSync(target, { recursive: true });
  fs.mkdirSync(target);
  const paths = [inArchive("b"), inArchive("c/link")];
  const job = restoreJob(target, { paths: paths.map((one) => Buffer.from(one)) });
  const some = await runIndexed(stored, index, job, paths);
  expect([some.report.problems, some.report.damages]).toEqual([[], []]);
  expect(describeTree(restored("b"))).toBe(describeTree(path.join(source, "b")));
  expect(fs.readdirSync(restored()).sort()).toEqual(["b", "c"]);
  expect(fs.readFileSync(restored("c/link")).equals(fs.readFileSync(path.join(source, "a/large")))).toBe(true);
  return [all.fault, some.fault];
}

/** Lies about entries do not matter where all of the archive is read. */
const entryLies: readonly [string, IndexChange["entries"], RegExp][] = [
  [
    "two paths swapped",
    (all) => {
      const one = must(
        all.find((entry) => isEntry(entry, "a/large")),
        "an entry",
      );
      const other = must(
        all.find((entry) => isEntry(entry, "b/large")),
        "an entry",
      );
      return all.map((entry) =>
        entry === one ? { ...one, path: other.path } : entry === other ? { ...other, path: one.path } : entry,
      );
    },
    /where .*b\/large should be, is another path/,
  ],
  ["another size", edit("b/large", { size: 149_999, storedBytes: 149_999 }), /is another size/],
  ["another type", edit("c/link", { type: "fifo", linkTarget: undefined }), /is a hardlink/],
  ["a file for a directory", edit("b", { type: "fifo" }), /is a directory/],
  ["other headers", edit("b", { headersDigest: 1n }), /is other headers/],
  ["another owner", edit("b", { uid: 4711 }), /is other headers/],
  ["another target", edit("c/link", { linkTarget: Buffer.from("etc/shadow") }), /is other headers/],
  ["the first entry of a directory left out", without("b"), /bytes of nothing around it/],
  ["the last entry of a directory left out", without("b/large"), /bytes of nothing around it/],
  ["a wanted file left out", without("c/link"), /bytes of nothing around it/],
  [
    "a directory hidden in the entry before it",
    (all) => {
      const hidden = all.filter((entry) => Buffer.from(entry.path).toString().startsWith(inArchive("b")));
      const end = must(hidden.at(-1), "an entry");
      const size = end.dataAt + Math.ceil(end.storedBytes / 512) * 512;
      return all
        .filter((entry) => !hidden.includes(entry))
        .map((entry) =>
          isEntry(entry, "a/large") ? { ...entry, size: size - entry.dataAt, storedBytes: size - entry.dataAt } : entry,
        );
    },
    /is another size/,
  ],
  [
    "places moved",
    (all) => all.map((entry) => ({ ...entry, headersAt: entry.headersAt + 512, dataAt: entry.dataAt + 512 })),
    /at byte .* is/,
  ],
  ["no entries at all", () => [], /bytes of nothing around it/],
];

describe("entries:", () => {
  for (const [what, entries, why] of entryLies) {
    test(what, async () => {
      const index = await rewriteIndex(made.bytes, { entries: must(entries, "a lie") });
      const [all, some] = await both(index);
      expect(all).toBeUndefined();
      expect(some).toMatch(why);
    });
  }
  test("a link to a link to itself brings nothing", async () => {
    const lie: Edit<IndexEntry> = (all) =>
      edit("a/large", { type: "hardlink", linkTarget: Buffer.from(inArchive("c/link")), size: 0, storedBytes: 0 })(all);
    const [all, some] = await both(await rewriteIndex(made.bytes, { entries: lie }));
    expect([all, some?.includes("is a file")]).toEqual([undefined, true]);
  });
});

describe("chunks:", () => {
  const lies: readonly [string, Edit<TableChunk>, RegExp][] = [
    ["a wrong checksum", editChunk(1, { crc: 1 }), /chunk 1 .*has a checksum that is not its own/],
    ["a wrong digest", editChunk(1, { digest: new Uint8Array(32) }), /chunk 1 .*has a checksum that is not its own/],
    ["checksums of something else", editChunk(1, { crc: 1, digest: new Uint8Array(32) }), /chunk 1 .*other checksums/],
    ["a border moved", shift(1, "storedLength", 7), /chunk 1 .* is none: a whole chunk of the archive lies elsewhere/],
    ["a border moved back", shift(1, "storedLength", -7), /chunk 1 .* is none/],
    ["a raw border moved", shift(1, "rawLength", 512), /chunk 1 .*has other content than it says/],
    ["a chunk that is called lost", editChunk(1, { kind: "lost" }), /^$/],
    ["a chunk that is called a stream", editChunk(1, { kind: "stream" }), /^$/],
    ["a chunk larger than any", editChunk(1, { rawLength: 2 ** 40 }), /chunk 1 is none that can be/],
    [
      "two chunks called one",
      (all) => {
        const [one, two] = [must(all[1], "a chunk"), must(all[2], "a chunk")];
        const joined = {
          ...one,
          storedLength: one.storedLength + two.storedLength,
          rawLength: one.rawLength + two.rawLength,
        };
        return all.flatMap((chunk) => (chunk === one ? [joined] : chunk === two ? [] : [chunk]));
      },
      /chunk 1 .*(is none|other checksums)/,
    ],
    ["a chunk less at the end", (all) => all.slice(0, -1), /is of an archive of \d+ bytes, this one has/],
  ];
  for (const [what, chunks, why] of lies) {
    test(what, async () => {
      const [all] = await both(await rewriteIndex(made.bytes, { chunks }));
      expect(all ?? "").toMatch(why);
    });
  }
  test("more of them than the archive has look like an archive that was cut, but nothing is missing", async () => {
    const chunks: Edit<TableChunk> = (all) => [...all, { ...must(all.at(-1), "a chunk") }];
    const { report } = await runIndexed(made.stored, await rewriteIndex(made.bytes, { chunks }), restoreJob(target));
    expect(report.damages.map(({ fault }) => fault)).toEqual(["missing"]);
    expect(describeTree(restored())).toBe(describeTree(source));
  });
  test("of zstd: a checksum of something else is damage, because the index is believed about a frame", async () => {
    const zst = archiveTree(source, "zst");
    const index = await rewriteIndex(zst.bytes, { chunks: editChunk(1, { crc: 1, digest: new Uint8Array(32) }) });
    const { report, fault } = await runIndexed(zst.stored, index, restoreJob(target));
    expect([fault, report.damages.map(({ chunk }) => chunk)]).toEqual([undefined, [1]]);
  });
  for (const [what, chunks] of [
    ["a wrong digest", editChunk(1, { digest: new Uint8Array(32) })],
    ["a border moved", shift(1, "storedLength", 7)],
    ["a raw border moved", shift(1, "rawLength", -512)],
  ] as const) {
    test(`of zstd: ${what}`, async () => {
      const zst = archiveTree(source, "zst");
      const [all] = await both(await rewriteIndex(zst.bytes, { chunks }), zst.stored);
      expect(all).toMatch(/chunk 1 /);
    });
  }
});

describe("an index", () => {
  test("of another archive of the same length", async () => {
    for (let i = 0; i < 8; i += 1) fs.writeFileSync(path.join(source, "b", `f${i}`), bytes(9000, i + 9));
    fs.writeFileSync(path.join(source, "new"), bytes(20_000, 3));
    const other = archiveTree(source);
    const longer = made.stored.length - other.stored.length;
    const chunks: Edit<TableChunk> = (all) =>
      editChunk(all.length - 1, { storedLength: must(all.at(-1), "a chunk").storedLength + longer })(all);
    fs.rmSync(path.join(source, "new"));
    for (let i = 0; i < 8; i += 1) fs.writeFileSync(path.join(source, "b", `f${i}`), bytes(9000, i + 1));
    made = archiveTree(source);
    expect((await both(await rewriteIndex(other.bytes, { chunks }))).every((fault) => fault !== undefined)).toBe(true);
  });
  test("of another archive is known by its length, and of another session by that", async () => {
    const longer = Buffer.concat([made.stored, new Uint8Array(50)]);
    const open = async (stored: Uint8Array, file: Uint8Array): Promise<string | undefined> => {
      const opened = await openIndexed(new MemoryAccess(stored), new MemoryAccess(file), { session: "this" });
      return opened.index === undefined ? opened.warning?.message : "believed";
    };
    expect(await open(longer, made.bytes)).toContain(`this one has ${longer.length}: it is another archive's`);
    const fromAnother = await rewriteIndex(made.bytes, { header: { session: "another" } });
    expect(await open(made.stored, fromAnother)).toBe("the index is of session another, the archive of session this");
    const own = await rewriteIndex(made.bytes, { header: { session: "this" } });
    expect(await open(made.stored, own)).toBe("believed");
  });
  test("that is cut, empty, garbage or unreadable is passed over", async () => {
    const cut = made.bytes.subarray(0, made.bytes.length - 200);
    for (const index of [cut, new Uint8Array(0), bytes(5000, 1)])
      expect((await both(index)).map(Boolean)).toEqual([true, true]);
    const bad = new MemoryAccess(made.bytes);
    bad.badOffsets.add(made.bytes.length - 10);
    const { warning } = await openIndexed(new MemoryAccess(made.stored), bad);
    expect(warning?.message).toStartWith("the disk cannot read the index");
  });
  test("with a damaged block is used up to there", async () => {
    const spoilt = Buffer.from(made.bytes);
    spoilt.fill(0, 300, 340);
    const [all, some] = await both(spoilt);
    expect([all, some].filter((fault) => fault !== undefined).length).toBeGreaterThan(0);
  });
  test("of an archive that was cut says what is missing", async () => {
    const cut = made.stored.subarray(0, Math.floor(made.stored.length * 0.6));
    const { report, fault } = await runIndexed(cut, made.bytes, restoreJob(target));
    expect(fault).toBeUndefined();
    expect(report.damages.map((damage) => damage.fault)).toEqual(["missing"]);
    expect(Buffer.from(must(report.damages[0]?.held, "names").last).toString()).toBe(inArchive("c/link"));
  });
});
