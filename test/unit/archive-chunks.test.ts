/** What is in a chunk, and what becomes of files that change while they are read. */
import { describe, expect, test } from "bun:test";
import { ChunkReader, rawBufferBytes } from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import { SourceError } from "#archive/source.ts";
import { sourceRoots } from "#archive/source-roots.ts";
import { WALK_EVERYTHING } from "#archive/walk-rules.ts";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { type ReadArchive, readChunks } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { walkTar } from "#test/support/tar-walk.ts";

const CHUNK = 64 * KiB;

function bytes(length: number, seed = 1): Uint8Array {
  return new Uint8Array(length).map((_, i) => (i * 31 + seed) & 0xff);
}

function kinds(archive: ReadArchive): string[] {
  return archive.chunks.map((chunk) => `${chunk.kind} ${chunk.rawLength} ${chunk.entries}`);
}

/** Every chunk is whole entries, one entry's headers, data of one file, or the end. */
function expectWholeChunks(archive: ReadArchive, chunkBytes: number): void {
  const entries = walkTar(archive.tar);
  const starts = new Set(entries.map((entry) => entry.headersAt));
  let at = 0;
  for (const chunk of archive.chunks) {
    const end = at + chunk.rawLength;
    if (chunk.kind === "entries") {
      expect(starts).toContain(at);
      expect(entries.some((entry) => entry.end === end)).toBe(true);
      expect(entries.filter((entry) => entry.headersAt >= at && entry.end <= end).length).toBe(chunk.entries);
    } else if (chunk.kind === "headers") {
      expect(entries.some((entry) => entry.headersAt === at && entry.dataAt === end)).toBe(true);
    } else if (chunk.kind === "data") {
      const owner = entries.find((entry) => entry.dataAt <= at && end <= entry.end);
      expect((at - (owner?.dataAt ?? Number.NaN)) % chunkBytes).toBe(0);
      if (end !== owner?.end) expect(chunk.rawLength).toBe(chunkBytes);
    } else {
      expect([chunk.kind, chunk.rawLength, end]).toEqual(["end", 1024, archive.tar.length]);
    }
    at = end;
  }
}

