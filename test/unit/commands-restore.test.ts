/** restore as a command: what it says of paths that the archive does not have, and what it does then. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import type { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import { type AskedPath, isOneThere, pathsUnknown } from "#commands/unknown-paths.ts";
import { roots } from "#test/support/archive-kit.ts";
import { type CommandRun, EVERYWHERE, MemoryStock, runCommand } from "#test/support/command-kit.ts";
import { indexTree, openIndex, type TreeIndex } from "#test/support/index-kit.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

let base = "";
let tree = "";
let made: TreeIndex;

beforeAll(() => {
  base = makeTempDir(memoryDir());
  tree = path.join(base, "tree");
  fs.mkdirSync(path.join(tree, "conf"), { recursive: true });
  for (const name of ["conf/hostname", "conf/hosts", "conf/passwd"]) fs.writeFileSync(path.join(tree, name), name);
  const source = new LinuxSource({ roots: roots(tree).map((root) => root.path) });
  made = indexTree(source, [tree], { chunkBytes: 64 * KiB });
});
afterAll(() => removeTree(base));

let runs = 0;

interface Restored extends CommandRun {
  readonly target: string;
}

async function restore(paths: readonly string[], options: { readonly index?: boolean } = {}): Promise<Restored> {
  runs += 1;
  const target = path.join(base, `target-${runs}`);
  const { stored, bytes } = made;
  const index = options.index === false ? undefined : bytes;
  const stock = new MemoryStock([{ time: "2026-02-12T02:00:00.000Z", archive: stored, index }]);
  const request = {
    ...{ command: "restore" as const, archive: { text: "latest", scope: EVERYWHERE }, paths, to: target },
    ...{ overwrite: "always" as const, deletes: false, dryRun: false, stripComponents: 0, owners: false },
    ...{ progress: false, json: false },
  };
  return { ...(await runCommand(request, stock)), target };
}

const at = (name: string): string => path.join(tree, name);
const ARCHIVE = "web-1/etc/2026-02-12T02-00-00-000Z.tar.gz";

describe("a path that the archive does not have", () => {
  test("fails the restore by name, before anything is made", async () => {
    const { exit, stdout, target } = await restore([at("conf/hostnam")]);
    expect([exit, stdout]).toEqual([`E_PATH_UNKNOWN: ${at("conf/hostnam")} is not in ${ARCHIVE}`, ""]);
    expect(fs.existsSync(target)).toBe(false);
  });
  test("fails it also where there is no index to tell beforehand", async () => {
    const { exit } = await restore([at("conf/hostnam")], { index: false });
    expect(exit).toBe(`E_PATH_UNKNOWN: ${at("conf/hostnam")} is not in ${ARCHIVE}`);
  });
  test.each([true, false])(
    "among others is named, they are restored, and the exit code is 3 (index: %p)",
    async (index) => {
      const { exit, stderr, target } = await restore([at("conf/hosts"), at("nothing"), at("conf/none")], { index });
      expect(exit).toBe(3);
      for (const name of ["nothing", "conf/none"]) {
        expect(stderr).toContain(`warning: ${at(name).slice(1)}: is not in the archive\n`);
      }
      expect(fs.readdirSync(path.join(target, tree, "conf"))).toEqual(["hosts"]);
    },
  );
  test("is not looked up when one that is there stands before it", async () => {
    const there = { text: "hosts", bytes: Buffer.from(at("conf/hosts")) };
    const lookedUp = {
      text: "none",
      get bytes(): Uint8Array {
        throw new Error("it was looked up");
      },
    };
    expect(await isOneThere(await openIndex(made.bytes), [there, lookedUp])).toBe(true);
  });
  test("is one of those named when none is there", async () => {
    const { exit } = await restore(["a", "b", "c", "d", "e"]);
    expect(exit).toBe(`E_PATH_UNKNOWN: a, b, c and 2 more are not in ${ARCHIVE}`);
    expect((await restore(["a", "b"])).exit).toBe(`E_PATH_UNKNOWN: a and b are not in ${ARCHIVE}`);
  });
  test("is not a directory above what was backed up", async () => {
    const { exit, target } = await restore([path.dirname(base)]);
    expect(exit).toBe(0);
    expect(fs.readdirSync(path.join(target, tree, "conf")).sort()).toEqual(["hostname", "hosts", "passwd"]);
  });
});

describe("the hint of such a failure", () => {
  async function hintOf(text: string): Promise<string> {
    const asked: AskedPath = { text, bytes: Buffer.from(text) };
    const failure: Failure = await pathsUnknown([asked], "an archive", await openIndex(made.bytes));
    return failure.hint;
  }
  test("names what is there under nearly the same name, written as the path was", async () => {
    expect(await hintOf(at("conf/hostnam"))).toBe(`Did you mean ${at("conf/hostname")}?`);
    expect(await hintOf(at("conf/Passwd").slice(1))).toBe(`Did you mean ${at("conf/passwd").slice(1)}?`);
    expect(await hintOf(at("cnf/hosts"))).toBe(`Did you mean ${at("conf")}?`);
  });
  test("says where to look when there is none", async () => {
    expect(await hintOf(at("conf/something/else"))).toBe(`Look what is in ${at("conf").slice(1)}.`);
    expect(await hintOf("/none")).toContain("ls without a path shows the top");
  });
});
