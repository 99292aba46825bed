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
const link = (name: string, to: string): Buffer =>
  block({ 0: name, 136: octal(ARCHIVE_SECONDS), 156: "1", 157: to });
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