describe("a chunk", () => {
  test("gathers small entries whole and ends before the one that would overflow it", () => {
    const source = new MemorySource();
    for (let i = 0; i < 40; i += 1) source.file(`/s/f${String(i).padStart(2, "0")}`, bytes(5000, i));
    const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
    // A directory of 512 bytes; each file 512 + 5120.
    expect(kinds(archive)).toEqual([
      `entries ${512 + 11 * 5632} 12`,
      `entries ${11 * 5632} 11`,
      `entries ${11 * 5632} 11`,
      `entries ${7 * 5632} 7`,
      "end 1024 0",
    ]);
    expectWholeChunks(archive, CHUNK);
  });
  test("holds only the headers of a file larger than half of it, then data cut at multiples of its size", () => {
    const source = new MemorySource();
    source.file("/s/a", bytes(100));
    source.file("/s/big", bytes(2 * CHUNK + 700));
    source.file("/s/z", bytes(100));
    const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
    expect(kinds(archive)).toEqual([
      "entries 1536 2",
      "headers 512 1",
      "data 65536 0",
      "data 65536 0",
      "data 1024 0",
      "entries 1024 1",
      "end 1024 0",
    ]);
    expectWholeChunks(archive, CHUNK);
    expect(walkTar(archive.tar)[2]?.data).toEqual(bytes(2 * CHUNK + 700));
  });
  test("still gathers a file of exactly half of it, and no byte more", () => {
    const source = new MemorySource();
    source.file("/s/half", bytes(CHUNK / 2));
    source.file("/s/more", bytes(CHUNK / 2 + 1));
    const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
    expect(kinds(archive)).toEqual(["entries 33792 2", "headers 512 1", `data ${CHUNK / 2 + 512} 0`, "end 1024 0"]);
  });
  test("has no padding behind a file of a multiple of its size", () => {
    const source = new MemorySource();
    source.file("/s/two", bytes(2 * CHUNK));
    const archive = readChunks(source, ["/s/two"], { chunkBytes: CHUNK });
    expect(kinds(archive)).toEqual(["headers 512 1", "data 65536 0", "data 65536 0", "end 1024 0"]);
  });
  test("of a tree of all sizes around the borders is whole", () => {
    const source = new MemorySource();
    const sizes = [
      0,
      1,
      511,
      512,
      513,
      CHUNK / 2 - 1,
      CHUNK / 2,
      CHUNK / 2 + 1,
      CHUNK - 512,
      CHUNK - 1,
      CHUNK,
      CHUNK + 1,
    ];
    for (const size of [...sizes, 3 * CHUNK - 1, 3 * CHUNK, 3 * CHUNK + 1]) {
      for (const copy of ["a", "b"]) source.file(`/s/${copy}/${size}`, bytes(size, size));
    }
    const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
    expectWholeChunks(archive, CHUNK);
    for (const entry of walkTar(archive.tar)) {
      if (entry.type === "0") expect(entry.data).toEqual(bytes(entry.size, entry.size));
    }
    expect(archive.problems).toEqual([]);
  });
  test("of a source that is missing but optional is only the end", () => {
    const reader = new ChunkReader({
      source: new MemorySource(),
      roots: sourceRoots([{ path: "/gone", optional: true }]),
      excludes: new Excludes([]),
      rules: WALK_EVERYTHING,
      chunkBytes: CHUNK,
      wall: () => 0,
      report: () => undefined,
    });
    const buffer = new Uint8Array(rawBufferBytes(CHUNK));
    expect(reader.next(buffer)).toEqual({ kind: "end", rawLength: 1024, entries: 0 });
    expect(reader.next(buffer)).toBeUndefined();
  });
  test("holds a source that is a file under its own path", () => {
    const source = new MemorySource();
    source.file("/srv/www/index.html", "x");
    const archive = readChunks(source, ["/srv/www/index.html"]);
    expect(walkTar(archive.tar).map((entry) => entry.path)).toEqual(["srv/www/index.html"]);
  });
  test("is not moved by a change in another file", () => {
    const chunksOf = (size: number): Set<string> => {
      const source = new MemorySource();
      source.file("/s/a", bytes(size));
      source.file("/s/big", bytes(4 * CHUNK, 7));
      const { chunks } = readChunks(source, ["/s"], { chunkBytes: CHUNK });
      return new Set(chunks.filter((chunk) => chunk.kind === "data").map((c) => Bun.hash(c.bytes).toString()));
    };
    expect(chunksOf(10)).toEqual(chunksOf(20_000));
  });
  test("is the same whatever lay in the buffer before", () => {
    const source = new MemorySource();
    source.file("/s/a", bytes(1000));
    expect(readChunks(source, ["/s"]).tar).toEqual(readChunks(source, ["/s"]).tar);
  });
});

