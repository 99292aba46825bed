/** Restoring by an index: all of an archive, some paths of it, with damage in it; only what is needed is read. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { must } from "#base/assert.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { planForFile } from "#restore/index-plan.ts";
import { collect, openIndex } from "#test/support/index-kit.ts";
import { archiveTree, rebuiltIndex, runIndexed } from "#test/support/restore-index-kit.ts";
import { describeTree } from "#test/support/restore-kit.ts";
import { MemoryAccess, restoreJob, sealArchive } from "#test/support/restore-run.ts";
import { makeTempDir, makeTortureTree, memoryDir, patternBytes, removeTree, run } from "#test/support/tree.ts";

const SLOW_MS = 60_000;
const MODES: readonly CompressionMode[] = ["gzip", "zst"];

let dir: string;
let source: string;
let target: string;
beforeEach(() => {
  dir = makeTempDir(memoryDir());
  source = path.join(dir, "source");
  target = path.join(dir, "target");
  fs.mkdirSync(source);
  fs.mkdirSync(target);
});
afterEach(() => removeTree(dir));

const restored = (name = ""): string => path.join(target, source, name);
const inArchive = (name: string): string => path.join(source, name).slice(1);
const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));

/** Forty small files in four directories, a large one in each, and a link into another. */
function makeTree(): void {
  for (const name of ["a", "b", "c", "d"]) {
    const directory = path.join(source, name);
    fs.mkdirSync(directory);
    for (let i = 0; i < 10; i += 1) fs.writeFileSync(path.join(directory, `f${i}`), random(9000));
    fs.writeFileSync(path.join(directory, "large"), Buffer.concat([random(60_000), patternBytes(150_000)]));
  }
  fs.linkSync(path.join(source, "a/large"), path.join(source, "c/link"));
}

/** Whether the restored file, or directory, is that of the source. */
function isAsItWas(name: string): boolean {
  const stat = fs.statSync(path.join(target, name), { throwIfNoEntry: false });
  if (stat?.isFile() !== true) return stat?.isDirectory() === true;
  return fs.readFileSync(path.join(target, name)).equals(fs.readFileSync(`/${name}`));
}

const job = (paths: readonly string[]): ReturnType<typeof restoreJob> =>
  restoreJob(target, { paths: paths.map((one) => Buffer.from(one)) });

describe("all of an archive", () => {
  for (const mode of MODES) {
    test(
      `is restored as it was (${mode})`,
      async () => {
        makeTortureTree(source);
        const { stored, bytes } = archiveTree(source, mode);
        const { report, fault, pieces } = await runIndexed(stored, bytes, restoreJob(target));
        expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
        expect(pieces).toBe((await openIndex(bytes)).totals.chunks);
        expect(describeTree(restored())).toBe(describeTree(source));
      },
      SLOW_MS,
    );
  }
});

