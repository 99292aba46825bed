import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { MiB } from "#base/units.ts";
import type { DeletionPolicy } from "#restore/remove.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { describeAttributes, describeTree, restoreTar } from "#test/support/restore-kit.ts";
import { attributesProblem, makeAttributes } from "#test/support/torture-attributes.ts";
import { makeSparse } from "#test/support/torture-sparse.ts";
import { isRoot, makeTempDir, memoryDir, makeTortureTree, patternBytes, removeTree, run } from "#test/support/tree.ts";

const SLOW_MS = 60_000;

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

/** Where what was backed up as `source` lies in the target. */
const restored = (name = ""): string => path.join(target, source, name);
const at = (name: string): string => path.join(source, name);
const inArchive = (name: string): string => at(name).slice(1);

describe("restoring what our writer wrote", () => {
  test(
    "gives the torture tree back: names, modes, owners, times, links, devices",
    () => {
      makeTortureTree(source);
      const result = restoreTar(readFiles([source]).tar, target);
      expect(result.problems).toEqual([]);
      expect(result.damage).toEqual([]);
      expect(describeTree(restored())).toBe(describeTree(source));
    },
    SLOW_MS,
  );

  test(
    "gives extended attributes, capabilities and access control lists back",
    () => {
      const problem = attributesProblem(dir);
      if (problem !== undefined) {
        console.log(`not tried: ${problem}`);
        return;
      }
      makeAttributes(source);
      const result = restoreTar(readFiles([source]).tar, target);
      expect(result.problems).toEqual([]);
      expect(describeAttributes(restored())).toBe(describeAttributes(source));
      expect(describeTree(restored())).toBe(describeTree(source));
    },
    SLOW_MS,
  );

  test(
    "gives sparse files back as sparse files",
    () => {
      makeSparse(source);
      const result = restoreTar(readFiles([source]).tar, target);
      expect(result.problems).toEqual([]);
      expect(describeTree(restored())).toBe(describeTree(source));
      const { blocks } = fs.statSync(restored("sparse/all hole"));
      expect(blocks * 512).toBeLessThan(MiB);
    },
    SLOW_MS,
  );

  test(
    "restores over itself and keeps everything as it is",
    () => {
      makeTortureTree(source);
      const { tar } = readFiles([source]);
      restoreTar(tar, target);
      const again = restoreTar(tar, target, { overwrite: "always" });
      expect(again.problems).toEqual([]);
      expect(describeTree(restored())).toBe(describeTree(source));
      const third = restoreTar(tar, target, { overwrite: "if-changed" });
      expect(third.problems).toEqual([]);
      expect(third.counts.bytes).toBe(0);
      expect(describeTree(restored())).toBe(describeTree(source));
    },
    SLOW_MS,
  );
});

describe("restoring what GNU tar wrote", () => {
  for (const format of ["v7", "oldgnu", "gnu", "ustar", "posix"]) {
    test(
      `of the format ${format}`,
      () => {
        fs.mkdirSync(at("a/b"), { recursive: true });
        fs.writeFileSync(at("a/file"), patternBytes(20_000));
        fs.writeFileSync(at("a/empty"), "");
        fs.linkSync(at("a/file"), at("a/b/hard"));
        fs.symlinkSync("../file", at("a/b/soft"));
        fs.chmodSync(at("a/b"), 0o2750);
        // Only one of the formats has parts of a second.
        run("touch", ["-h", "-d", "@1234567890", at("a/file"), at("a/empty"), at("a/b/soft")]);
        run("touch", ["-d", "@1234567891", at("a/b"), at("a"), source]);
        const tar = run("tar", ["-cf", "-", `--format=${format}`, "-C", dir, "source"]);
        const result = restoreTar(new Uint8Array(tar), target);
        expect(result.problems).toEqual([]);
        expect(describeTree(path.join(target, "source"))).toBe(describeTree(source));
      },
      SLOW_MS,
    );
  }

  test("with names that come in another order, a directory's time is right all the same", () => {
    fs.mkdirSync(at("d"));
    for (const name of ["d/one", "d/two", "other"]) fs.writeFileSync(at(name), name);
    run("touch", ["-d", "@1000000000", at("d"), at("other"), source]);
    fs.chmodSync(at("d"), 0o500);
    const names = ["source", "source/d", "source/d/one", "source/other", "source/d/two"];
    const tar = run("tar", ["-cf", "-", "--no-recursion", "-C", dir, ...names]);
    const result = restoreTar(new Uint8Array(tar), target);
    expect(result.problems).toEqual([]);
    expect(fs.statSync(path.join(target, "source/d")).mtimeMs).toBe(1_000_000_000_000);
    expect(fs.statSync(path.join(target, "source/d")).mode & 0o7777).toBe(0o500);
    expect(fs.readFileSync(path.join(target, "source/d/two"), "utf8")).toBe("d/two");
  });
});

