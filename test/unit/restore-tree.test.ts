import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { readFiles } from "#test/support/archive-kit.ts";
import { describeTree, restoreTar } from "#test/support/restore-kit.ts";
import { makeTempDir, makeTortureTree, removeTree } from "#test/support/tree.ts";

let dir: string;
let source: string;
let target: string;

beforeEach(() => {
  dir = makeTempDir("/dev/shm");
  source = path.join(dir, "source");
  target = path.join(dir, "target");
  fs.mkdirSync(target);
});
afterEach(() => removeTree(dir));

/** Where what was backed up as `source` lies in the target. */
const restored = (): string => path.join(target, source);

describe("restoring what our writer wrote", () => {
  test("gives the torture tree back: names, modes, owners, times, links, devices", () => {
    makeTortureTree(source);
    const { tar } = readFiles([source]);
    const result = restoreTar(tar, target);
    expect(result.problems).toEqual([]);
    expect(result.damage).toEqual([]);
    expect(describeTree(restored())).toBe(describeTree(source));
  }, 60_000);
});