describe("a file that changes while it is read", () => {
  for (const [size, what] of [
    [10_000, "small"],
    [3 * CHUNK + 100, "large"],
  ] as const) {
    test(`is padded with zeros to the size announced when it shrinks (${what})`, () => {
      const source = new MemorySource();
      const node = source.file("/s/f", bytes(size));
      source.hooks.read = () => {
        node.data = bytes(size - 5000);
      };
      const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
      const expected = new Uint8Array(size);
      expected.set(bytes(size - 5000));
      expect(walkTar(archive.tar)[1]?.data).toEqual(expected);
      expect(archive.problems).toEqual(["/s/f shrank"]);
      expect(source.openCount).toBe(0);
    });
    test(`is cut at the size announced when it grows (${what})`, () => {
      const source = new MemorySource();
      const node = source.file("/s/f", bytes(size));
      source.hooks.read = () => {
        node.data = bytes(size + 1);
      };
      const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
      expect(walkTar(archive.tar)[1]?.data).toEqual(bytes(size));
      expect(archive.problems).toEqual(["/s/f grew"]);
    });
    test(`has zeros behind a read error (${what})`, () => {
      const source = new MemorySource();
      const node = source.file("/s/f", bytes(size));
      const keep = node.data?.subarray(0, 4096);
      source.hooks.read = (_, offset) => {
        if (offset > 0) throw new SourceError("EIO", "read");
        if (keep !== undefined) node.data = keep;
      };
      const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
      const expected = new Uint8Array(size);
      expected.set(bytes(4096));
      expect(walkTar(archive.tar)[1]?.data).toEqual(expected);
      expect(archive.problems).toEqual(["/s/f read-error EIO"]);
      expect(source.openCount).toBe(0);
    });
  }
  test("is left out when not a byte of a small one can be read", () => {
    const source = new MemorySource();
    source.file("/s/f", bytes(100));
    source.file("/s/g", bytes(100));
    source.hooks.read = (path) => {
      if (path === "/s/f") throw new SourceError("EIO", "read");
    };
    const archive = readChunks(source, ["/s"]);
    expect(walkTar(archive.tar).map((entry) => entry.path)).toEqual(["s/", "s/g"]);
    expect(archive.problems).toEqual(["/s/f unreadable EIO"]);
  });
  test("is left out when it vanishes, cannot be read, or is a link or a directory by the time it is opened", () => {
    const source = new MemorySource();
    for (const name of ["a", "b", "c", "d", "e"]) source.file(`/s/${name}`, bytes(100));
    source.hooks.open = (path) => {
      if (path === "/s/a") source.remove(path);
      if (path === "/s/b") throw new SourceError("EACCES", "open");
      if (path === "/s/c") source.symlink(path, "/etc/shadow");
      if (path === "/s/d") source.directory("/s").children?.set("d", source.directory("/other"));
    };
    const archive = readChunks(source, ["/s"]);
    expect(walkTar(archive.tar).map((entry) => entry.path)).toEqual(["s/", "s/e"]);
    expect(archive.problems).toEqual([
      "/s/a vanished ENOENT",
      "/s/b unreadable EACCES",
      "/s/c type-changed ELOOP",
      "/s/d type-changed",
    ]);
    expect(source.openCount).toBe(0);
  });
  test("is left out when it was listed as a link and is none any more", () => {
    const source = new MemorySource();
    source.symlink("/s/l", "target");
    source.hooks.lstat = (path) => {
      if (path === "/s/l") delete source.directory("/s").children?.get("l")?.target;
    };
    const archive = readChunks(source, ["/s"]);
    expect(archive.problems).toEqual(["/s/l type-changed EINVAL"]);
    expect(walkTar(archive.tar).map((entry) => entry.path)).toEqual(["s/"]);
  });
  test("is archived as its successor when another one was renamed over it", () => {
    const source = new MemorySource();
    source.file("/s/f", "old");
    let replaced = false;
    source.hooks.open = () => {
      if (!replaced) source.file("/s/f", "newer");
      replaced = true;
    };
    const archive = readChunks(source, ["/s"]);
    expect(Buffer.from(walkTar(archive.tar)[1]?.data ?? []).toString()).toBe("newer");
    expect(archive.problems).toEqual([]);
  });
  test("counts as vanished when it is another one at every look", () => {
    const source = new MemorySource();
    source.file("/s/f", "old");
    source.hooks.open = () => void source.file("/s/f", "newer");
    const archive = readChunks(source, ["/s"]);
    expect(archive.problems).toEqual(["/s/f vanished"]);
    expect(walkTar(archive.tar).length).toBe(1);
  });
  test("is stored with the size and time it has once it is open", () => {
    const source = new MemorySource();
    const node = source.file("/s/f", bytes(100), { mtimeSeconds: 5 });
    source.hooks.open = () => {
      node.data = bytes(200);
      node.stat = { ...node.stat, size: 200, mtimeSeconds: 6 };
    };
    const archive = readChunks(source, ["/s"]);
    expect(walkTar(archive.tar)[1]).toMatchObject({ size: 200, mtime: 6 });
    expect(archive.problems).toEqual([]);
  });
  test("may be empty by then, and is closed", () => {
    const source = new MemorySource();
    const node = source.file("/s/f", bytes(100));
    source.hooks.open = () => {
      node.stat = { ...node.stat, size: 0 };
    };
    const archive = readChunks(source, ["/s"]);
    expect(walkTar(archive.tar)[1]).toMatchObject({ path: "s/f", size: 0 });
    expect(source.openCount).toBe(0);
  });
});

