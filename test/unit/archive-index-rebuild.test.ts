/** An index made again from an archive says what the first one said, but for what only the run knew. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { IndexRebuilder } from "#archive/index-rebuilder.ts";
import type { IndexReader } from "#archive/index-reader.ts";
import { entriesOfChunk } from "#archive/index-queries.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { KiB, MiB } from "#base/units.ts";
import { compress } from "#compress/codec.ts";
import { proofOf } from "#compress/seal.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { collect, indexTree, latin1, openIndex, paths, type TreeIndex } from "#test/support/index-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { makeTempDir, patternBytes, removeTree } from "#test/support/tree.ts";

let dir = "";
beforeAll(() => {
  dir = makeTempDir();
});
afterAll(() => removeTree(dir));

function source(): MemorySource {
  const tree = new MemorySource();
  for (let i = 0; i < 200; i += 1) tree.file(`/s/d${i % 7}/small-${i}`, patternBytes(i * 13, i));
  tree.file("/s/large", patternBytes(5 * 64 * KiB + 77, 1), { mtimeNanos: 5 });
  tree.file("/s/from-before-1970", "old", { mtimeSeconds: -2, mtimeNanos: 5 });
  tree.put("/s/zlink", tree.file("/s/hard", "hard", { nlink: 2 }));
  tree.symlink(`/s/${"l".repeat(200)}`, "x".repeat(300));
  tree.special("/s/char", { type: "char", rdevMajor: 5, rdevMinor: 300 });
  tree.file("/s/m-last", patternBytes(40 * KiB, 2), { uid: 4_000_000_000 });
  return tree;
}

interface Rebuilt {
  readonly index: IndexReader;
  readonly damage: readonly string[];
}

/** Pushes what `feed` pushes, and opens what comes out. */
async function rebuild(mode: CompressionMode, feed: (rebuilder: IndexRebuilder) => void): Promise<Rebuilt> {
  const written: Uint8Array[] = [];
  const damage: string[] = [];
  const rebuilder = new IndexRebuilder({
    mode,
    archive: "a/b/c.tar.gz",
    compress: (raw) => compress(raw, { mode, level: 1 }),
    write: (stored) => written.push(stored.slice()),
    onDamage: (failure) => damage.push(failure.message),
  });
  feed(rebuilder);
  rebuilder.finish();
  return { index: await openIndex(Buffer.concat(written)), damage };
}

/** The chunks of a made archive; those of `lost` are damaged, and whether their length is known is up to `known`. */
function feedChunks(made: TreeIndex, lost: readonly number[] = [], known = true) {
  return (rebuilder: IndexRebuilder): void => {
    for (const [i, { bytes }] of made.chunks.entries()) {
      const stored = made.storedChunks[i] ?? new Uint8Array(0);
      const seal = { storedLength: stored.length, ...proofOf(stored) };
      if (lost.includes(i)) rebuilder.lost(known ? bytes.length : undefined, seal);
      else rebuilder.chunk(bytes, seal);
    }
  };
}

