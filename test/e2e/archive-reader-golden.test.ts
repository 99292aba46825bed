/**
 * Archives made by other programs at the time of the test, in all their formats, as the tar reader sees them: compared with the files
 * they were made of, as stat and readlink tell them.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import fc from "fast-check";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { MiB } from "#base/units.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { type Collected, collectTar, describeEntry } from "#test/support/tar-collect.ts";
import { SMALL_HOLES } from "#test/support/torture-sparse.ts";
import { makeWholeTree } from "#test/support/torture-tree.ts";
import { isRoot, makeTempDir, removeTree, run } from "#test/support/tree.ts";

setDefaultTimeout(180_000);

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
/** Uneven, so that every border is crossed somewhere. */
const PIECES = [100_003, 511, 1, 7];

let dir = "";
let tree = "";
let attributes = false;

beforeAll(() => {
  dir = makeTempDir();
  tree = path.join(dir, "tree");
  const { noAttributes } = makeWholeTree(tree);
  attributes = noAttributes === undefined;
  if (noAttributes !== undefined) console.log(`without extended attributes: ${noAttributes}`);
}, 180_000);
afterAll(() => removeTree(dir));

/** What an archive in the format can say exactly. */
interface Exact {
  readonly nanoseconds: boolean;
  readonly holes: boolean;
  readonly attributes: boolean;
}

function expectTree(entries: readonly Collected[], top: string, exact: Exact): void {
  expect(entries.length).toBeGreaterThan(0);
  const paths = new Set<string>();
  for (const one of entries) {
    const { entry } = one;
    const name = latin1(entry.path).replace(/\/+$/, "");
    paths.add(name);
    const file = Buffer.from(path.join(path.dirname(top), name), "latin1");
    expectEntry(one, file, exact);
  }
  const found = run("find", [path.basename(top), "!", "-type", "s", "-printf", "%p\\0"], undefined, path.dirname(top));
  expect([...paths].sort()).toEqual(found.toString("latin1").split("\0").slice(0, -1).sort());
}

const TYPES: Readonly<Record<string, (stat: fs.BigIntStats) => boolean>> = {
  file: (stat) => stat.isFile(),
  directory: (stat) => stat.isDirectory(),
  symlink: (stat) => stat.isSymbolicLink(),
  fifo: (stat) => stat.isFIFO(),
  char: (stat) => stat.isCharacterDevice(),
  block: (stat) => stat.isBlockDevice(),
  hardlink: (stat) => stat.nlink > 1n,
};

function expectEntry({ entry, content }: Collected, file: Buffer, exact: Exact): void {
  const stat = fs.lstatSync(file, { bigint: true });
  const where = latin1(entry.path);
  expect([where, entry.type, TYPES[entry.type]?.(stat)]).toEqual([where, entry.type, true]);
  if (entry.type === "hardlink") {
    const target = Buffer.from(path.join(path.dirname(tree), latin1(entry.linkTarget ?? Buffer.alloc(0))), "latin1");
    expect([where, fs.lstatSync(target, { bigint: true }).ino]).toEqual([where, stat.ino]);
    return;
  }
  if (entry.type !== "symlink") expect([where, entry.mode]).toEqual([where, Number(stat.mode & 0o7777n)]);
  expect([where, entry.uid, entry.gid]).toEqual([where, Number(stat.uid), Number(stat.gid)]);
  expect([where, timeOf(entry, exact)]).toEqual([where, exact.nanoseconds ? stat.mtimeNs : floorSecond(stat.mtimeNs)]);
  if (entry.type === "symlink")
    expect(latin1(entry.linkTarget ?? Buffer.alloc(0))).toBe(fs.readlinkSync(file, "latin1"));
  if (entry.type === "file") expectContent(entry, content, file, stat, exact);
  if (entry.type === "char" || entry.type === "block") {
    expect([where, BigInt(entry.deviceMajor)]).toEqual([where, (stat.rdev >> 8n) & 0xfffn]);
  }
}

