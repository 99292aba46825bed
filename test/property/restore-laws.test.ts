import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as fs from "node:fs";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import { safePath, stripComponents } from "#restore/safe-path.ts";
import { Selection } from "#restore/selection.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { describeTree, guarded, restoreTar } from "#test/support/restore-kit.ts";
import { MemoryAccess, restoreJob, runInline, sealArchive } from "#test/support/restore-run.ts";
import { makeTempDir, memoryDir, patternBytes, removeTree } from "#test/support/tree.ts";

const SLOW_MS = 120_000;

const bytesOf = (latin1: string): Buffer => Buffer.from(latin1, "latin1");
const component = fc.oneof(
  fc.constantFrom("a", "b", "..", ".", "", "c\xff", "\x1b[31m", "d".repeat(101), "e".repeat(255)),
  fc.string({ unit: fc.constantFrom("x", "y", "\xe9", " ", "."), minLength: 1, maxLength: 6 }),
);

interface Made {
  readonly path: readonly string[];
  readonly type: "file" | "directory" | "symlink" | "hardlink";
  readonly size: number;
  readonly mode: number;
  readonly time: number;
}

const plainName = component.filter((name) => name !== "" && name !== "." && name !== "..");
const made: fc.Arbitrary<Made> = fc.record({
  path: fc.array(plainName, { minLength: 1, maxLength: 4 }),
  type: fc.constantFrom("file", "directory", "symlink", "hardlink"),
  size: fc.oneof(fc.nat(2000), fc.constantFrom(0, 512, 33 * KiB, 64 * KiB, 200_000)),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  time: fc.integer({ min: 0, max: 4_000_000_000 }),
});

/** Makes what can be made of it: names that collide are left out. */
function makeTree(root: string, entries: readonly Made[]): void {
  fs.mkdirSync(root);
  let first: Buffer | undefined;
  for (const [i, { path, type, size, time }] of entries.entries()) {
    const at = bytesOf([root, ...path].join("/"));
    try {
      fs.mkdirSync(bytesOf([root, ...path.slice(0, -1)].join("/")), { recursive: true });
      if (type === "directory") fs.mkdirSync(at);
      else if (type === "symlink") fs.symlinkSync(bytesOf(path.join("/") || "x"), at);
      else if (type === "hardlink" && first !== undefined) fs.linkSync(first, at);
      else {
        fs.writeFileSync(at, patternBytes(size, i + 1), { flag: "wx" });
        first ??= at;
      }
      fs.lutimesSync(at, time, time);
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
  for (const { path, type, mode } of entries) {
    // What its owner may not read is not in the archive of an ordinary user.
    if (type === "file") {
      try {
        const stat = fs.lstatSync(bytesOf([root, ...path].join("/")));
        if (stat.isFile()) fs.chmodSync(bytesOf([root, ...path].join("/")), mode | 0o400);
      } catch (error) {
        if (!(error instanceof Error && "code" in error)) throw error;
      }
    }
  }
}

describe("names of an archive", () => {
  test("never lead up, and are the same when they are made safe again", () => {
    fc.assert(
      fc.property(fc.array(component, { maxLength: 6 }), fc.boolean(), (parts, absolute) => {
        const name = bytesOf(`${absolute ? "/" : ""}${parts.join("/")}`);
        const safe = safePath(name);
        if (parts.includes("..")) {
          expect(safe).toBeUndefined();
          return;
        }
        const text = Buffer.from(safe ?? []).toString("latin1");
        expect(text).toBe(parts.filter((part) => part !== "" && part !== ".").join("/"));
        expect(Buffer.from(safePath(safe ?? new Uint8Array(0)) ?? []).toString("latin1")).toBe(text);
      }),
    );
  });

  test("are selected by what is at or above them, component by component", () => {
    const parts = fc.array(fc.constantFrom("a", "b", "ab"), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (wanted, path) => {
        const selection = new Selection([bytesOf(wanted.join("/"))]);
        const expected = wanted.length <= path.length && wanted.every((part, i) => part === path[i]);
        expect(selection.has(bytesOf(path.join("/")))).toBe(expected);
        expect(selection.missing().length).toBe(expected ? 0 : 1);
      }),
    );
  });

  test("lose as many components as asked", () => {
    fc.assert(
      fc.property(fc.array(plainName, { minLength: 1, maxLength: 5 }), fc.nat(6), (parts, count) => {
        const rest = stripComponents(bytesOf(parts.join("/")), count);
        const expected = parts.slice(count).join("/");
        expect(rest === undefined ? "" : Buffer.from(rest).toString("latin1")).toBe(expected);
      }),
    );
  });
});

describe("any tree", () => {
  test(
    "is the same after backup and restore, through gzip and zstd",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(made, { maxLength: 15 }),
          fc.constantFrom("gzip" as const, "zst" as const),
          async (entries, mode) => {
            const base = makeTempDir(memoryDir());
            try {
              makeTree(`${base}/source`, entries);
              fs.mkdirSync(`${base}/target`);
              const { chunks } = readFiles([`${base}/source`]);
              const { archive } = sealArchive(chunks, mode);
              const { report } = await runInline(new MemoryAccess(archive), restoreJob(`${base}/target`));
              expect(report.problems).toEqual([]);
              expect(report.damages).toEqual([]);
              expect(describeTree(`${base}/target${base}/source`)).toBe(describeTree(`${base}/source`));
            } finally {
              removeTree(base);
            }
          },
        ),
        { numRuns: 25 },
      );
    },
    SLOW_MS,
  );
});

describe("a spoilt archive", () => {
  test(
    "restores nothing outside the target, and ends with a report or a Failure",
    async () => {
      const base = makeTempDir(memoryDir());
      try {
        const tree = `${base}/tree`;
        makeTree(tree, [
          { path: ["a"], type: "file", size: 100_000, mode: 0o644, time: 1 },
          { path: ["d", "l"], type: "symlink", size: 0, mode: 0, time: 1 },
          { path: ["d", "h"], type: "hardlink", size: 0, mode: 0, time: 1 },
          { path: ["d", "e".repeat(200)], type: "file", size: 3000, mode: 0o4755, time: 1 },
        ]);
        const { tar, chunks } = readFiles([tree]);
        const { target, check } = guarded(base);
        const { archive } = sealArchive(chunks, "gzip");
        const spot = fc.tuple(fc.nat(), fc.nat(255));
        await fc.assert(
          fc.asyncProperty(fc.array(spot, { minLength: 1, maxLength: 8 }), fc.boolean(), async (spots, inTar) => {
            const bytes = new Uint8Array(inTar ? tar : archive);
            for (const [at, value] of spots) bytes[at % bytes.length] = value;
            if (inTar) {
              restoreTar(bytes, target);
            } else {
              try {
                await runInline(new MemoryAccess(bytes), restoreJob(target));
              } catch (error) {
                if (!(error instanceof Failure) || error.code === "E_INTERNAL") throw error;
              }
            }
            check();
          }),
          { numRuns: 100 },
        );
      } finally {
        removeTree(base);
      }
    },
    SLOW_MS,
  );
});
