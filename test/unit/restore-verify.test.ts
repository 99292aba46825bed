/** Verification with an index: what is wrong with the archive and what with its index are told apart. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { must } from "#base/assert.ts";
import type { CompressionMode } from "#base/chunk.ts";
import type { IndexEntry, TableChunk } from "#archive/index-format.ts";
import { openIndexed } from "#restore/index-open.ts";
import { planToVerify } from "#restore/index-plan.ts";
import { verifyArchive } from "#restore/job-runner.ts";
import type { Verification } from "#restore/verify.ts";
import { collect, openIndex, type TreeIndex } from "#test/support/index-kit.ts";
import { archiveTree, rebuiltIndex, rewriteIndex } from "#test/support/restore-index-kit.ts";
import { inlineThread, MemoryAccess } from "#test/support/restore-run.ts";
import { makeTempDir, makeTortureTree, memoryDir, patternBytes, removeTree, run } from "#test/support/tree.ts";

const SLOW_MS = 60_000;
const MODES: readonly CompressionMode[] = ["gzip", "zst"];

let dir: string;
let source: string;
let made: Readonly<Record<CompressionMode, TreeIndex>>;
beforeAll(() => {
  dir = makeTempDir(memoryDir());
  source = path.join(dir, "source");
  makeTortureTree(source);
  for (let i = 0; i < 20; i += 1) fs.writeFileSync(path.join(source, `more${i}`), patternBytes(12_000, i + 1));
  made = { gzip: archiveTree(source, "gzip"), zst: archiveTree(source, "zst") };
});
afterAll(() => removeTree(dir));

const sumOf = (bytes: Uint8Array): string => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

async function verify(
  archive: Uint8Array | MemoryAccess,
  index: Uint8Array | undefined,
  expected?: string,
): Promise<Verification> {
  const access = archive instanceof MemoryAccess ? archive : new MemoryAccess(archive);
  const plan = await planToVerify(await openIndexed(access, index && new MemoryAccess(index)));
  const deps = { spawn: inlineThread, cores: 2, signal: new AbortController().signal };
  return (await verifyArchive(access, expected, deps, plan)).verification;
}

const spoil = (bytes: Uint8Array, from: number, length = 1): Buffer => {
  const spoilt = Buffer.from(bytes);
  for (let i = from; i < from + length; i += 1) spoilt[i] = (spoilt[i] ?? 0) ^ 0x10;
  return spoilt;
};

describe("an archive and its index", () => {
  for (const mode of MODES) {
    test(
      `that are as they were agree (${mode})`,
      async () => {
        const { stored, bytes } = made[mode];
        const result = await verify(stored, bytes, sumOf(stored));
        const { totals } = await openIndex(bytes);
        expect(result).toMatchObject({ ok: true, index: { state: "agrees" }, damagedCount: 0 });
        expect([result.chunks, result.entries]).toEqual([totals.chunks, totals.entries]);
      },
      SLOW_MS,
    );
    test(
      `of which a bit anywhere in the archive was changed: the archive is damaged (${mode})`,
      async () => {
        const { stored, bytes } = made[mode];
        for (const chunk of (await collect((await openIndex(bytes)).chunks())).slice(0, 5)) {
          for (const at of [4, Math.floor(chunk.storedLength / 2)]) {
            const result = await verify(spoil(stored, chunk.storedOffset + at), bytes, sumOf(stored));
            expect([result.ok, result.damaged.map((damage) => damage.chunk)]).toEqual([false, [chunk.number]]);
            expect(result.index).toEqual({ state: "agrees" });
          }
        }
      },
      SLOW_MS,
    );
  }

  test.each(MODES)(
    "a bit changed anywhere is noticed with neither of index and SHA-256 (%s)",
    async (mode) => {
      const { stored, bytes } = made[mode];
      expect(await verify(stored, undefined)).toMatchObject({ ok: true, index: { state: "none" } });
      for (const { storedOffset, storedLength } of (await collect((await openIndex(bytes)).chunks())).slice(0, 20)) {
        const { ok } = await verify(spoil(stored, storedOffset + Math.floor(storedLength / 2)), undefined);
        expect(ok).toBe(false);
      }
    },
    SLOW_MS,
  );

  test("an archive that was cut is damaged, its index is not", async () => {
    const { stored, bytes } = made.gzip;
    const result = await verify(stored.subarray(0, stored.length - 30_000), bytes, sumOf(stored));
    expect(result).toMatchObject({ ok: false, index: { state: "agrees" }, damagedCount: 1 });
    expect(must(result.damaged[0]?.held, "names").count).toBeGreaterThan(1);
  });

  test(
    "a foreign archive agrees with the index made from it",
    async () => {
      for (const [program, flag] of [
        ["gzip", "--gzip"],
        ["zstd", "--zstd"],
      ] as const) {
        if (Bun.which(program) === null) {
          console.log(`skipped: ${program} is not installed`);
          continue;
        }
        const foreign = run("tar", [flag, "--sparse", "--xattrs", "-cf", "-", "-C", dir, "source"]);
        expect(await verify(foreign, await rebuiltIndex(foreign), sumOf(foreign))).toMatchObject({
          ok: true,
          index: { state: "agrees" },
        });
      }
    },
    SLOW_MS,
  );
});

describe("an index that is wrong is its own damage, and the archive is good:", () => {
  const at =
    (number: number, change: (entry: IndexEntry) => Partial<IndexEntry>) =>
    (all: readonly IndexEntry[]): readonly IndexEntry[] =>
      all.map((entry) => (entry.number === number ? { ...entry, ...change(entry) } : entry));
  const entryLies: readonly [string, (all: readonly IndexEntry[]) => readonly IndexEntry[]][] = [
    ["a time", at(9, ({ mtimeSeconds }) => ({ mtimeSeconds: mtimeSeconds + 1 }))],
    ["a mode", at(9, ({ mode }) => ({ mode: mode ^ 0o4000 }))],
    ["a digest", at(9, () => ({ headersDigest: 5n }))],
    ["an entry less", (all) => all.filter(({ number }) => number !== 7)],
    ["the last entry less", (all) => all.slice(0, -1)],
    ["an entry more", (all) => [...all, addedTo(must(all.at(-1), "an entry"))]],
  ];
  for (const [what, entries] of entryLies) {
    test(what, async () => {
      const { stored, bytes } = made.gzip;
      const result = await verify(stored, await rewriteIndex(bytes, { entries }), sumOf(stored));
      expect(result).toMatchObject({ ok: true, damagedCount: 0, index: { state: "damaged" } });
    });
  }
  for (const mode of MODES) {
    test(`other checksums of a chunk (${mode})`, async () => {
      const { stored, bytes } = made[mode];
      const chunks = (all: readonly TableChunk[]): readonly TableChunk[] =>
        all.map((chunk) => (chunk.number === 1 ? { ...chunk, crc: 1, digest: new Uint8Array(32) } : chunk));
      const index = await rewriteIndex(bytes, { chunks });
      const known = await verify(stored, index, sumOf(stored));
      expect(known).toMatchObject({ ok: true, damagedCount: 0, index: { state: "damaged" } });
      // Without the archive's sum only gzip has another witness.
      const unknown = await verify(stored, index);
      expect([unknown.ok, unknown.index.state]).toEqual(mode === "gzip" ? [true, "damaged"] : [false, "agrees"]);
    });
  }
  test("a block that cannot be read, another archive's, none at all", async () => {
    const { stored, bytes } = made.gzip;
    for (const index of [spoil(bytes, 400, 20), made.zst.bytes, bytes.subarray(5)]) {
      const result = await verify(stored, index, sumOf(stored));
      expect(result).toMatchObject({ ok: true, damagedCount: 0, index: { state: "damaged" } });
    }
  });
});

/** An entry behind the last one. */
function addedTo(last: IndexEntry): IndexEntry {
  const headersAt = last.dataAt + Math.ceil(last.storedBytes / 512) * 512;
  const path = Buffer.concat([last.path, Buffer.from("z")]);
  return { ...last, number: last.number + 1, path, headersAt, dataAt: headersAt + 512, size: 0, storedBytes: 0 };
}