function expectContent(entry: ReadEntry, content: Uint8Array, file: Buffer, stat: fs.BigIntStats, exact: Exact): void {
  expect(entry.size).toBe(Number(stat.size));
  const whole = fs.readFileSync(file).subarray(0, content.length);
  expect([latin1(entry.path), Buffer.compare(content, whole)]).toEqual([latin1(entry.path), 0]);
  // Holes that small we store as zeros.
  if (latin1(entry.path).endsWith(SMALL_HOLES)) return;
  if (exact.holes && stat.size > 2 * MiB && stat.blocks < 100n) expect(entry.storedBytes).toBeLessThan(MiB);
}

const SECOND = 1_000_000_000n;
const floorSecond = (ns: bigint): bigint => ((ns - (((ns % SECOND) + SECOND) % SECOND)) / SECOND) * SECOND;
const timeOf = (entry: ReadEntry, exact: Exact): bigint =>
  BigInt(entry.mtimeSeconds) * SECOND + (exact.nanoseconds ? BigInt(entry.mtimeNanos) : 0n);

function makeTar(program: readonly string[], part: string): Uint8Array {
  const file = path.join(dir, "golden.tar");
  const [command = "", ...args] = program;
  const full = path.join(tree, part);
  run(command, [...args, "-cf", file, "-C", path.dirname(full), path.basename(full)]);
  const tar = fs.readFileSync(file);
  fs.rmSync(file);
  return tar;
}

/** The parts of the tree that a format can hold. */
const PLAIN = ["sizes", "borders"];
const EVERYTHING = [""];

const WHOLE: Exact = { nanoseconds: true, holes: true, attributes: true };
const SECONDS: Exact = { nanoseconds: false, holes: false, attributes: false };
const GNU = ["tar", "--warning=no-file-ignored"];
const XATTRS = ["--xattrs", "--acls"];

const CASES: readonly (readonly [string, readonly string[], readonly string[], Exact])[] = [
  ["GNU tar's gnu", [...GNU, "--format=gnu"], EVERYTHING, SECONDS],
  ["GNU tar's gnu with holes", [...GNU, "--format=gnu", "--sparse"], EVERYTHING, { ...SECONDS, holes: true }],
  ["GNU tar's oldgnu with holes", [...GNU, "--format=oldgnu", "--sparse"], EVERYTHING, { ...SECONDS, holes: true }],
  ["GNU tar's pax", [...GNU, "--format=pax"], EVERYTHING, { ...WHOLE, holes: false, attributes: false }],
  ...["0.0", "0.1", "1.0"].map(
    (version) =>
      [
        `GNU tar's pax with attributes and sparse files of version ${version}`,
        [...GNU, "--format=pax", ...XATTRS, "--sparse", `--sparse-version=${version}`],
        EVERYTHING,
        WHOLE,
      ] as const,
  ),
  ["GNU tar's ustar", [...GNU, "--format=ustar"], PLAIN, SECONDS],
  ["GNU tar's v7", [...GNU, "--format=v7"], PLAIN, SECONDS],
];

describe("the tar reader on an archive in", () => {
  test.each(CASES)("%s format finds the tree as it is", (_, program, parts, exact) => {
    for (const part of parts) {
      const tar = makeTar(program, part);
      const { entries } = collectTar(tar, { pieces: PIECES });
      const top = path.join(tree, part).replace(/\/$/, "");
      // Hard links name their target from where the archive begins.
      expectTree(part === "" ? entries : entries.filter(({ entry }) => entry.type !== "hardlink"), top, exact);
      if (exact.attributes && attributes) expectAttributes(entries);
    }
  });
  test.skipIf(Bun.which("bsdtar") === null)("bsdtar's pax format finds the tree as it is", () => {
    for (const part of ["links", "sparse", "special", "borders", "far times"]) {
      const { entries } = collectTar(makeTar(["bsdtar", "--format=pax"], part), { pieces: PIECES });
      // It cuts long names that are not UTF-8.
      const files = entries.filter(({ entry }) => entry.type !== "hardlink" && !/[\x80-\xff]/.test(latin1(entry.path)));
      for (const one of files) {
        const file = Buffer.from(path.join(tree, latin1(one.entry.path).replace(/\/$/, "")), "latin1");
        expectEntry(one, file, WHOLE);
      }
    }
  });
  test.skipIf(Bun.which("python3") === null)("each of Python's formats finds the same entries", () => {
    const listings = ["USTAR", "GNU", "PAX"].map((format) => {
      const file = path.join(dir, "python.tar");
      const script = `import sys, tarfile; t = tarfile.open(sys.argv[1], 'w', format=tarfile.${format}_FORMAT); t.add(sys.argv[2], 'sizes'); t.close()`;
      run("python3", ["-c", script, file, path.join(tree, "sizes")]);
      const { entries } = collectTar(fs.readFileSync(file), { pieces: PIECES });
      return entries.map(
        ({ entry, content }) => `${entry.type} ${latin1(entry.path)} ${entry.mode} ${Bun.hash(content)}`,
      );
    });
    expect(listings[0]?.length).toBeGreaterThan(10);
    expect(listings[1]).toEqual(listings[0] ?? []);
    expect(listings[2]).toEqual(listings[0] ?? []);
  });
});

