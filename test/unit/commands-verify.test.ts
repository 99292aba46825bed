/** verify over archives in memory: an archive that the disk does not give back is damaged, and counts as that. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { findingOf } from "#bin/findings.ts";
import type { Verification } from "#restore/verify.ts";
import { roots } from "#test/support/archive-kit.ts";
import { EVERYWHERE, MemoryStock, runCommand } from "#test/support/command-kit.ts";
import { indexTree, type TreeIndex } from "#test/support/index-kit.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const TIME = "2026-02-11T02:00:00.000Z";
let base = "";
let made: TreeIndex;

beforeAll(() => {
  base = makeTempDir(memoryDir());
  const tree = path.join(base, "tree");
  fs.mkdirSync(tree);
  fs.writeFileSync(path.join(tree, "a.conf"), "one");
  made = indexTree(new LinuxSource({ roots: roots(tree).map((root) => root.path) }), [tree], { chunkBytes: 65_536 });
});
afterAll(() => removeTree(base));

const request = {
  ...{ command: "verify" as const, archive: { text: "latest", scope: EVERYWHERE } },
  ...{ progress: false, json: false },
};

test("an archive whose structure the disk cannot read is damaged, says at which bytes, and is marked, as a scrub does", async () => {
  const stock = new MemoryStock([{ time: TIME, archive: made.stored }]);
  stock.badOffsets.push(0);
  stock.file = path.join(base, "tree/a.conf");
  const kept: Verification[] = [];
  const keepVerification = async (_row: unknown, _read: unknown, found: Verification): Promise<void> => {
    kept.push(found);
  };
  const run = await runCommand(request, stock, { side: "server", keepVerification });
  expect(run.exit).toBe(1);
  expect(run.stdout).toContain("damaged");
  expect(run.stderr).toMatch(/warning: bytes 0 to \d+ of the archive is damaged: the disk cannot read it/);
  expect(kept).toHaveLength(1);
  expect(findingOf(must(kept[0], "what was kept"))).toMatchObject({ ok: false, what: "1 damaged place" });
  expect(stock.openCount).toBe(0);
});

test("a disk that is gone says nothing of the archive: that is a failure, and nothing is marked", async () => {
  const stock = new MemoryStock([{ time: TIME, archive: made.stored }]);
  stock.open = () => Promise.reject(Object.assign(new Error("ESTALE"), { code: "ESTALE" }));
  const run = await runCommand(request, stock, { keepVerification: () => Promise.reject(new Error("kept")) });
  expect(run.exit).toBe("E_ARCHIVE_READ: the disk cannot read the archive (ESTALE)");
});

describe("an archive of which nothing is left to go by", () => {
  const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);
  const cases: readonly [string, () => Uint8Array, boolean, string][] = [
    ["empty", () => zeros(0), false, "the archive is empty"],
    ["empty, with its index", () => zeros(0), true, "the archive is empty"],
    ["zeros", () => zeros(made.stored.length), false, "neither gzip nor zstd nor tar"],
    // The index knows what was there.
    ["zeros, with its index", () => zeros(made.stored.length), true, "its CRC-32 is wrong; it holds 2 entries"],
    ["something else", () => Buffer.from("no such file".repeat(100)), false, "neither gzip nor zstd nor tar"],
  ];
  test.each(cases)("is damaged, and marked as that: %s", async (_what, archive, isIndexed, told) => {
    const stock = new MemoryStock([{ time: TIME, archive: archive(), index: isIndexed ? made.bytes : undefined }]);
    stock.file = path.join(base, "tree/a.conf");
    const kept: Verification[] = [];
    const keepVerification = async (_row: unknown, _read: unknown, found: Verification): Promise<void> => {
      kept.push(found);
    };
    const run = await runCommand(request, stock, { side: "server", keepVerification });
    expect(run.exit).toBe(1);
    expect(run.stdout).toContain("damaged, ");
    expect(run.stderr).toContain(told);
    expect(kept.map(findingOf)).toMatchObject([{ ok: false }]);
    expect(stock.openCount).toBe(0);
  });
  test("is refused when it is a file that somebody names", async () => {
    const file = path.join(base, "notes.txt");
    fs.writeFileSync(file, "buy milk\n");
    const archive = { text: file, scope: EVERYWHERE };
    const run = await runCommand({ ...request, archive }, new MemoryStock([]), { side: "server" });
    expect(run.exit).toStartWith("E_ARCHIVE_FOREIGN: the archive is neither");
  });
});

test("of several archives the one that cannot be verified is named", async () => {
  const stock = new MemoryStock([
    { time: TIME, archive: made.stored },
    { time: "2026-02-12T02:00:00.000Z", archive: made.stored },
  ]);
  const { open } = stock;
  stock.open = (row) =>
    row.name.startsWith("2026-02-12") ? Promise.reject(new Failure("E_DISK", "it hangs")) : open.call(stock, row);
  const run = await runCommand({ ...request, archive: { text: "all", scope: EVERYWHERE } }, stock);
  expect(run.exit).toBe(1);
  expect(run.stderr).toStartWith("E_DISK: web-1/etc/2026-02-12T02-00-00-000Z.tar.gz: it hangs\n");
});
