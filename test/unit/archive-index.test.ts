/** What the index of a tree says of its entries, chunks and run, and how little of it is read. */
import { describe, expect, test } from "bun:test";
import { headersDigest } from "#archive/index-entry-writer.ts";
import { IndexReader } from "#archive/index-reader.ts";
import { SourceError } from "#archive/source.ts";
import { KiB } from "#base/units.ts";
import { WALL_MS } from "#test/support/archive-kit.ts";
import { buildIndex, collect, indexTree, latin1, MemoryBytes, openIndex } from "#test/support/index-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { walkTar } from "#test/support/tar-walk.ts";
import { patternBytes } from "#test/support/tree.ts";

/** One of everything, large and small. */
function everything(): MemorySource {
  const source = new MemorySource();
  source.directory("/s/d", { mode: 0o2750, uid: 7, gid: 8 });
  source.file("/s/d/small", "some bytes", { mtimeSeconds: -5, mtimeNanos: 0 });
  source.file("/s/large", patternBytes(200 * KiB, 1), { uid: 4_000_000_000, mtimeNanos: 123_456_789 });
  source.put("/s/zlink", source.file("/s/hard", "hard", { nlink: 2 }));
  source.symlink("/s/sym", "../some where/\xff");
  source.special("/s/char", { type: "char", rdevMajor: 5, rdevMinor: 300 });
  source.special("/s/fifo", { type: "fifo", ino: "18446744073709551615", dev: "9007199254740993" });
  source.file("/s/empty", "");
  return source;
}

describe("the index of a tree", () => {
  for (const mode of ["gzip", "zst"] as const) {
    test(`says of each entry what lstat and the archive say (${mode})`, async () => {
      const source = everything();
      const made = indexTree(source, ["/s"], { compression: { mode, level: 1 } });
      const index = await openIndex(made.bytes);
      const entries = await collect(index.entries());
      const tar = walkTar(made.tar);
      expect(entries.map((entry) => latin1(entry.path))).toEqual(tar.map((entry) => entry.path.replace(/\/$/, "")));
      for (const [i, entry] of entries.entries()) {
        const stat = source.lstat(Buffer.from(`/${latin1(entry.path)}`, "latin1"));
        const { mode: bits, uid, gid, mtimeSeconds, mtimeNanos, ctimeSeconds, ctimeNanos, ino, dev } = stat;
        const live = { ctimeSeconds, ctimeNanos, ino: BigInt(ino), dev: BigInt(dev) };
        expect(entry).toMatchObject({ number: i, mode: bits, uid, gid, mtimeSeconds, mtimeNanos, live });
        expect(entry.size).toBe(entry.type === "file" ? stat.size : 0);
        expect([entry.headersAt, entry.dataAt]).toEqual([tar[i]?.headersAt ?? -1, tar[i]?.dataAt ?? -1]);
        expect(entry.headersDigest).toBe(headersDigest(made.tar.subarray(entry.headersAt, entry.dataAt)));
        expect([entry.changed, entry.short, entry.racy, entry.sparse]).toEqual([false, false, false, false]);
      }
      const byPath = new Map(entries.map((entry) => [latin1(entry.path), entry]));
      expect(latin1(byPath.get("s/zlink")?.linkTarget ?? new Uint8Array(0))).toBe("s/hard");
      expect(latin1(byPath.get("s/sym")?.linkTarget ?? new Uint8Array(0))).toBe("../some where/\xff");
      expect(byPath.get("s/char")).toMatchObject({ type: "char", deviceMajor: 5, deviceMinor: 300 });
      expect(index.totals).toMatchObject({ entries: entries.length, sorted: true, changed: 0, short: 0 });
    });
  }
  test("has a chunk table that leads to every byte of the archive", async () => {
    const made = indexTree(everything(), ["/s"]);
    const index = await openIndex(made.bytes);
    const chunks = await collect(index.chunks());
    expect(chunks.map((chunk) => [chunk.kind, chunk.rawLength])).toEqual(
      made.chunks.map((chunk) => [chunk.kind, chunk.rawLength]),
    );
    for (const chunk of chunks) {
      const stored = made.stored.subarray(chunk.storedOffset, chunk.storedOffset + chunk.storedLength);
      const raw = Bun.gunzipSync(stored as Uint8Array<ArrayBuffer>);
      expect(Buffer.compare(raw, made.tar.subarray(chunk.rawOffset, chunk.rawOffset + chunk.rawLength))).toBe(0);
      expect(Buffer.from(chunk.digest).toString("hex")).toBe(
        new Bun.CryptoHasher("sha256").update(stored).digest("hex"),
      );
    }
    expect(index.totals).toMatchObject({
      chunks: chunks.length,
      rawBytes: made.tar.length,
      storedBytes: made.stored.length,
    });
  });
  test("names what was ordered, byte for byte, and which clock it began by", async () => {
    const header = {
      ...{ session: "7c9e6679-7425-40de-944b-e07fc1f90ae7", agent: "web-1", backup: "home", startedMs: 1234 },
      ...{ archive: "web-1/home/2026-02-12T02-00-00-123Z.tar.gz", chunkBytes: 65_536, sources: ["/s", "/é\n"] },
      ...{ exclude: ["*.o", "!keep"], oneFileSystem: true, excludeCaches: false, excludeIfPresent: [".nobackup"] },
    };
    const index = await openIndex(indexTree(everything(), ["/s"], { header }).bytes);
    expect(index.header).toEqual({ rebuilt: false, compression: { mode: "gzip", level: 1 }, ...header });
  });
  test("is the same for the same tree", () => {
    const compression = { mode: "zst", level: 3 } as const;
    const first = indexTree(everything(), ["/s"], { compression }).bytes;
    expect(Buffer.compare(first, indexTree(everything(), ["/s"], { compression }).bytes)).toBe(0);
  });
  test("of nothing has no entries, and the end in its chunk table", async () => {
    const bytes = buildIndex([], [{ kind: "end", rawLength: 1024, storedLength: 29 }]);
    const index = await openIndex(bytes);
    expect(await collect(index.entries())).toEqual([]);
    expect((await collect(index.chunks())).map((chunk) => chunk.kind)).toEqual(["end"]);
    expect(index.totals).toMatchObject({ entries: 0, chunks: 1, sorted: true });
  });
  test("calls the root directory by no name, in front of all others", async () => {
    const source = new MemorySource();
    source.file("/-x", "1");
    source.file("/.a/b", "2");
    const index = await openIndex(indexTree(source, ["/"]).bytes);
    expect((await collect(index.entries())).map((entry) => latin1(entry.path))).toEqual(["", "-x", ".a", ".a/b"]);
    expect(index.totals.sorted).toBe(true);
  });
});

