/**
 * The whole torture tree, with attributes, access control lists and holes, restored from our archive by other programs, and
 * compared by getfattr, getfacl and a comparison that shares no code with ours: as whoever runs the tests and, if that is root,
 * as an ordinary user too.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { compareTrees, type Difference } from "#scripts/lib/compare-trees.ts";
import { inProject } from "#scripts/lib/project.ts";
import { restore } from "#test/support/gnu-tar.ts";
import { SMALL_HOLES } from "#test/support/torture-sparse.ts";
import { isRoot, makeTempDir, removeTree, run } from "#test/support/tree.ts";

const TIMEOUT_MS = 180_000;
setDefaultTimeout(TIMEOUT_MS);

const NOBODY = 65_534;
const TOOL = inProject("scripts/torture-tree.ts");

interface Who {
  readonly name: string;
  /** Put in front of commands that are to run as that user. */
  readonly prefix: readonly string[];
  readonly root: boolean;
}

const SELF: Who = { name: isRoot ? "root" : "this user", prefix: [], root: isRoot };
const USER: Who = {
  name: "an ordinary user",
  prefix: ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"],
  root: false,
};

/** Why the tests cannot run as an ordinary user as well; undefined when they can. */
function userProblem(): string | undefined {
  if (!isRoot) return "these tests are not run by root";
  if (Bun.which("setpriv") === null) return "no setpriv";
  const [command = "", ...args] = [...USER.prefix, process.execPath, TOOL, "/proc/nowhere"];
  const { stderr } = Bun.spawnSync([command, ...args]);
  return stderr.toString().includes("/proc/nowhere") ? undefined : "another user cannot read Bun or this checkout";
}

const noUser = userProblem();
if (noUser !== undefined) console.log(`not tried as an ordinary user: ${noUser}`);
const users = noUser === undefined ? [SELF, USER] : [SELF];

function as(who: Who, command: readonly string[]): Buffer {
  const [program = "", ...args] = [...who.prefix, ...command];
  return run(program, args);
}

/** A time that is off by less than a microsecond. */
function isNearly(what: string): boolean {
  const match = /^modification time (-?\d+) ns became (-?\d+) ns$/.exec(what);
  if (match === null) return false;
  const off = BigInt(match[1] ?? 0) - BigInt(match[2] ?? 0);
  return off < 1000n && off > -1000n;
}

function isTime(one: Difference): boolean {
  return one.what.startsWith("modification time ");
}

describe.each(users)("the torture tree of $name", (who) => {
  let dir = "";
  let tree = "";
  let tar = "";
  let attributes = false;

  beforeAll(() => {
    dir = makeTempDir();
    if (who.prefix.length > 0) fs.chownSync(dir, NOBODY, NOBODY);
    tree = path.join(dir, "tree");
    tar = path.join(dir, "archive.tar");
    const { noAttributes } = JSON.parse(as(who, [process.execPath, TOOL, tree]).toString());
    if (noAttributes !== undefined) console.log(`without extended attributes: ${noAttributes}`);
    attributes = noAttributes === undefined;
    const { problems } = JSON.parse(as(who, [process.execPath, TOOL, "--tar", tree, tar]).toString());
    expect(problems).toEqual([`${tree}/special/socket socket`]);
  }, TIMEOUT_MS);
  afterAll(() => removeTree(dir));

  /** What differs after `extract` restored the archive into the directory it is given. */
  async function differences(
    extract: (target: string) => void | Promise<void>,
    attributesToo: boolean,
  ): Promise<Difference[]> {
    const target = path.join(dir, "restored");
    as(who, ["mkdir", target]);
    await extract(target);
    const options = { skip: [], owners: who.root, attributes: attributes && attributesToo, holes: true };
    const found = await compareTrees(tree, path.join(target, tree), options);
    removeTree(target);
    expect(found.sockets).toBe(1);
    expect(found.entries).toBeGreaterThan(400);
    // Holes that small are stored as zeros on purpose.
    return found.differences.filter((one) => !(one.path.endsWith(SMALL_HOLES) && one.what.startsWith("takes ")));
  }

  test("comes back from GNU tar with every name, byte, hole, time, owner, link, attribute and access control list", async () => {
    const found = await differences(async (target) => {
      if (who.prefix.length === 0) await restore(tar, target);
      else
        as(who, [
          "tar",
          "--warning=no-timestamp",
          "--xattrs",
          "--xattrs-include=*",
          "--acls",
          "-xpf",
          tar,
          "-C",
          target,
        ]);
    }, true);
    expect(found).toEqual([]);
  });

  test.skipIf(Bun.which("bsdtar") === null)("comes back from bsdtar, but for what libarchive cannot hold", async () => {
    const found = await differences((target) => void as(who, ["bsdtar", "-xpf", tar, "-C", target]), true);
    // It knows no escapes in attributes' names, and no ids above 31 bits in access control lists.
    const known = attributes ? ["attributes/many", "attributes/sub"] : [];
    expect(found.map((one) => one.path).sort()).toEqual(known);
    for (const one of found) expect(one.what).toMatch(/user\.with%3Dequals|group:2147483647/);
  });

  test.skipIf(Bun.which("python3") === null)("comes back from Python, which knows no attributes", async () => {
    const script =
      "import sys, tarfile; t = tarfile.open(sys.argv[1], encoding='utf-8', errors='surrogateescape'); " +
      "t.extractall(sys.argv[2], numeric_owner=True)";
    const found = await differences((target) => void as(who, ["python3", "-c", script, tar, target]), false);
    const [times, others] = [found.filter(isTime), found.filter((one) => !isTime(one))];
    // It asks whether a hard link's target exists by following it.
    expect(others.map((one) => one.path)).toEqual(["more links/dangling"]);
    // Its times are doubles, and symbolic links get none.
    const links = as(who, ["find", tree, "-type", "l", "-printf", "l"]).length;
    expect(times.filter((one) => !isNearly(one.what)).length).toBeLessThanOrEqual(links);
  });

  test.skipIf(Bun.which("busybox") === null)(
    "comes back from busybox where no name is long, with all its bytes",
    () => {
      const target = path.join(dir, "busybox");
      for (const part of ["sizes", "borders", ...(attributes ? ["attributes"] : [])]) {
        as(who, ["mkdir", target]);
        const plain = path.join(dir, "part.tar");
        as(who, [process.execPath, TOOL, "--tar", path.join(tree, part), plain]);
        as(who, ["busybox", "tar", "-x", "-p", "-f", plain, "-C", target]);
        const special = ["fifo", "device", "link"].flatMap((name) => ["-x", name]);
        run("diff", ["-r", "--no-dereference", ...special, path.join(tree, part), path.join(target, tree, part)]);
        removeTree(target);
        fs.rmSync(plain);
      }
    },
  );
});