describe("some paths", () => {
  for (const mode of MODES) {
    test(`are restored with all below them, from the chunks that hold them (${mode})`, async () => {
      makeTree();
      const { stored, bytes } = archiveTree(source, mode);
      const paths = [inArchive("b"), `/${inArchive("d/f3")}/`, inArchive("d/large")];
      const { report, fault, plan, readBytes } = await runIndexed(stored, bytes, job(paths), paths);
      expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
      expect(describeTree(restored("b"))).toBe(describeTree(path.join(source, "b")));
      expect(fs.readdirSync(restored("d")).sort()).toEqual(["f3", "large"]);
      expect(fs.readdirSync(restored()).sort()).toEqual(["b", "d"]);
      const needed = must(plan.plan.source.bytesTotal, "a total");
      expect(needed).toBeLessThan(0.7 * stored.length);
      // The chunks, and once more those that were looked at before.
      expect(readBytes).toBeLessThan(needed + 4 * 70_000);
    });
  }

  test("that is a link to a file elsewhere brings its content", async () => {
    makeTree();
    const { stored, bytes } = archiveTree(source);
    const paths = [inArchive("c/link")];
    const { report, fault, readBytes } = await runIndexed(stored, bytes, job(paths), paths);
    expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
    expect(fs.readFileSync(restored("c/link")).equals(fs.readFileSync(path.join(source, "a/large")))).toBe(true);
    expect(readBytes).toBeLessThan(0.7 * stored.length);
  });

  test("that the index does not have are named, and only what lies around their place is looked at", async () => {
    makeTree();
    const { stored, bytes } = archiveTree(source);
    const paths = [inArchive("nothing")];
    const { report, fault, readBytes } = await runIndexed(stored, bytes, job(paths), paths);
    expect(fault).toBeUndefined();
    expect(report.problems.map(({ reason }) => reason)).toEqual(["not-in-archive"]);
    expect(readBytes).toBeLessThan(0.1 * stored.length);
  });

  test("that mean everything are everything", async () => {
    makeTree();
    const { stored, bytes } = archiveTree(source);
    const { report, fault } = await runIndexed(stored, bytes, job(["/"]), ["/"]);
    expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
    expect(describeTree(restored())).toBe(describeTree(source));
  });

  test("with headers longer than a chunk are restored", async () => {
    makeTree();
    let deep = source;
    for (let i = 0; i < 12; i += 1) deep = path.join(deep, "n".repeat(250));
    fs.mkdirSync(deep, { recursive: true });
    fs.writeFileSync(path.join(deep, "end"), random(100_000));
    const { stored, bytes } = archiveTree(source);
    const name = path.join(deep, "end").slice(1);
    const { report, fault } = await runIndexed(stored, bytes, job([name]), [name]);
    expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
    expect(fs.readFileSync(path.join(target, name)).equals(fs.readFileSync(path.join(deep, "end")))).toBe(true);
  });
});

describe("one file's content", () => {
  test("is put out from its own chunks, a link's from where it is", async () => {
    makeTree();
    const { stored, bytes } = archiveTree(source);
    for (const [name, from] of [
      ["d/f7", "d/f7"],
      ["c/link", "a/large"],
    ] as const) {
      const output = path.join(dir, "output");
      const fd = fs.openSync(output, "w");
      const paths = [inArchive(name)];
      const cat = { kind: "cat", path: Buffer.from(inArchive(name)), fd } as const;
      const { report, fault, readBytes } = await runIndexed(stored, bytes, cat, paths, (opened, [one]) =>
        planForFile(opened, must(one, "a path")),
      );
      fs.closeSync(fd);
      expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
      expect(fs.readFileSync(output).equals(fs.readFileSync(path.join(source, from)))).toBe(true);
      expect(readBytes).toBeLessThan(0.5 * stored.length);
    }
  });
});

describe("a damaged chunk", () => {
  for (const mode of MODES) {
    for (const kind of ["entries", "headers", "data"] as const) {
      test(`of ${kind} is passed over, named with its files, and all the rest is restored (${mode})`, async () => {
        makeTree();
        const { stored, bytes } = archiveTree(source, mode);
        const index = await openIndex(bytes);
        const chunks = (await collect(index.chunks())).filter((chunk) => chunk.kind === kind);
        const chunk = must(chunks.at(-2), "a chunk of that kind");
        const spoilt = Buffer.from(stored);
        spoilt.fill(0x55, chunk.storedOffset + 12, chunk.storedOffset + chunk.storedLength - 8);
        const { report, fault } = await runIndexed(spoilt, bytes, restoreJob(target));
        expect(fault).toBeUndefined();
        const held = (await collect(index.entries())).filter(
          (entry) =>
            entry.headersAt < chunk.rawOffset + chunk.rawLength && entry.dataAt + entry.storedBytes > chunk.rawOffset,
        );
        const lost = new Set(held.map((entry) => Buffer.from(entry.path).toString()));
        expect(report.damages.map((damage) => damage.chunk)).toEqual([chunk.number]);
        const all = (await collect(index.entries())).map((entry) => Buffer.from(entry.path).toString());
        const wrong = all.filter((name) => !lost.has(name) && !isAsItWas(name));
        expect(wrong).toEqual([]);
        // No data of a file whose headers are gone was taken for files.
        const named = new Set(all.flatMap((name) => [name, `${name}.damaged`]));
        const found = fs.readdirSync(restored(), { recursive: true }).map((name) => inArchive(String(name)));
        expect(found.filter((name) => !named.has(name))).toEqual([]);
      });
    }
  }
  test("that holds what was asked for is the reason why it is not there", async () => {
    makeTree();
    const { stored, bytes } = archiveTree(source);
    const index = await openIndex(bytes);
    const chunk = must(
      (await collect(index.chunks())).find(({ kind }) => kind === "entries"),
      "a chunk",
    );
    const access = new MemoryAccess(stored);
    access.badOffsets.add(chunk.storedOffset + 3);
    const paths = [inArchive("a/f1")];
    const { report, fault } = await runIndexed(access, bytes, job(paths), paths);
    expect(fault).toBeUndefined();
    expect(report.damages.map((damage) => damage.fault)).toEqual(["unreadable"]);
    expect(report.problemCount).toBe(1);
  });
});

