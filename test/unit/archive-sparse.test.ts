/** Which holes are left out, the map of what is stored, where the data is cut, and what becomes of sparse files that change. */
import { afterAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import {
  EXTENTS_MAX,
  SPARSE_MAP_BYTES_MAX,
  SparseCutter,
  type SparseMap,
  sparseMap,
  sparseMapBytes,
  writeSparseMap,
} from "#archive/sparse.ts";
import { SourceError } from "#archive/source.ts";
import { KiB, MiB } from "#base/units.ts";
import { type ReadArchive, readChunks, readFiles, roots } from "#test/support/archive-kit.ts";
import { type MemoryNode, MemorySource } from "#test/support/memory-source.ts";
import { walkTar } from "#test/support/tar-walk.ts";
import { makeTempDir, patternBytes, removeTree } from "#test/support/tree.ts";

const CHUNK = 256 * KiB;
type Ranges = readonly (readonly [number, number])[];

/** A file with data only in these ranges. */
function sparseFile(source: MemorySource, file: string, size: number, ranges: Ranges): MemoryNode {
  const data = new Uint8Array(size);
  for (const [start, end] of ranges) data.set(patternBytes(end - start, start + 1), start);
  const node = source.file(file, data, { allocatedBytes: 0 });
  node.ranges = ranges;
  return node;
}

function mapOf(size: number, ranges: Ranges | undefined, allocatedBytes = 0): SparseMap | undefined {
  const source = new MemorySource();
  const node = source.file("/f", size, { allocatedBytes });
  if (ranges !== undefined) node.ranges = ranges;
  return sparseMap(source.open(Buffer.from("/f")));
}

function extents(map: SparseMap | undefined): string | undefined {
  return map?.extents.map(({ start, end }) => `${start / KiB}-${end / KiB}`).join(" ");
}

describe("a hole", () => {
  test("counts from 1 MiB on, between borders of 64 KiB", () => {
    expect(extents(mapOf(4 * MiB, [[0, 1]]))).toBe("0-64");
    expect(extents(mapOf(4 * MiB, [[4 * MiB - 1, 4 * MiB]]))).toBe("4032-4096");
    const between = (start: number, end: number): string | undefined =>
      extents(
        mapOf(4 * MiB, [
          [0, start],
          [end, 4 * MiB],
        ]),
      );
    expect(between(64 * KiB, 64 * KiB + MiB)).toBe("0-64 1088-4096");
    expect(between(64 * KiB, 64 * KiB + MiB - 1)).toBeUndefined();
    expect(between(64 * KiB + 1, 64 * KiB + MiB + 1)).toBeUndefined();
    expect(between(1, 64 * KiB + MiB)).toBe("0-64 1088-4096");
    expect(between(70 * KiB, 3 * MiB + 70 * KiB)).toBe("0-128 3136-4096");
  });
  test("at the end reaches the file's size, whatever that is", () => {
    expect(mapOf(2 * MiB + 12_345, [[0, 100]])).toEqual({
      extents: [{ start: 0, end: 64 * KiB }],
      realSize: 2 * MiB + 12_345,
      dataBytes: 64 * KiB,
    });
    expect(mapOf(MiB + 64 * KiB - 1, [[0, 100]])).toBeUndefined();
  });
  test("can be the whole file", () => {
    expect(mapOf(MiB, [])).toEqual({ extents: [], realSize: MiB, dataBytes: 0 });
    expect(mapOf(MiB - 1, [])).toBeUndefined();
  });
  test("is not looked for where nothing is missing on the disk", () => {
    expect(mapOf(8 * MiB, [], 8 * MiB)).toBeUndefined();
  });
  test("is data where the filesystem cannot tell", () => {
    expect(mapOf(8 * MiB, undefined)).toBeUndefined();
  });
});

describe("a map", () => {
  const written = (map: SparseMap): string => {
    const into = new Uint8Array(SPARSE_MAP_BYTES_MAX + 1).fill(0xa5);
    const end = writeSparseMap(into, 1, map);
    expect([end - 1, (end - 1) % 512]).toEqual([sparseMapBytes(map), 0]);
    return Buffer.from(into.slice(1, end)).toString("latin1");
  };
  test("has the number of stretches, each of them, and one of length 0 at the size", () => {
    const map = {
      extents: [
        { start: 0, end: 65_536 },
        { start: 2_097_152, end: 2_100_000 },
      ],
      realSize: 9_000_000,
      dataBytes: 68_384,
    };
    expect(written(map)).toBe("3\n0\n65536\n2097152\n2848\n9000000\n0\n".padEnd(512, "\0"));
    expect(written({ extents: [], realSize: MiB, dataBytes: 0 })).toBe("1\n1048576\n0\n".padEnd(512, "\0"));
  });
  test("of a file with very many holes keeps the largest, within the room for headers", () => {
    const size = 2 ** 50;
    const step = 2 ** 26;
    // Every 64 MiB a piece of data; every eighth hole is three times as long.
    const ranges: [number, number][] = [];
    for (let at = 0; ranges.length < 6 * EXTENTS_MAX; at += ranges.length % 8 === 0 ? 3 * step : step)
      ranges.push([at, at + 1]);
    const map = mapOf(size, ranges);
    expect(map?.extents.length).toBeLessThanOrEqual(EXTENTS_MAX);
    expect(map?.extents.length).toBeGreaterThan(EXTENTS_MAX / 2);
    expect(map?.extents.at(-1)?.end).toBeLessThan(size);
    for (const [i, { start, end }] of (map?.extents ?? []).entries()) {
      expect(end).toBeGreaterThan(start);
      const before = map?.extents[i - 1];
      if (before !== undefined) expect(start - before.end).toBeGreaterThan(step);
    }
    if (map !== undefined) expect(written(map).length).toBeLessThan(SPARSE_MAP_BYTES_MAX);
  });
});

function kinds(archive: ReadArchive): string[] {
  return archive.chunks.map((chunk) => `${chunk.kind} ${chunk.rawLength}`);
}

describe("a sparse file", () => {
  const size = 6 * MiB + 100;
  const ranges: Ranges = [
    [0, 10],
    [2 * MiB - 64 * KiB, 2 * MiB + 300 * KiB],
    [6 * MiB - 10, size],
  ];
  test("is cut at multiples of the chunk size of its real offset, its map with the headers", () => {
    const source = new MemorySource();
    sparseFile(source, "/f", size, ranges);
    const archive = readChunks(source, ["/f"], { chunkBytes: CHUNK });
    expect(kinds(archive)).toEqual([
      `headers ${512 + 512 + 512 + 512}`,
      `data ${64 * KiB}`,
      `data ${64 * KiB}`,
      `data ${256 * KiB}`,
      `data ${64 * KiB}`,
      `data ${64 * KiB}`,
      `data 512`,
      "end 1024",
    ]);
    const [entry] = walkTar(archive.tar);
    expect(entry?.path).toBe("f");
    expect([...(entry?.pax ?? [])]).toEqual([
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", "f"],
      ["GNU.sparse.realsize", String(size)],
    ]);
    expect(Buffer.from(archive.tar.slice(1024, 1124)).toString()).toStartWith("GNUSparseFile.0/f\0");
    expect(expanded(archive)).toEqual(source.root.children?.get("f")?.data ?? new Uint8Array(0));
  });
  test("with little data is gathered with others, its data behind the map", () => {
    const source = new MemorySource();
    sparseFile(source, "/s/f", 4 * MiB, [[2 * MiB, 2 * MiB + 1]]);
    source.file("/s/g", "small");
    const archive = readChunks(source, ["/s"], { chunkBytes: CHUNK });
    expect(kinds(archive)).toEqual([`entries ${512 + 2048 + 64 * KiB + 1024}`, "end 1024"]);
    expect(walkTar(archive.tar).map((entry) => entry.path)).toEqual(["s/", "s/f", "s/g"]);
  });
  test("that is one hole has a map and no data", () => {
    const source = new MemorySource();
    sparseFile(source, "/f", 3 * MiB, []);
    const archive = readChunks(source, ["/f"], { chunkBytes: CHUNK });
    expect(kinds(archive)).toEqual(["entries 2048", "end 1024"]);
    expect(source.openCount).toBe(0);
  });
  test("whose name is not UTF-8 has it where other files have it, not in a pax record", () => {
    const source = new MemorySource();
    const names = ["\xff", `${"\xfe".repeat(200)}`];
    for (const name of names) sparseFile(source, `/s/${name}`, 3 * MiB, []);
    const entries = walkTar(readChunks(source, ["/s"]).tar).slice(1);
    expect(entries.map((entry) => entry.path).sort()).toEqual(names.map((name) => `s/${name}`).sort());
    for (const entry of entries) expect(entry.pax.has("GNU.sparse.name")).toBe(false);
  });
  test("does not move the cuts when a hole before is filled", () => {
    const dataChunks = (all: Ranges): string[] => {
      const source = new MemorySource();
      sparseFile(source, "/f", size, all);
      const { chunks } = readChunks(source, ["/f"], { chunkBytes: CHUNK });
      return chunks.filter((chunk) => chunk.kind === "data").map((chunk) => Bun.hash(chunk.bytes).toString());
    };
    const before = dataChunks(ranges);
    const after = dataChunks([[0, 10], [MiB / 2, MiB / 2 + 100], ...ranges.slice(1)]);
    expect(before.slice(1).every((hash) => after.includes(hash))).toBe(true);
  });
});

/** The only entry's contents, put together from map and data as a reader does. */
function expanded(archive: ReadArchive): Uint8Array {
  const [entry] = walkTar(archive.tar);
  const data = entry?.data ?? new Uint8Array(0);
  const numbers = Buffer.from(data).toString("latin1").split("\n");
  const count = Number(numbers[0]);
  const file = new Uint8Array(Number(entry?.pax.get("GNU.sparse.realsize")));
  let at = Math.ceil((numbers.slice(0, 1 + 2 * count).join("\n").length + 1) / 512) * 512;
  for (let i = 0; i < count; i += 1) {
    const [offset, length] = [Number(numbers[1 + 2 * i]), Number(numbers[2 + 2 * i])];
    file.set(data.subarray(at, at + length), offset);
    at += length;
  }
  expect(at).toBe(data.length);
  return file;
}

describe("a sparse file that changes while it is read", () => {
  const size = 4 * MiB;
  const ranges: Ranges = [
    [0, 300 * KiB],
    [2 * MiB, 2 * MiB + 100],
  ];
  function changed(
    change: (node: MemoryNode) => void,
    chunkBytes = CHUNK,
  ): ReadArchive & { file: Uint8Array; open: number } {
    const source = new MemorySource();
    const node = sparseFile(source, "/f", size, ranges);
    source.hooks.read = () => change(node);
    const archive = readChunks(source, ["/f"], { chunkBytes });
    return { ...archive, file: expanded(archive), open: source.openCount };
  }
  for (const [chunkBytes, what] of [
    [CHUNK, "in chunks of its own"],
    [4 * MiB, "gathered with others"],
  ] as const) {
    test(`is padded when it shrinks, also inside its last hole (${what})`, () => {
      const whole = changed(() => undefined, chunkBytes);
      expect(whole.problems).toEqual([]);
      const cut = changed((node) => {
        node.data = node.data?.subarray(0, 100 * KiB) ?? new Uint8Array(0);
      }, chunkBytes);
      expect(cut.problems).toEqual(["/f shrank"]);
      expect(cut.file).toEqual(new Uint8Array(size).fill(0).map((_, i) => (i < 100 * KiB ? (whole.file[i] ?? 0) : 0)));
      const inHole = changed((node) => {
        node.data = node.data?.subarray(0, 3 * MiB) ?? new Uint8Array(0);
      }, chunkBytes);
      expect([inHole.problems, inHole.open]).toEqual([["/f shrank"], 0]);
      expect(inHole.file).toEqual(whole.file);
    });
    test(`is cut when it grows (${what})`, () => {
      const grown = changed((node) => {
        node.data = Buffer.concat([node.data?.subarray(0, size) ?? new Uint8Array(0), Buffer.from("more")]);
      }, chunkBytes);
      expect([grown.problems, grown.file.length]).toEqual([["/f grew"], size]);
    });
    test(`has zeros behind a read error (${what})`, () => {
      const source = new MemorySource();
      sparseFile(source, "/f", size, ranges);
      source.hooks.read = (_, offset) => {
        if (offset >= 2 * MiB) throw new SourceError("EIO", "read");
      };
      const archive = readChunks(source, ["/f"], { chunkBytes });
      expect(archive.problems).toEqual(["/f read-error EIO"]);
      expect(
        expanded(archive)
          .subarray(2 * MiB)
          .every((byte) => byte === 0),
      ).toBe(true);
    });
  }
});

describe("cutting", () => {
  test("gives each byte of the extents once, never across a border", () => {
    const map: SparseMap = {
      extents: [
        { start: 0, end: 64 },
        { start: 100, end: 1000 },
        { start: 1024, end: 1030 },
      ],
      realSize: 5000,
      dataBytes: 970,
    };
    const cutter = new SparseCutter(map, 512);
    const cuts: string[] = [];
    for (let last = false; !last;) {
      const cut = cutter.next();
      ({ last } = cut);
      cuts.push(`${cut.pieces.map(({ start, end }) => `${start}-${end}`).join(",")} ${cut.rawBytes}`);
    }
    expect(cuts).toEqual(["0-64,100-512 476", "512-1000 488", `1024-1030 ${6 + 1024 - 970}`]);
  });
});

const dir = makeTempDir();
afterAll(() => removeTree(dir));

describe("on a real filesystem", () => {
  test("holes are found, and the file is read as it is", () => {
    const file = path.join(dir, "sparse");
    const fd = fs.openSync(file, "w+");
    const data = patternBytes(100_000);
    for (const offset of [3 * MiB, 9 * MiB + 500_000]) fs.writeSync(fd, data, 0, data.length, offset);
    fs.ftruncateSync(fd, 15 * MiB + 1);
    fs.closeSync(fd);
    const archive = readFiles([file], { chunkBytes: MiB });
    if (fs.statSync(file).blocks * 512 > 10 * MiB) {
      console.log("this filesystem makes no holes: only contents are looked at");
      return;
    }
    expect(archive.tar.length).toBeLessThan(500_000);
    expect(Buffer.compare(expanded(archive), fs.readFileSync(file))).toBe(0);
  });
  test("a file without holes, and one on a filesystem that does not say, have none", () => {
    const file = path.join(dir, "dense");
    fs.writeFileSync(file, patternBytes(2 * MiB));
    for (const one of [file, "/proc/self/status"]) {
      const open = new LinuxSource({ roots: roots(one).map((root) => root.path) }).open(Buffer.from(one));
      const found: string[] = [];
      open.dataRanges((start, end) => found.push(`${start}-${end}`));
      open.close();
      expect(found).toEqual(one === file ? [`0-${2 * MiB}`] : []);
    }
  });
});