describe("a rebuilt index", () => {
  for (const mode of ["gzip", "zst"] as const) {
    test(`has the entries, places, digests and chunks of the first one (${mode})`, async () => {
      const made = indexTree(source(), ["/s"], { compression: { mode, level: 1 } });
      const first = await openIndex(made.bytes);
      const { index, damage } = await rebuild(mode, feedChunks(made));
      expect(damage).toEqual([]);
      const entries = (await collect(first.entries())).map((entry) => ({ ...entry, live: undefined }));
      expect(await collect(index.entries())).toEqual(entries);
      expect(await collect(index.chunks())).toEqual(await collect(first.chunks()));
      expect(index.totals).toEqual(first.totals);
      expect(index.header).toMatchObject({ rebuilt: true, archive: "a/b/c.tar.gz", compression: { mode } });
      expect([index.header.session, index.header.sources]).toEqual([undefined, undefined]);
    });
  }
  test("knows of a lost chunk which entries it held, and where all others lie", async () => {
    const made = indexTree(source(), ["/s"]);
    const first = await openIndex(made.bytes);
    const data = made.chunks.findIndex((chunk) => chunk.kind === "data");
    for (const known of [true, false]) {
      const { index, damage } = await rebuild("gzip", feedChunks(made, [data + 1], known));
      const chunks = await collect(index.chunks());
      expect(chunks[data + 1]).toMatchObject({ kind: "lost", number: data + 1 });
      const lost = chunks[data + 1];
      expect(lost === undefined ? [] : await paths(entriesOfChunk(index, lost))).toEqual(["s/large"]);
      const names = await paths(index.entries());
      expect(names).toEqual(await paths(first.entries()));
      // Without the length the rest of the file is looked through for the next header.
      expect(damage.length > 0).toBe(!known);
      if (known)
        expect((await collect(index.entries())).map((e) => e.headersAt)).toEqual(
          (await collect(first.entries())).map((e) => e.headersAt),
        );
    }
  });
  test("lacks what stood in a lost chunk of entries, and nothing else", async () => {
    const made = indexTree(source(), ["/s"]);
    const first = await openIndex(made.bytes);
    const [chunk] = await collect(first.chunks({ number: 1 }));
    const gone = new Set(chunk === undefined ? [] : await paths(entriesOfChunk(first, chunk)));
    expect(gone.size).toBeGreaterThan(10);
    const { index, damage } = await rebuild("gzip", feedChunks(made, [1]));
    expect(await paths(index.entries())).toEqual((await paths(first.entries())).filter((name) => !gone.has(name)));
    expect(damage).toEqual([]);
  });
  test("of an archive that ends early has what came before", async () => {
    const made = indexTree(source(), ["/s"]);
    const short = { ...made, chunks: made.chunks.slice(0, 2) };
    const { index, damage } = await rebuild("gzip", feedChunks(short));
    expect((await paths(index.entries())).length).toBe(short.chunks.reduce((sum, chunk) => sum + chunk.entries, 0));
    expect(damage).toHaveLength(1);
    expect(damage[0]).toStartWith("the archive ends without its end blocks");
  });
});

describe("an archive of GNU tar", () => {
  test("has an index without order, whose one chunk cannot be entered", async () => {
    const tree = path.join(dir, "gnu");
    fs.mkdirSync(path.join(tree, "b/deep"), { recursive: true });
    for (let i = 0; i < 300; i += 1) fs.writeFileSync(path.join(tree, `b/deep/file-${i}`), patternBytes(i * 11, i));
    fs.writeFileSync(path.join(tree, "a"), patternBytes(3 * MiB, 9));
    fs.linkSync(path.join(tree, "a"), path.join(tree, "c"));
    const tar = path.join(dir, "gnu.tar");
    await mustRun(["tar", "-cf", tar, "-C", tree, "./b", "./a", "./c"], {});
    const raw = fs.readFileSync(tar);
    const stored = Buffer.from("as if it were compressed");
    const { index, damage } = await rebuild("gzip", (rebuilder) => {
      for (let at = 0; at < raw.length; at += 100_000) rebuilder.stream(raw.subarray(at, at + 100_000));
      rebuilder.streamEnd({ storedLength: stored.length, ...proofOf(stored) });
    });
    expect(damage).toEqual([]);
    const listed = (await mustRun(["tar", "-tf", tar], {})).trimEnd().split("\n");
    expect(await paths(index.entries())).toEqual(listed.map((name) => name.replace(/^\.\//, "").replace(/\/$/, "")));
    expect(index.totals).toMatchObject({ entries: listed.length, sorted: false, chunks: 1, rawBytes: raw.length });
    expect((await collect(index.chunks())).map((chunk) => chunk.kind)).toEqual(["stream"]);
    const link = (await collect(index.entries())).find((entry) => entry.type === "hardlink");
    expect([latin1(link?.path ?? stored), latin1(link?.linkTarget ?? stored)]).toEqual(["c", "./a"]);
  });
});