describe("hard links", () => {
  test("are written once with data, then as links to the first name in the order of the walk", () => {
    const source = new MemorySource();
    const node = source.file("/s/b/two", bytes(100), { nlink: 3 });
    source.put("/s/a/one", node);
    source.put("/s/c", node);
    const archive = readChunks(source, ["/s"]);
    const files = walkTar(archive.tar).filter((entry) => entry.type !== "5");
    expect(files.map((entry) => [entry.path, entry.type, entry.size, entry.linkTarget])).toEqual([
      ["s/a/one", "0", 100, ""],
      ["s/b/two", "1", 0, "s/a/one"],
      ["s/c", "1", 0, "s/a/one"],
    ]);
  });
  test("lead from one source into another", () => {
    const source = new MemorySource();
    const node = source.file("/home/f", bytes(10), { nlink: 2 });
    source.put("/srv/f", node);
    const { tar } = readChunks(source, ["/srv", "/home"]);
    const files = walkTar(tar).filter((entry) => entry.type !== "5");
    expect(files.map((entry) => [entry.path, entry.linkTarget])).toEqual([
      ["home/f", ""],
      ["srv/f", "home/f"],
    ]);
  });
  test("of large files and of symbolic links and fifos are links too", () => {
    const source = new MemorySource();
    const large = source.file("/s/1", bytes(3 * CHUNK), { nlink: 2 });
    source.put("/s/2", large);
    const link = source.symlink("/s/3", "x");
    link.stat = { ...link.stat, nlink: 2 };
    source.put("/s/4", link);
    const fifo = source.special("/s/5", { type: "fifo", nlink: 2 });
    source.put("/s/6", fifo);
    const { tar } = readChunks(source, ["/s"]);
    expect(walkTar(tar).map((entry) => entry.type + entry.linkTarget)).toEqual([
      "5",
      "0",
      "1s/1",
      "2x",
      "1s/3",
      "6",
      "1s/5",
    ]);
  });
  test("never lead to a name that is not in the archive", () => {
    const source = new MemorySource();
    const node = source.file("/s/a", bytes(100), { nlink: 2 });
    source.put("/s/b", node);
    source.hooks.open = (path) => {
      if (path === "/s/a") throw new SourceError("EACCES", "open");
    };
    const archive = readChunks(source, ["/s"]);
    expect(walkTar(archive.tar).map((entry) => entry.path + entry.type)).toEqual(["s/5", "s/b0"]);
  });
  test("are not made to a file whose inode another file has taken over since", () => {
    const source = new MemorySource();
    source.file("/s/a", "mail one", { nlink: 2, ino: "77" });
    source.file("/s/b", "mail two", { nlink: 2, ino: "77", mtimeNanos: 9 });
    const archive = readChunks(source, ["/s"]);
    expect(walkTar(archive.tar).map((entry) => entry.type + Buffer.from(entry.data).toString())).toEqual([
      "5",
      "0mail one",
      "0mail two",
    ]);
  });
  test("beyond the limit are stored as files, and said", () => {
    const source = new MemorySource();
    for (const name of ["a", "b", "c"]) {
      const node = source.file(`/s/${name}1`, name, { nlink: 2 });
      source.put(`/s/${name}2`, node);
      source.put("/t/x", node);
    }
    const linkLimits = { inodesMax: 0, namesBytesMax: MiB };
    const archive = readChunks(source, ["/s"], { linkLimits });
    expect(walkTar(archive.tar).every((entry) => entry.type !== "1")).toBe(true);
    expect(archive.problems.length).toBe(6);
    expect(archive.problems[0]).toBe("/s/a1 links-forgotten");
  });
});

describe("the tree", () => {
  test("of a source root that vanished before its turn fails the run", () => {
    const source = new MemorySource();
    source.directory("/a");
    expect(() => readChunks(source, ["/a", "/b"])).toThrow(Failure);
    expect(() => readChunks(source, ["/a", "/b"])).toThrow("source /b does not exist (ENOENT)");
  });
  test("leaves sockets out and says so; keeps fifos and devices with their numbers", () => {
    const source = new MemorySource();
    source.special("/s/sock", { type: "socket" });
    source.special("/s/fifo", { type: "fifo" });
    source.special("/s/null", { type: "char", rdevMajor: 1, rdevMinor: 3 });
    source.special("/s/disk", { type: "block", rdevMajor: 259, rdevMinor: 70_000 });
    const archive = readChunks(source, ["/s"]);
    const found = walkTar(archive.tar).map((entry) => [entry.path, entry.type, entry.device]);
    expect(found).toEqual([
      ["s/", "5", [0, 0]],
      ["s/disk", "4", [259, 70_000]],
      ["s/fifo", "6", [0, 0]],
      ["s/null", "3", [1, 3]],
    ]);
    expect(archive.problems).toEqual(["/s/sock socket"]);
  });
  test("of the root directory begins with ./ and needs no other source", () => {
    const source = new MemorySource();
    source.file("/etc/hosts", "x");
    const { tar } = readChunks(source, ["/"]);
    expect(walkTar(tar).map((entry) => entry.path)).toEqual(["./", "etc/", "etc/hosts"]);
  });
});