describe("what is there already", () => {
  const tarOf = (): Uint8Array => readFiles([source]).tar;
  beforeEach(() => {
    fs.mkdirSync(at("d"));
    fs.writeFileSync(at("d/file"), "from the archive");
    run("touch", ["-d", "@1500000000", at("d/file"), at("d")]);
    fs.mkdirSync(restored("d"), { recursive: true });
    fs.writeFileSync(restored("d/file"), "was here before..");
  });
  const content = (): string => fs.readFileSync(restored("d/file"), "utf8");

  test("is replaced with always, and its inode is another one: an open old file stays what it was", () => {
    const { ino } = fs.statSync(restored("d/file"));
    expect(restoreTar(tarOf(), target).problems).toEqual([]);
    expect(content()).toBe("from the archive");
    expect(fs.statSync(restored("d/file")).ino).not.toBe(ino);
  });

  test("stays with never, together with its directory's time, and what is missing comes", () => {
    fs.writeFileSync(at("d/missing"), "new");
    run("touch", ["-d", "@1600000000", restored("d")]);
    const result = restoreTar(tarOf(), target, { overwrite: "never" });
    expect(result.problems).toEqual([]);
    expect(content()).toBe("was here before..");
    expect(fs.readFileSync(restored("d/missing"), "utf8")).toBe("new");
    expect(result.counts.kept).toBeGreaterThan(0);
  });

  test("stays with if-newer when it is newer, and goes when it is older", () => {
    restoreTar(tarOf(), target, { overwrite: "if-newer" });
    expect(content()).toBe("was here before..");
    run("touch", ["-d", "@1400000000", restored("d/file")]);
    restoreTar(tarOf(), target, { overwrite: "if-newer" });
    expect(content()).toBe("from the archive");
  });

  test("goes with if-changed when time, size or mode differ, else stays", () => {
    restoreTar(tarOf(), target, { overwrite: "if-changed" });
    expect(content()).toBe("from the archive");
    const { ino } = fs.statSync(restored("d/file"));
    restoreTar(tarOf(), target, { overwrite: "if-changed" });
    expect(fs.statSync(restored("d/file")).ino).toBe(ino);
    fs.chmodSync(restored("d/file"), 0o600);
    restoreTar(tarOf(), target, { overwrite: "if-changed" });
    expect(fs.statSync(restored("d/file")).mode & 0o777).toBe(fs.statSync(at("d/file")).mode & 0o777);
  });

  test("is not touched by a dry run, which counts what it would do", () => {
    fs.mkdirSync(at("new/below"), { recursive: true });
    const before = describeTree(target);
    const result = restoreTar(tarOf(), target, { dryRun: true });
    expect(describeTree(target)).toBe(before);
    expect(result.counts.restored).toBeGreaterThanOrEqual(4);
    expect(result.problems).toEqual([]);
  });

  test("of another type gives way: a link for a directory, an empty directory for a file, a file for a directory", () => {
    fs.rmSync(restored("d"), { recursive: true });
    fs.symlinkSync("/tmp", restored("d"));
    expect(restoreTar(tarOf(), target, { dryRun: true }).replacedLinks).toEqual([inArchive("d")]);
    // It is as the archive has it, and said all the same: what lies in /tmp is not in d any more.
    expect(restoreTar(tarOf(), target)).toMatchObject({ problems: [], replacedLinks: [inArchive("d")] });
    expect(fs.lstatSync(restored("d")).isDirectory()).toBe(true);
    fs.rmSync(restored("d/file"));
    fs.mkdirSync(restored("d/file"));
    expect(restoreTar(tarOf(), target).problems).toEqual([]);
    expect(content()).toBe("from the archive");
    fs.rmSync(restored("d"), { recursive: true });
    fs.writeFileSync(restored("d"), "");
    expect(restoreTar(tarOf(), target)).toMatchObject({ problems: [], replacedLinks: [] });
    expect(content()).toBe("from the archive");
  });

  test("is named when it is a directory with something in it where a file belongs", () => {
    fs.rmSync(restored("d/file"));
    fs.mkdirSync(restored("d/file/full"), { recursive: true });
    expect(restoreTar(tarOf(), target).problems).toEqual([`${inArchive("d/file")} directory-in-the-way ENOTEMPTY`]);
    expect(fs.readdirSync(restored("d"))).toEqual(["file"]);
  });
});