describe("damage to an archive of GNU tar's", () => {
  test.each([
    ["oldgnu", ["--format=oldgnu"]],
    ["pax 0.0", ["--format=pax", "--sparse-version=0.0"]],
    ["pax 0.1", ["--format=pax", "--sparse-version=0.1"]],
    ["pax 1.0", ["--format=pax", "--sparse-version=1.0"]],
  ])("with sparse files in %s is told, and never stops a reader that goes on", (_, format) => {
    const tar = makeTar([...GNU, ...format, "--sparse"], "sparse");
    // The maps are in the first blocks; most of the rest is data.
    const change = fc.tuple(fc.nat(20_000), fc.nat(255));
    let damaged = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = new Uint8Array(tar);
        for (const [at, value] of changes) changed[at] = value;
        const { damages } = collectTar(changed, { lenient: true, contentBytesMax: 1000 });
        if (damages.length > 0) damaged += 1;
        for (const text of damages) expect(text).toStartWith("E_ARCHIVE_DAMAGED: ");
      }),
      { numRuns: 100 },
    );
    expect(damaged).toBeGreaterThan(5);
  });
});

/** Attributes and lists of an archive by GNU tar, against those of an archive by our own writer, which getfattr has judged. */
function expectAttributes(entries: readonly Collected[]): void {
  const own = collectTar(readFiles([path.join(tree, "attributes")]).tar).entries;
  const said = (all: readonly Collected[]): string[] =>
    all
      .filter(({ entry }) => /(^|\/)attributes\//.test(latin1(entry.path)) && entry.type !== "hardlink")
      .map(({ entry }) => {
        const name = latin1(entry.path).replace(/^.*?attributes\//, "");
        const xattrs = entry.xattrs
          .map((one) => `${latin1(one.name)}=${latin1(one.value)}`)
          .filter(isKept)
          .sort();
        return JSON.stringify([name, xattrs, entry.aclAccess?.map(named), entry.aclDefault?.map(named)]);
      })
      .sort();
  expect(said(entries)).toEqual(said(own));
}

/** GNU tar leaves out what it takes for its own business. */
const isKept = (xattr: string): boolean => !xattr.startsWith("security.selinux=");

/** The owner root has a name in GNU tar's text, the others have none. */
const named = (entry: {
  readonly tag: string;
  readonly permissions: number;
  readonly id: number | string | undefined;
}): string => `${entry.tag} ${entry.permissions} ${entry.id === "root" ? 0 : (entry.id ?? "")}`;

describe("the tar reader on our own archive", () => {
  test("finds the tree as it is, in whatever pieces it comes", () => {
    const { tar } = readFiles([tree]);
    const whole = collectTar(tar);
    for (const one of whole.entries) {
      const file = Buffer.from(`/${latin1(one.entry.path).replace(/\/$/, "")}`, "latin1");
      const stat = fs.lstatSync(file, { bigint: true });
      if (one.entry.type === "hardlink") continue;
      // Before 1970 we keep whole seconds.
      expectEntry(one, file, stat.mtimeNs < 0n ? { ...WHOLE, nanoseconds: false } : WHOLE);
    }
    expect(collectTar(tar, { pieces: PIECES }).entries.map(describeEntry)).toEqual(whole.entries.map(describeEntry));
    expect(whole.entries.some(({ entry }) => entry.type === "block")).toBe(isRoot);
  });
});
