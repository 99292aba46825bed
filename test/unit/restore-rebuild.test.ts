/** Indexes made again from archive files: of nbackup, whole and damaged, and of GNU tar with gzip and zstd. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import type { IndexReader } from "#archive/index-reader.ts";
import { LinuxSource } from "#archive/linux-source.ts";
import { must } from "#base/assert.ts";
import { KiB, MiB } from "#base/units.ts";
import { openArchiveFile } from "#restore/file-access.ts";
import { rebuildIndex } from "#restore/rebuild.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { roots } from "#test/support/archive-kit.ts";
import { collect, indexTree, openIndex, paths, refusalOf, type TreeIndex } from "#test/support/index-kit.ts";
import { makeSmallFiles, makeTempDir, patternBytes, removeTree } from "#test/support/tree.ts";

let dir = "";
let tree = "";
beforeAll(() => {
  dir = makeTempDir();
  tree = path.join(dir, "tree");
  makeSmallFiles(path.join(tree, "small"), 200, 3000);
  fs.writeFileSync(path.join(tree, "large"), crypto.getRandomValues(new Uint8Array(40 * KiB)));
  fs.appendFileSync(path.join(tree, "large"), patternBytes(5 * 128 * KiB));
  fs.linkSync(path.join(tree, "large"), path.join(tree, "link"));
});
afterAll(() => removeTree(dir));

function makeArchive(mode: "gzip" | "zst"): TreeIndex {
  const source = new LinuxSource({ roots: roots(tree).map((root) => root.path) });
  return indexTree(source, [tree], { chunkBytes: 128 * KiB, compression: { mode, level: 1 } });
}

interface Rebuilt {
  readonly index: IndexReader;
  readonly damage: readonly string[];
}

async function rebuild(stored: Uint8Array | string): Promise<Rebuilt> {
  const file = typeof stored === "string" ? stored : path.join(dir, "archive");
  if (typeof stored !== "string") fs.writeFileSync(file, stored);
  const access = openArchiveFile(file);
  const blocks: Uint8Array[] = [];
  const damage: string[] = [];
  try {
    await rebuildIndex({
      access,
      archive: undefined,
      write: (block) => {
        blocks.push(new Uint8Array(block));
        return Promise.resolve();
      },
      onDamage: (failure) => damage.push(failure.message),
      signal: new AbortController().signal,
    });
  } finally {
    await access.close();
  }
  return { index: await openIndex(Buffer.concat(blocks)), damage };
}

/** Every byte of the archive is some chunk's, and each chunk's digest is that of its bytes. */
async function expectWholeTable(index: IndexReader, stored: Uint8Array): Promise<void> {
  let at = 0;
  for (const chunk of await collect(index.chunks())) {
    expect(chunk.storedOffset).toBe(at);
    at += chunk.storedLength;
    const sum = new Bun.CryptoHasher("sha256").update(stored.slice(chunk.storedOffset, at)).digest("hex");
    expect(Buffer.from(chunk.digest).toString("hex")).toBe(sum);
  }
  expect([at, index.totals.storedBytes]).toEqual([stored.length, stored.length]);
}

describe("an archive of nbackup", () => {
  for (const mode of ["gzip", "zst"] as const) {
    test(`gives back its index, chunk by chunk (${mode})`, async () => {
      const made = makeArchive(mode);
      const first = await openIndex(made.bytes);
      const { index, damage } = await rebuild(made.stored);
      expect(damage).toEqual([]);
      expect(await collect(index.chunks())).toEqual(await collect(first.chunks()));
      const entries = (await collect(first.entries())).map((entry) => ({ ...entry, live: undefined, racy: false }));
      expect(await collect(index.entries())).toEqual(entries);
      expect(index.header.rebuilt).toBe(true);
    });
    test(`with a damaged chunk gives all but what was in it, and says where (${mode})`, async () => {
      const made = makeArchive(mode);
      const first = await openIndex(made.bytes);
      const chunk = must((await collect(first.chunks({ number: 2 })))[0], "a chunk");
      const stored = Buffer.from(made.stored);
      stored.fill(0x55, chunk.storedOffset + 30, chunk.storedOffset + 60);
      const { index, damage } = await rebuild(stored);
      const end = chunk.storedOffset + chunk.storedLength - 1;
      expect(damage[0]).toStartWith(`chunk 2, bytes ${chunk.storedOffset} to ${end} of the archive, cannot be read`);
      const kinds = (await collect(index.chunks())).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === "lost")).toEqual(["lost"]);
      await expectWholeTable(index, stored);
      const kept = (await collect(first.entries())).filter(
        (entry) => entry.headersAt < chunk.rawOffset || entry.headersAt >= chunk.rawOffset + chunk.rawLength,
      );
      expect((await paths(index.entries())).length).toBe(kept.length);
    });
  }
  test("that breaks off gives what there is", async () => {
    const made = makeArchive("gzip");
    const stored = made.stored.subarray(0, Math.floor(made.stored.length / 2));
    const { index, damage } = await rebuild(stored);
    expect(damage.length).toBeGreaterThan(0);
    expect(index.totals.entries).toBeGreaterThan(0);
    await expectWholeTable(index, stored);
  });
});

describe("an archive of GNU tar", () => {
  for (const [program, options] of [
    ["gzip", ["--gzip"]],
    ["zstd", ["--zstd"]],
  ] as const) {
    test(`has an index that says that its chunks cannot be entered (${program})`, async () => {
      if (Bun.which(program) === null) {
        console.log(`skipped: ${program} is not installed`);
        return;
      }
      const file = path.join(dir, `gnu.${program}`);
      const big = path.join(tree, "big");
      fs.writeFileSync(big, patternBytes(MiB));
      await mustRun(["tar", ...options, "-cf", file, "-C", dir, "tree/small", "tree/big"], {});
      fs.rmSync(big);
      const { index, damage } = await rebuild(file);
      expect(damage).toEqual([]);
      const listed = (await mustRun(["tar", "-tf", file], {})).trimEnd().split("\n");
      expect(await paths(index.entries())).toEqual(listed.map((name) => name.replace(/\/$/, "")));
      expect((await collect(index.chunks())).map(({ kind }) => kind)).toEqual(["stream"]);
      await expectWholeTable(index, fs.readFileSync(file));
    }, 60_000);
  }
  test("that is not compressed, or no archive at all, has none", async () => {
    const file = path.join(dir, "plain.tar");
    await mustRun(["tar", "-cf", file, "-C", dir, "tree/small"], {});
    expect(await refusalOf(rebuild(file))).toStartWith("E_ARCHIVE_FOREIGN: ");
    expect(await refusalOf(rebuild(Buffer.from("no archive".repeat(100))))).toStartWith("E_ARCHIVE_FOREIGN: ");
  });
});

test("an interrupted rebuild says so", async () => {
  fs.writeFileSync(path.join(dir, "archive"), makeArchive("gzip").stored);
  const access = openArchiveFile(path.join(dir, "archive"));
  const signal = AbortSignal.abort();
  const options = { access, archive: undefined, write: () => Promise.resolve(), onDamage: () => undefined, signal };
  expect(await refusalOf(rebuildIndex(options))).toBe("E_INTERRUPTED: interrupted");
  await access.close();
});