describe("an archive of another program, with the index made from it,", () => {
  /** In directory order, with `b/f1` once more at the end, in another form. */
  const makeTar = (): Buffer => {
    makeTree();
    const file = path.join(dir, "foreign.tar");
    run("tar", ["--format=posix", "-cf", file, "-C", "/", "--sort=inode", source.slice(1)]);
    fs.writeFileSync(path.join(source, "b/f1"), "the last one counts");
    run("tar", ["--format=posix", "-rf", file, "-C", "/", inArchive("b/f1")]);
    return fs.readFileSync(file);
  };
  /** Cut anywhere, so that entries begin in the middle of chunks and headers lie in two of them. */
  const cut = (tar: Buffer, length: number): readonly { readonly bytes: Uint8Array }[] =>
    Array.from({ length: Math.ceil(tar.length / length) }, (_, i) => ({
      bytes: tar.subarray(i * length, (i + 1) * length),
    }));
  const whole = (tar: Buffer): Uint8Array => gzipSync(tar);

  for (const mode of MODES) {
    test(`is entered in the middle of its chunks, and the last entry of a path counts (${mode})`, async () => {
      const { archive } = sealArchive(cut(makeTar(), 20_100), mode);
      const index = await rebuiltIndex(archive);
      expect((await openIndex(index)).totals.sorted).toBe(false);
      const paths = [inArchive("b"), inArchive("c/link")];
      const { report, fault, readBytes, plan } = await runIndexed(archive, index, job(paths), paths);
      expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
      expect(fs.readdirSync(restored()).sort()).toEqual(["b", "c"]);
      expect(describeTree(restored("b"))).toBe(describeTree(path.join(source, "b")));
      expect(fs.readFileSync(restored("c/link")).equals(fs.readFileSync(path.join(source, "a/large")))).toBe(true);
      expect(plan.plan.partial).toBe(true);
      expect(readBytes).toBeLessThan(2 * archive.length);
      const output = path.join(dir, "output");
      const fd = fs.openSync(output, "w");
      const cat = { kind: "cat", path: Buffer.from(inArchive("b/f1")), fd } as const;
      await runIndexed(archive, index, cat, [inArchive("b/f1")], (opened, [one]) =>
        planForFile(opened, must(one, "a path")),
      );
      fs.closeSync(fd);
      expect(fs.readFileSync(output, "utf8")).toBe("the last one counts");
    });
  }
  test("as one long member is read from its beginning, and nothing is said about it", async () => {
    const archive = whole(makeTar());
    const index = await rebuiltIndex(archive);
    const paths = [inArchive("b")];
    const { report, fault } = await runIndexed(archive, index, job(paths), paths);
    expect([report.problems, report.damages, fault]).toEqual([[], [], undefined]);
    expect(describeTree(restored("b"))).toBe(describeTree(path.join(source, "b")));
  });
  test("with a chunk that was lost before says so again, and brings the rest", async () => {
    const { archive, rows } = sealArchive(cut(makeTar(), 20_480), "gzip");
    const row = must(rows[5], "a chunk");
    const spoilt = Buffer.from(archive);
    spoilt.fill(0x55, row.storedOffset + 20, row.storedOffset + row.storedLength - 8);
    const index = await rebuiltIndex(spoilt);
    const { report, fault } = await runIndexed(spoilt, index, restoreJob(target));
    expect(fault).toBeUndefined();
    expect(report.damages.map(({ chunk }) => chunk)).toContain(5);
    expect(fs.readdirSync(restored("d")).length).toBeGreaterThan(8);
  });
});
