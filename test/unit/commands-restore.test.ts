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

interface RestoreOptions {
  readonly index?: boolean;
  readonly archive?: Uint8Array;
  /** Stored beside the archive. */
  readonly sha256?: string;
  readonly json?: boolean;
}

async function restore(paths: readonly string[], options: RestoreOptions = {}): Promise<Restored> {
  runs += 1;
  const target = path.join(base, `target-${runs}`);
  const { archive = made.stored, sha256, json = false } = options;
  const index = options.index === false ? undefined : made.bytes;
  const stock = new MemoryStock([{ time: "2026-02-12T02:00:00.000Z", archive, index, row: { sha256 } }]);
  const request = {
    ...{ command: "restore" as const, archive: { text: "latest", scope: EVERYWHERE }, paths, to: target },
    ...{ overwrite: "always" as const, deletes: false, dryRun: false, stripComponents: 0, owners: false },
    ...{ progress: false, json },
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

describe("an archive that is read whole", () => {
  const sumOf = (bytes: Uint8Array): string => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  const noIndex = { index: false, json: true } as const;
  const result = ({ stdout }: CommandRun): unknown[] => {
    const { result, sha256Differs, problemCount } = JSON.parse(stdout) as Record<string, unknown>;
    return [result, sha256Differs, problemCount];
  };

  test("is compared with the SHA-256 beside it, also for some of its paths", async () => {
    for (const paths of [[], [at("conf/hosts")]]) {
      const run = await restore(paths, { ...noIndex, sha256: sumOf(made.stored) });
      expect([run.exit, run.stderr, ...result(run)]).toEqual([0, "", "done", false, 0]);
    }
  });
  test("is restored when it is another one, which a sentence says, and the exit code is 3", async () => {
    // What the header of a gzip member says of the system changes no content, and nothing but that sum tells.
    const archive = Buffer.from(made.stored);
    archive[9] = 3;
    const run = await restore([], { ...noIndex, archive, sha256: sumOf(made.stored) });
    expect([run.exit, ...result(run)]).toEqual([3, "partial", true, 0]);
    expect(run.stderr).toBe(
      `warning: ${ARCHIVE}: its SHA-256 is not the one beside it: it is not as it was written, and what came out of it may not be what was backed up\n`,
    );
    expect(fs.readdirSync(path.join(run.target, tree, "conf"))).toHaveLength(3);
  });
  test("is said to be another one also where it has none of the paths", async () => {
    const { exit, stderr } = await restore([at("none")], { index: false, sha256: "ab".repeat(32) });
    expect(exit).toBe(`E_PATH_UNKNOWN: ${at("none")} is not in ${ARCHIVE}`);
    expect(stderr).toContain("its SHA-256 is not the one beside it");
  });
  test("is compared with nothing where no sum is known, or an index is the witness", async () => {
    expect(result(await restore([], noIndex))).toEqual(["done", false, 0]);
    expect(result(await restore([], { json: true, sha256: "ab".repeat(32) }))).toEqual(["done", false, 0]);
  });
});