describe("flags", () => {
  test("tell what changed and what is short, of small files and of large ones", async () => {
    const source = new MemorySource();
    source.file("/s/a-shrank", patternBytes(1000), { size: 2000 });
    source.file("/s/b-grew", patternBytes(3000), { size: 2000 });
    source.file("/s/c-whole", patternBytes(2000));
    source.file("/s/d-large-shrank", patternBytes(100 * KiB), { size: 300 * KiB });
    source.file("/s/e-large-grew", patternBytes(301 * KiB), { size: 300 * KiB });
    source.file("/s/f-large-failed", 300 * KiB);
    source.hooks.read = (path, offset) => {
      if (path === "/s/f-large-failed" && offset >= 64 * KiB) throw new SourceError("EIO", "read");
    };
    const index = await openIndex(indexTree(source, ["/s"]).bytes);
    const entries = await collect(index.entries());
    const told = entries.map((entry) => [latin1(entry.path).slice(2), entry.changed, entry.short]);
    expect(told.slice(1)).toEqual([
      ["a-shrank", true, true],
      ["b-grew", true, false],
      ["c-whole", false, false],
      ["d-large-shrank", true, true],
      ["e-large-grew", true, false],
      ["f-large-failed", true, true],
    ]);
    expect(index.totals).toMatchObject({ changed: 5, short: 3 });
  });
  test("call racy what changed at most 2 s before it was read, or later", async () => {
    const source = new MemorySource();
    const seconds = WALL_MS / 1000;
    const changedBefore = (ms: number): { ctimeSeconds: number; ctimeNanos: number } => {
      const at = WALL_MS - ms;
      return { ctimeSeconds: Math.floor(at / 1000), ctimeNanos: (at % 1000) * 1_000_000 };
    };
    source.file("/s/a", "1", changedBefore(2001));
    source.file("/s/b", "1", changedBefore(2000));
    source.file("/s/c", "1", changedBefore(0));
    source.file("/s/d", "1", { ctimeSeconds: seconds + 1000 });
    source.file("/s/e", patternBytes(300 * KiB), changedBefore(1999));
    const entries = await collect((await openIndex(indexTree(source, ["/s"]).bytes)).entries());
    expect(entries.map((entry) => entry.racy)).toEqual([false, false, true, true, true, true]);
  });
});

describe("reading", () => {
  test("begins with four short reads", async () => {
    const source = new MemorySource();
    for (let i = 0; i < 5000; i += 1) source.file(`/s/${String(i).padStart(30, "n")}`, "");
    const bytes = new MemoryBytes(indexTree(source, ["/s"]).bytes);
    const index = await IndexReader.open(bytes);
    const first = await index.entries().next();
    expect(first.done === true ? 0 : first.value.length).toBeGreaterThan(500);
    // Trailer, header, root; page, block.
    expect(bytes.reads).toBe(5);
    expect(bytes.readBytes).toBeLessThan(bytes.size);
  });
});
