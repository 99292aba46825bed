/** Which archives a command gets to work on when not every place can be listed, and what it says of a file that it looks for. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import { Failure } from "#base/errors.ts";
import { roots } from "#test/support/archive-kit.ts";
import { EVERYWHERE, MemoryStock, runCommand } from "#test/support/command-kit.ts";
import { indexTree, type TreeIndex } from "#test/support/index-kit.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const unlisted = [new Failure("E_STORAGE_FAILED", "storage old: /mnt/old: there is no such directory")];
let base = "";
let made: TreeIndex;

beforeAll(() => {
  base = makeTempDir(memoryDir());
  const tree = path.join(base, "tree");
  fs.mkdirSync(tree);
  fs.writeFileSync(path.join(tree, "file"), "content");
  made = indexTree(new LinuxSource({ roots: roots(tree).map((root) => root.path) }), [tree]);
});
afterAll(() => removeTree(base));

function stock(failures: readonly Failure[]): MemoryStock {
  const { stored: archive, bytes: index } = made;
  return new MemoryStock([{ time: "2026-02-12T02:00:00Z", archive, index }], failures);
}

const verify = (text: string) => ({
  ...{ command: "verify" as const, archive: { text, scope: EVERYWHERE } },
  ...{ progress: false, json: false },
});
const ls = (text: string) => ({
  ...{ command: "ls" as const, archive: { text, scope: EVERYWHERE }, path: undefined },
  ...{ recursive: false, json: false },
});

describe("a storage that cannot be listed", () => {
  test("makes a verification of all fail, after the others were verified", async () => {
    const run = await runCommand(verify("all"), stock(unlisted), { side: "server" });
    expect(run.stdout).toContain(": whole (");
    expect(run.stderr).toStartWith("E_STORAGE_FAILED: storage old");
    expect(run.exit).toBe(1);
    expect(await runCommand(verify("all"), stock([]), { side: "server" })).toMatchObject({ exit: 0, stderr: "" });
  });
  test("may hold a newer archive than the latest that is found", async () => {
    const run = await runCommand(ls("web-1/etc/latest"), stock(unlisted), { side: "server" });
    expect(run.exit).toBe(0);
    expect(run.stderr).toContain("warning: there may be a newer web-1/etc/latest where nothing could be listed\n");
    const exact = await runCommand(ls("web-1/etc/2026-02-12"), stock(unlisted), { side: "server" });
    expect(exact.stderr).not.toContain("newer");
  });
});

test("a reference that begins like a file of the working directory is a reference", async () => {
  // The tests run where this file is; nothing can lie below it.
  expect(fs.statSync("package.json").isFile()).toBe(true);
  const run = await runCommand(ls("package.json/etc/latest"), stock([]), { side: "server" });
  expect(run.exit).toStartWith("E_ARCHIVE_UNKNOWN: there is no archive of package.json/etc");
});
