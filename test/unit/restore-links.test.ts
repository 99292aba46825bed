/** Hard links, and damaged files, where something is at the target already: nothing of the user's is replaced or taken for the archive's. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { restoreTar } from "#test/support/restore-kit.ts";
import { block, END, padded } from "#test/support/tar-blocks.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const OLD_SECONDS = 1_000_000_000;
const ARCHIVE_SECONDS = 1_500_000_000;
const NEW_SECONDS = 1_700_000_000;

let target: string;
beforeEach(() => {
  target = makeTempDir(memoryDir());
});
afterEach(() => removeTree(target));

const at = (name: string): string => path.join(target, name);
const content = (name: string): string => fs.readFileSync(at(name), "utf8");
const octal = (value: number): string => `${value.toString(8).padStart(11, "0")}\0`;
const file = (name: string, data: string): Buffer =>
  Buffer.concat([block({ 0: name, 124: octal(data.length), 136: octal(ARCHIVE_SECONDS) }), padded(data)]);
const link = (name: string, to: string): Buffer => block({ 0: name, 136: octal(ARCHIVE_SECONDS), 156: "1", 157: to });
const tarOf = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat([...parts, END]);
/** Data of the first entry of a tar made by `file`. */
const FIRST_DATA = [512, 1024] as const;

function put(name: string, data: string, seconds: number): void {
  fs.mkdirSync(path.dirname(at(name)), { recursive: true });
  fs.writeFileSync(at(name), data);
  fs.utimesSync(at(name), seconds, seconds);
}

describe("what is left of a damaged file", () => {
  const tar = tarOf(file("a", "from the archive"));
  for (const overwrite of ["never", "always"] as const) {
    test(`replaces nothing that has its name (${overwrite})`, () => {
      put("a.damaged", "a user's", OLD_SECONDS);
      const result = restoreTar(tar, target, { overwrite, damagedAt: FIRST_DATA });
      expect(result.problems).toEqual(["a damaged"]);
      expect(content("a.damaged")).toBe("a user's");
      expect(fs.readdirSync(target).sort()).toEqual(["a.damaged", "a.damaged.2"]);
    });
  }

  test("is not kept when there are many already, and that is said", () => {
    const names = ["a.damaged", ...[2, 3, 4, 5, 6, 7, 8, 9].map((number) => `a.damaged.${number}`)];
    for (const name of names) put(name, "of before", OLD_SECONDS);
    const result = restoreTar(tar, target, { damagedAt: FIRST_DATA });
    expect(result.problems).toEqual(["a damaged", "a not-created EEXIST"]);
    expect(fs.readdirSync(target).sort()).toEqual(names);
    expect(names.map(content)).toEqual(names.map(() => "of before"));
  });
});

describe("a hard link", () => {
  const tar = tarOf(file("a", "from the archive"), link("b", "a"));

  test("leaves what is newer with if-newer", () => {
    put("b", "newer", NEW_SECONDS);
    const result = restoreTar(tar, target, { overwrite: "if-newer" });
    expect([result.problems, result.counts.kept]).toEqual([[], 1]);
    expect([content("a"), content("b")]).toEqual(["from the archive", "newer"]);
  });

  for (const overwrite of ["never", "if-newer"] as const) {
    test(`gets the archive's content where the first name keeps another (${overwrite})`, () => {
      put("a", "the user's own", NEW_SECONDS);
      const result = restoreTar(tar, target, { overwrite });
      expect(result.problems).toEqual([]);
      expect([content("a"), content("b")]).toEqual(["the user's own", "from the archive"]);
    });
  }

  for (const overwrite of ["always", "if-changed"] as const) {
    test(`is not made to the old file where the archive's is damaged (${overwrite})`, () => {
      put("a", "old", OLD_SECONDS);
      const result = restoreTar(tar, target, { overwrite, damagedAt: FIRST_DATA });
      expect(result.problems).toEqual(["a damaged", "b damaged"]);
      expect(fs.readdirSync(target).sort()).toEqual(["a", "a.damaged", "b.damaged"]);
      expect(content("a")).toBe("old");
    });
  }

  test("is made to a first name that is kept because it is the archive's", () => {
    restoreTar(tarOf(file("a", "from the archive")), target);
    for (const overwrite of ["never", "if-newer", "if-changed"] as const) {
      fs.rmSync(at("b"), { force: true });
      expect(restoreTar(tar, target, { overwrite }).problems).toEqual([]);
      expect(fs.statSync(at("b")).ino).toBe(fs.statSync(at("a")).ino);
    }
  });
});

describe("hard links whose first name is not selected", () => {
  const links = ["b", "c", "e"].map((name) => link(`d/${name}`, "a"));
  const paths = ["d"];

  test("are all restored where the first of them stays", () => {
    put("d/b", "the user's own", NEW_SECONDS);
    for (const overwrite of ["never", "if-newer"] as const) {
      const result = restoreTar(tarOf(file("a", "from the archive"), ...links), target, { paths, overwrite });
      expect(result.problems).toEqual([]);
      expect(["b", "c", "e"].map((name) => content(`d/${name}`))).toEqual([
        "the user's own",
        "from the archive",
        "from the archive",
      ]);
      expect(fs.statSync(at("d/c")).ino).toBe(fs.statSync(at("d/e")).ino);
      for (const name of ["d/c", "d/e"]) fs.rmSync(at(name));
    }
  });

  test("are all named where none can be made", () => {
    const device = block({ 0: "a", 156: "3", 329: "0000001\0", 337: "0000003\0" });
    const metadata = {
      ...{ privileged: false, owners: false, uid: 0, gids: new Set<number>() },
      ...{ userId: () => undefined, groupId: () => undefined },
    };
    const result = restoreTar(tarOf(device, ...links), target, { paths, metadata });
    expect(result.problems).toEqual(["d/b", "d/c", "d/e"].map((name) => `${name} device-needs-root`));
  });

  test("are restored where a directory with something in it has the place of the first", () => {
    put("d/b/full", "in the way", OLD_SECONDS);
    const fifo = block({ 0: "a", 156: "6" });
    const result = restoreTar(tarOf(fifo, ...links), target, { paths });
    expect(result.problems).toEqual(["d/b directory-in-the-way ENOTEMPTY"]);
    expect(fs.statSync(at("d/c")).isFIFO()).toBe(true);
    expect(fs.statSync(at("d/c")).ino).toBe(fs.statSync(at("d/e")).ino);
  });
});
