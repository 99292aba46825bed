/** Archives without an index in which the beginnings of chunks are damaged: what is lost is told, and what lies behind is found again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import { must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import { PIECE_STORED_BYTES_MAX } from "#restore/piece.ts";
import { roots } from "#test/support/archive-kit.ts";
import { EVERYWHERE, MemoryStock, runCommand } from "#test/support/command-kit.ts";
import { indexTree } from "#test/support/index-kit.ts";
import { seededRandom } from "#test/support/seeded-random.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
const SMALL_FILES = 100;
const CHUNK_BYTES = 64 * KiB;
let base = "";
let archive: Buffer;
let zstArchive: Buffer;
/** Where the chunks begin. */
let starts: readonly number[] = [];

beforeAll(() => {
  base = makeTempDir(memoryDir());
  const tree = path.join(base, "tree");
  fs.mkdirSync(tree);
  const random = seededRandom(1);
  fs.writeFileSync(path.join(tree, "a-large"), random.bytes(20 * CHUNK_BYTES));
  for (let n = 0; n < SMALL_FILES; n += 1) {
    fs.writeFileSync(path.join(tree, `b-${String(n).padStart(3, "0")}`), random.bytes(4 * KiB));
  }
  const stored = (mode: "gzip" | "zst"): Buffer => {
    const source = new LinuxSource({ roots: roots(tree).map((root) => root.path) });
    return Buffer.from(indexTree(source, [tree], { chunkBytes: CHUNK_BYTES, compression: { mode, level: 1 } }).stored);
  };
  archive = stored("gzip");
  zstArchive = stored("zst");
  const found: number[] = [];
  for (let at = archive.indexOf(HEADER); at >= 0; at = archive.indexOf(HEADER, at + 1)) found.push(at);
  starts = found;
});
afterAll(() => removeTree(base));

const startOf = (chunk: number): number => must(starts.at(chunk), "a chunk");

/** Without `length` bytes from there on: zeros. */
function holed(from: number, length: number): Buffer {
  const copy = Buffer.from(archive);
  copy.fill(0, from, from + length);
  return copy;
}

async function restored(bytes: Uint8Array): Promise<{ exit: number | string; stderr: string; names: string[] }> {
  const to = fs.mkdtempSync(path.join(base, "to-"));
  const stock = new MemoryStock([{ time: "2026-02-11T02:00:00.000Z", archive: bytes }]);
  const request = {
    ...{ command: "restore" as const, archive: { text: "latest", scope: EVERYWHERE }, paths: [], to },
    ...{ overwrite: "always" as const, deletes: false, dryRun: false, stripComponents: 0, owners: false },
    ...{ progress: false, json: false },
  };
  const { exit, stderr } = await runCommand(request, stock);
  return { exit, stderr, names: fs.readdirSync(path.join(to, base, "tree")).sort() };
}

async function verified(bytes: Uint8Array): Promise<number | string> {
  const stock = new MemoryStock([{ time: "2026-02-11T02:00:00.000Z", archive: bytes }]);
  const archiveArgument = { text: "latest", scope: EVERYWHERE };
  const request = { command: "verify" as const, archive: archiveArgument, progress: false, json: false };
  return (await runCommand(request, stock)).exit;
}

const small = (names: readonly string[]): number => names.filter((name) => name.startsWith("b-")).length;

test("the archive is whole before", async () => {
  expect(starts.length).toBeGreaterThan(25);
  const { exit, stderr, names } = await restored(archive);
  expect([exit, stderr, names.length]).toEqual([0, "", SMALL_FILES + 1]);
});

describe("a chunk of whole files whose first bytes are damaged", () => {
  test("is not passed over: what lay in it is told, and nothing else is lost", async () => {
    // The last ones are the end of the archive, and files before it.
    const bytes = holed(startOf(-3), HEADER.length);
    const { exit, stderr, names } = await restored(bytes);
    expect(exit).toBe(3);
    expect(stderr).toContain("is damaged: it cannot be decompressed; whatever lay between");
    expect(small(names)).toBeGreaterThan(SMALL_FILES - 20);
    expect(small(names)).toBeLessThan(SMALL_FILES);
    expect(await verified(bytes)).toBe(1);
  });
});

describe("a large file with a chunk whose first bytes are damaged", () => {
  test("is not restored with its data in the wrong place under its own name", async () => {
    const { exit, stderr, names } = await restored(holed(startOf(10), HEADER.length));
    expect(exit).toBe(3);
    expect(stderr).toContain("tree/a-large: is damaged in the archive");
    expect(names[0]).toBe("a-large.damaged");
    expect(small(names)).toBe(SMALL_FILES);
  });
  test("and many chunks that are gone costs no file behind it", async () => {
    const from = startOf(4) + 50;
    const { exit, names } = await restored(holed(from, startOf(14) + 50 - from));
    expect(exit).toBe(3);
    expect(names[0]).toBe("a-large.damaged");
    expect(small(names)).toBe(SMALL_FILES);
  });
});

test("a hole that is longer than any chunk costs no file behind it", async () => {
  const hole = Buffer.alloc(2 * PIECE_STORED_BYTES_MAX + 4096);
  const bytes = Buffer.concat([archive.subarray(0, startOf(4) + 50), hole, archive.subarray(startOf(8) + 50)]);
  const { exit, names } = await restored(bytes);
  expect(exit).toBe(3);
  expect(names[0]).toBe("a-large.damaged");
  expect(small(names)).toBe(SMALL_FILES);
});

test("a zstd frame whose header is damaged behind its magic costs no frame behind it", async () => {
  const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
  const bytes = Buffer.from(zstArchive);
  let at = 0;
  for (let frame = 0; frame < 10; frame += 1) at = bytes.indexOf(magic, at + 1);
  bytes.fill(0, at + magic.length, at + 12);
  const { exit, names } = await restored(bytes);
  expect(exit).toBe(3);
  expect(names[0]).toBe("a-large.damaged");
  expect(small(names)).toBe(SMALL_FILES);
});

test("zeros behind the end of an archive are no damage, as for every tar", async () => {
  const { exit, names } = await restored(Buffer.concat([archive, Buffer.alloc(1000)]));
  expect([exit, names.length]).toEqual([0, SMALL_FILES + 1]);
});
