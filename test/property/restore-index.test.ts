/**
 * Laws of restoring by an index that was changed at random, with all its checksums right: whatever it says, a whole archive comes back as it
 * was, and of some paths what comes is right; what does not come is named. Nothing else is written.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as fs from "node:fs";
import path from "node:path";
import { BLOCK } from "#archive/index-format.ts";
import { Failure } from "#base/errors.ts";
import type { TreeIndex } from "#test/support/index-kit.ts";
import { anyMutation, mutate } from "#test/support/mutations.ts";
import { archiveTree, rewriteIndex, runIndexed } from "#test/support/restore-index-kit.ts";
import { describeTree, guarded } from "#test/support/restore-kit.ts";
import { restoreJob } from "#test/support/restore-run.ts";
import { makeTempDir, memoryDir, patternBytes, removeTree } from "#test/support/tree.ts";

const SLOW_MS = 300_000;

let dir: string;
let source: string;
let made: Readonly<Record<"gzip" | "zst", TreeIndex>>;
beforeAll(() => {
  dir = makeTempDir(memoryDir());
  source = path.join(dir, "source");
  for (const name of ["a", "b", "c"]) {
    fs.mkdirSync(path.join(source, name), { recursive: true });
    for (let i = 0; i < 6; i += 1) fs.writeFileSync(path.join(source, name, `f${i}`), patternBytes(9000, i + 1));
    fs.writeFileSync(path.join(source, name, "large"), patternBytes(150_000, 77));
  }
  fs.linkSync(path.join(source, "a/large"), path.join(source, "c/link"));
  made = { gzip: archiveTree(source, "gzip"), zst: archiveTree(source, "zst") };
});
afterAll(() => removeTree(dir));

const inArchive = (name: string): string => path.join(source, name).slice(1);

/** Bytes of raw blocks, anywhere but in their first byte, which says what they are. */
const spots = fc.array(
  fc.record({
    block: fc.constantFrom(
      BLOCK.entries,
      BLOCK.entries,
      BLOCK.entries,
      BLOCK.chunks,
      BLOCK.chunks,
      BLOCK.page,
      BLOCK.root,
    ),
    at: fc.integer({ min: 1, max: 0xffff_ffff }),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff)),
  }),
  { minLength: 1, maxLength: 4 },
);

type Spots = typeof spots extends fc.Arbitrary<infer T> ? T : never;

async function lyingIndex({ bytes }: TreeIndex, changes: Spots): Promise<Buffer> {
  return await rewriteIndex(bytes, {
    raw: (raw) => {
      const changed = new Uint8Array(raw);
      for (const { block, at, value } of changes) {
        if (block === raw[0]) changed[1 + (at % (changed.length - 1))] = value;
      }
      return changed;
    },
  });
}

/** Every file that is there is that of the source; gives their names below the source, `.damaged` ones apart. */
function rightFiles(target: string): { readonly whole: readonly string[]; readonly damaged: readonly string[] } {
  const whole: string[] = [];
  const damaged: string[] = [];
  for (const name of fs.readdirSync(target, { recursive: true }).map(String)) {
    if (!fs.lstatSync(path.join(target, name)).isFile()) continue;
    if (name.endsWith(".damaged")) damaged.push(name);
    else {
      expect([name, fs.readFileSync(path.join(target, name)).equals(fs.readFileSync(path.join("/", name)))]).toEqual([
        name,
        true,
      ]);
      whole.push(name);
    }
  }
  return { whole, damaged };
}

async function withTarget(work: (target: string) => Promise<void>): Promise<void> {
  const base = makeTempDir(memoryDir());
  try {
    const { target, check } = guarded(base);
    await work(target);
    check();
  } finally {
    removeTree(base);
  }
}

function isIn(roots: readonly string[], name: string): boolean {
  return roots.some((root) => name === root || name.startsWith(`${root}/`));
}

const modes = fc.constantFrom("gzip" as const, "zst" as const);

describe("an index that lies", () => {
  test(
    "does not keep a whole archive from coming back as it was",
    async () => {
      await fc.assert(
        fc.asyncProperty(modes, spots, async (mode, changes) => {
          const { stored } = made[mode];
          const index = await lyingIndex(made[mode], changes);
          await withTarget(async (target) => {
            const { report } = await runIndexed(stored, index, restoreJob(target));
            const isDamaged = report.damageCount > 0;
            // About a zstd frame, which may have no checksum of its own, the index is believed; and an archive may be called cut.
            if (mode === "zst" || report.damages.every(({ fault }) => fault === "missing")) rightFiles(target);
            else expect(report.damages).toEqual([]);
            if (!isDamaged) expect(describeTree(path.join(target, source))).toBe(describeTree(source));
          });
        }),
        { numRuns: 40 },
      );
    },
    SLOW_MS,
  );

  test(
    "brings of some paths what is right, and names what it does not bring",
    async () => {
      const selections = fc.constantFrom<readonly string[]>(
        ["b"],
        ["b", "c/link"],
        ["a/f3"],
        ["c"],
        ["nothing", "a/large"],
      );
      await fc.assert(
        fc.asyncProperty(modes, spots, selections, async (mode, changes, selected) => {
          const { stored } = made[mode];
          const index = await lyingIndex(made[mode], changes);
          const paths = selected.map(inArchive);
          const job = { paths: paths.map((one) => Buffer.from(one)) };
          await withTarget(async (target) => {
            const { report } = await runIndexed(stored, index, restoreJob(target, job), paths);
            const { whole } = rightFiles(target);
            expect(whole.filter((name) => !isIn(paths, name))).toEqual([]);
            if (report.damageCount > 0) return;
            // A name that was changed consistently hides what has it: then it is named as missing, and no more.
            const missing = report.problems
              .filter(({ reason }) => reason === "not-in-archive")
              .map((one) => String(Buffer.from(one.path)));
            if (selected.includes("nothing")) expect(missing).toContain(inArchive("nothing"));
            expect(missing.filter((name) => !paths.includes(name))).toEqual([]);
            const there = fs.readdirSync(source, { recursive: true }).map((name) => inArchive(String(name)));
            const brought = there.filter((name) => isIn(paths, name) && !isIn(missing, name));
            const files = brought.filter((name) => fs.statSync(`/${name}`).isFile());
            expect([...whole].sort()).toEqual(files.sort());
          });
        }),
        { numRuns: 40 },
      );
    },
    SLOW_MS,
  );

  test(
    "and one of which any bytes were changed, are refused or right",
    async () => {
      await fc.assert(
        fc.asyncProperty(modes, fc.array(anyMutation, { minLength: 1, maxLength: 3 }), async (mode, mutations) => {
          const { stored, bytes } = made[mode];
          const index = mutate(bytes, mutations, made[mode === "gzip" ? "zst" : "gzip"].bytes);
          await withTarget(async (target) => {
            const paths = [inArchive("b"), inArchive("c/link")];
            const job = { paths: paths.map((one) => Buffer.from(one)) };
            const { report, fault } = await runIndexed(stored, index, restoreJob(target, job), paths);
            expect([report.damages, report.problems]).toEqual([[], []]);
            expect(rightFiles(target).whole.length).toBe(8);
            if (fault !== undefined) expect(new Failure("E_INDEX_DAMAGED", fault).code).toBe("E_INDEX_DAMAGED");
          });
        }),
        { numRuns: 40 },
      );
    },
    SLOW_MS,
  );
});
