/**
 * The torture tree through other programs' readers: GNU tar as the judge of names, metadata and data; bsdtar, busybox and Python
 * where INTEROP says that they agree. What only root can make is left out of the tree for others.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { ChunkReader, rawBufferBytes } from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import { WALK_EVERYTHING } from "#archive/walk-rules.ts";
import { KiB, MiB } from "#base/units.ts";
import { type ReadArchive, readFiles, roots } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { walkTar } from "#test/support/tar-walk.ts";
import { isRoot, makeTempDir, makeTortureTree, removeTree, run } from "#test/support/tree.ts";

let dir = "";
let tree = "";
let archive: ReadArchive;
let tarFile = "";

beforeAll(() => {
  dir = makeTempDir();
  tree = path.join(dir, "tree");
  makeTortureTree(tree);
  archive = readFiles([tree], { chunkBytes: 64 * KiB });
  tarFile = path.join(dir, "archive.tar");
  fs.writeFileSync(tarFile, archive.tar);
});
afterAll(() => removeTree(dir));

/** Everything below `top`: path, type, mode, owner, size, time, target, number of names. */
function listing(top: string): string[] {
  return run("find", [top, "-printf", "%P|%y|%m|%U:%G|%s|%T@|%l|%n\\0"])
    .toString("latin1")
    .split("\0")
    .filter((line) => line !== "")
    .sort();
}

/** What is equal by design: before 1970 whole seconds are kept; a directory's size and links are the filesystem's. */
function kept(line: string): string {
  return line.replace(/(\|d\|.*)\|\d+\|([^|]*\|\|)\d+$/, "$1|-|$2-").replace(/\|(-\d+)\.\d+\|/, "|$1|");
}

/** What busybox keeps of that: whole seconds, but not those of symbolic links and directories. */
function keptByBusybox(line: string): string {
  const whole = kept(line).replace(/\|(-?\d+)\.\d+\|/, "|$1|");
  return whole.replace(/\|[-\d]+$/, "").replace(/(\|[ld]\|.*\|)-?\d+(\|[^|]*)$/, "$1-$2");
}

function expectSame(target: string, top: string, same: (line: string) => string): void {
  expect(listing(path.join(target, top)).map(same)).toEqual(listing(top).map(same));
  removeTree(target);
}

function freshDir(name: string): string {
  const target = path.join(dir, name);
  fs.mkdirSync(target);
  return target;
}

describe("GNU tar", () => {
  test("finds no difference between the archive and the tree", () => {
    expect(archive.problems).toEqual([]);
    expect(run("tar", ["-C", "/", "--compare", "-f", tarFile]).toString()).toBe("");
  });
  test("restores names, types, modes, owners, sizes, links, times to the nanosecond and contents", () => {
    const target = freshDir("gnu");
    // Extraction as an ordinary user cannot give files away.
    run("tar", ["-C", target, "-x", "-p", ...(isRoot ? ["--same-owner", "--numeric-owner"] : []), "-f", tarFile]);
    const special = ["fifo", "char", "block"].flatMap((name) => ["-x", name]);
    run("diff", ["-r", "--no-dereference", ...special, tree, path.join(target, tree)]);
    expectSame(target, tree, kept);
  });
  test("reads it compressed in many members and frames, made of its chunks", () => {
    const gz = path.join(dir, "archive.tar.gz");
    fs.writeFileSync(gz, Buffer.concat(archive.chunks.map((chunk) => gzipSync(chunk.bytes))));
    expect(run("tar", ["-C", "/", "--compare", "-z", "-f", gz]).toString()).toBe("");
    const zst = path.join(dir, "archive.tar.zst");
    fs.writeFileSync(zst, Buffer.concat(archive.chunks.map((chunk) => zstdCompressSync(chunk.bytes))));
    if (Bun.which("zstd") === null) return;
    expect(run("tar", ["-C", "/", "--compare", "--zstd", "-f", zst]).toString()).toBe("");
  });
});

/** An archive of one file of `size` bytes, which takes no room: its headers as nbackup writes them, then a hole. */
function makeHugeArchive(size: number): string {
  const source = new MemorySource();
  source.file("/big", size);
  const reader = new ChunkReader({
    source,
    roots: roots("/big"),
    excludes: new Excludes([]),
    rules: WALK_EVERYTHING,
    chunkBytes: 64 * KiB,
    wall: () => 0,
    report: () => undefined,
  });
  const buffer = new Uint8Array(rawBufferBytes(64 * KiB));
  const length = reader.next(buffer)?.rawLength ?? 0;
  reader.close();
  const file = path.join(dir, "huge.tar");
  fs.writeFileSync(file, buffer.slice(0, length));
  fs.truncateSync(file, length + Math.ceil(size / 512) * 512 + 1024);
  return file;
}

describe("a file of more than 8 GiB", () => {
  for (const [reader, args] of [
    ["tar", []],
    ["bsdtar", []],
    ["busybox", ["tar"]],
  ] as const) {
    test.skipIf(Bun.which(reader) === null)(`has its size for ${reader}`, () => {
      const size = 8 * 1024 * MiB + 12_345;
      const file = makeHugeArchive(size);
      const listed = run(reader, [...args, "-tvf", file]).toString();
      expect(listed).toContain(` ${size} `);
      expect(listed.trim().split("\n").length).toBe(1);
      fs.rmSync(file);
    });
  }
});

const PYTHON_LIST = `
import sys, tarfile
from decimal import Decimal
for m in tarfile.open(sys.argv[1], encoding="utf-8", errors="surrogateescape"):
    name, link = (text.encode("utf-8", "surrogateescape").hex() for text in (m.name, m.linkname))
    seconds = int(Decimal(m.pax_headers.get("mtime", m.mtime)))
    print(name, m.type.decode(), m.size, m.uid, m.gid, oct(m.mode)[2:], seconds, link)
`;

describe("other readers", () => {
  test.skipIf(Bun.which("bsdtar") === null)("bsdtar restores the same tree", () => {
    const target = freshDir("bsd");
    run("bsdtar", ["-C", target, "-x", "-p", ...(isRoot ? ["--numeric-owner"] : []), "-f", tarFile]);
    expectSame(target, tree, kept);
  });
  test.skipIf(Bun.which("busybox") === null)("busybox restores the parts without long names to the second", () => {
    // To others than root it gives neither setuid nor what the umask takes.
    const parts = ["sizes", "times", ...(isRoot ? ["special"] : [])];
    for (const part of parts.map((name) => path.join(tree, name))) {
      const target = freshDir("busybox");
      const plain = path.join(dir, "plain.tar");
      fs.writeFileSync(plain, readFiles([part]).tar);
      run("busybox", ["tar", "-x", "-p", "-C", target, "-f", plain]);
      expectSame(target, part, keptByBusybox);
    }
  });
  test.skipIf(Bun.which("python3") === null)("Python reads every name, type, size, owner, mode, time and link", () => {
    const hex = (text: string): string => Buffer.from(text, "latin1").toString("hex");
    const expected = walkTar(archive.tar).map((e) =>
      [
        hex(e.path.replace(/\/$/, "")),
        e.type,
        e.size,
        e.uid,
        e.gid,
        e.mode.toString(8),
        e.mtime,
        hex(e.linkTarget),
      ].join(" "),
    );
    expect(run("python3", ["-c", PYTHON_LIST, tarFile]).toString().split("\n").slice(0, -1)).toEqual(expected);
  });
});