describe("deleting what the archive does not have", () => {
  beforeEach(() => {
    fs.mkdirSync(at("d/sub"), { recursive: true });
    fs.writeFileSync(at("d/file"), "file");
    fs.mkdirSync(restored("d/sub/extra/deep"), { recursive: true });
    fs.mkdirSync(path.join(target, "beside"));
    for (const name of ["d/extra", "d/sub/extra/deep/file", "d/keep.log", "d/sub/extra/keep.log"])
      fs.writeFileSync(restored(name), "extra");
  });
  const deletion: DeletionPolicy = {
    mayDelete: (path) => !Buffer.from(path).toString().endsWith(".log"),
    mayClear: () => true,
    isSource: () => false,
    marks: [],
  };

  test("happens below restored directories only, and not to what the predicate keeps", () => {
    const result = restoreTar(readFiles([source]).tar, target, { deletion });
    expect(result.problems).toEqual([]);
    expect(fs.readdirSync(restored("d")).sort()).toEqual(["file", "keep.log", "sub"]);
    // A directory with something kept in it stays.
    expect(fs.readdirSync(restored("d/sub/extra"))).toEqual(["keep.log"]);
    expect(fs.existsSync(path.join(target, "beside"))).toBe(true);
    expect(result.removed).toEqual(["d/extra", "d/sub/extra/deep", "d/sub/extra/deep/file"].map(inArchive));
    expect(result.counts.deleted).toBe(3);
  });

  test("is only counted by a dry run", () => {
    const before = describeTree(target);
    const result = restoreTar(readFiles([source]).tar, target, { deletion, dryRun: true });
    expect(result.counts.deleted).toBe(3);
    expect(describeTree(target)).toBe(before);
  });

  test("does not happen after damage: what is missing proves nothing then", () => {
    fs.writeFileSync(at("d/a"), "a");
    const { tar } = readFiles([source]);
    // The header of d/a.
    const broken = new Uint8Array(tar);
    const start = Buffer.from(tar).indexOf(`${inArchive("d/a")}\0`);
    broken.fill(0xaa, start, start + 512);
    const result = restoreTar(broken, target, { deletion });
    expect(result.damage.length).toBeGreaterThan(0);
    expect(result.counts.deleted).toBe(0);
    expect(fs.existsSync(restored("d/extra"))).toBe(true);
  });
});

describe("restoring a part", () => {
  test("takes the given paths with everything below them, and names those that are not there", () => {
    for (const name of ["a", "ab", "b/c"]) fs.mkdirSync(at(name), { recursive: true });
    for (const name of ["a/1", "ab/2", "b/c/3", "b/4"]) fs.writeFileSync(at(name), name);
    const result = restoreTar(readFiles([source]).tar, target, { paths: [`/${inArchive("a")}/`, inArchive("b/c/3")] });
    expect(run("find", [restored(), "-type", "f", "-printf", "%P\n"]).toString().trim().split("\n").sort()).toEqual([
      "a/1",
      "b/c/3",
    ]);
    expect(result.problems).toEqual([]);
  });

  test("brings the content of a hard link whose first name is not among them, for all of its names", () => {
    fs.mkdirSync(at("z"));
    fs.writeFileSync(at("first"), "linked content");
    fs.linkSync(at("first"), at("z/one"));
    fs.linkSync(at("first"), at("z/two"));
    const result = restoreTar(readFiles([source]).tar, target, { paths: [inArchive("z")] });
    expect(result.problems).toEqual([]);
    expect(fs.readFileSync(restored("z/one"), "utf8")).toBe("linked content");
    expect(fs.statSync(restored("z/one")).ino).toBe(fs.statSync(restored("z/two")).ino);
    expect(fs.existsSync(restored("first"))).toBe(false);
    expect(fs.statSync(restored("z")).mtimeMs).toBe(fs.statSync(at("z")).mtimeMs);
  });

  test("leaves the first directories of each name out, of hard links' targets too", () => {
    fs.mkdirSync(at("d"));
    fs.writeFileSync(at("d/file"), "file");
    fs.linkSync(at("d/file"), at("d/link"));
    const depth = source.split("/").length - 1;
    const result = restoreTar(readFiles([source]).tar, target, { stripComponents: depth });
    expect(result.problems).toEqual([]);
    expect(fs.statSync(path.join(target, "d/link")).ino).toBe(fs.statSync(path.join(target, "d/file")).ino);
  });
});

describe("owners and modes", () => {
  test("setuid and setgid come back only with the owner", () => {
    fs.writeFileSync(at("suid"), "");
    if (isRoot) run("chown", ["12345:23456", at("suid")]);
    fs.chmodSync(at("suid"), 0o6755);
    const { tar } = readFiles([source]);
    restoreTar(tar, target, { metadata: { ...metadata(), owners: false } });
    const { mode, uid } = fs.statSync(restored("suid"));
    expect(uid).toBe(process.getuid?.() ?? 0);
    expect(mode & 0o7777).toBe(isRoot ? 0o755 : 0o4755);
    if (!isRoot) return;
    restoreTar(tar, target);
    expect(fs.statSync(restored("suid")).mode & 0o7777).toBe(0o6755);
  });

  test("an ordinary user gets devices named, and everything else as far as it is his to give", () => {
    if (!isRoot) return;
    fs.writeFileSync(at("file"), "file");
    run("chown", ["12345:23456", at("file")]);
    run("mknod", [at("null"), "c", "1", "3"]);
    const result = restoreTar(readFiles([source]).tar, target, {
      metadata: { ...metadata(), privileged: false },
    });
    expect(result.problems).toEqual([`${inArchive("null")} device-needs-root`]);
    expect(fs.statSync(restored("file")).uid).toBe(0);
  });
});

function metadata(): NonNullable<NonNullable<Parameters<typeof restoreTar>[2]>["metadata"]> {
  return {
    ...{ privileged: isRoot, owners: true, uid: process.getuid?.() ?? 0, gids: new Set<number>() },
    userId: () => undefined,
    groupId: () => undefined,
  };
}
