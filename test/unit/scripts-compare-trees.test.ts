/** The comparison that the quickstart's verdict rests on sees every kind of difference. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CompareOptions, compareTrees } from "#scripts/lib/compare-trees.ts";
import { attributesProblem, setXattr } from "#test/support/torture-attributes.ts";
import { run } from "#test/support/tree.ts";

const OPTIONS: CompareOptions = { skip: [], owners: true };
let base = "";

/** A small tree with one of each kind. */
function plant(name: string): string {
  const root = path.join(base, name);
  mkdirSync(path.join(root, "d"), { recursive: true });
  writeFileSync(path.join(root, "d/file"), "contents");
  writeFileSync(path.join(root, "empty"), "");
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x41])]), "raw");
  linkSync(path.join(root, "d/file"), path.join(root, "hard"));
  symlinkSync("d/file", path.join(root, "soft"));
  for (const item of ["d/file", "empty", "hard"]) utimesSync(path.join(root, item), 1_700_000_000, 1_700_000_000);
  utimesSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x41])]), 1, 1);
  lutimesSync(path.join(root, "soft"), 5, 5);
  for (const item of ["d", "."]) utimesSync(path.join(root, item), 1_700_000_000, 1_700_000_000);
  return root;
}

async function differences(change: (root: string) => void, options = OPTIONS): Promise<readonly string[]> {
  const [left, right] = [plant("left"), plant("right")];
  change(right);
  const found = await compareTrees(left, right, options);
  return found.differences.map(({ path: name, what }) => `${name}: ${what}`);
}

beforeEach(() => {
  base = mkdtempSync(path.join(tmpdir(), "nbackup-compare-"));
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

describe("two trees", () => {
  test("that are equal have no differences, and their entries and bytes are counted", async () => {
    const found = await compareTrees(plant("left"), plant("right"), OPTIONS);
    expect(found).toEqual({ entries: 7, bytes: 8 + 8 + 3, sockets: 0, differences: [] });
  });
  test("differ by one byte of a file of equal size and time", async () => {
    const found = await differences((root) => {
      writeFileSync(path.join(root, "d/file"), "Contents");
      utimesSync(path.join(root, "d/file"), 1_700_000_000, 1_700_000_000);
    });
    expect(found).toEqual(["d/file: the contents differ", "hard: the contents differ"]);
  });
  test("differ by mode", async () => {
    expect(await differences((root) => chmodSync(path.join(root, "empty"), 0o600))).toEqual([
      "empty: mode 644 became 600",
    ]);
  });
  test("differ by less than a microsecond of modification time", async () => {
    const found = await differences((root) => utimesSync(path.join(root, "empty"), 1, 1_700_000_000.000_000_5));
    expect(found.join()).toStartWith("empty: modification time 1700000000000000000 ns became");
  });
  test("differ by the target of a symbolic link", async () => {
    const found = await differences((root) => {
      rmSync(path.join(root, "soft"));
      symlinkSync("d/fil", path.join(root, "soft"));
      lutimesSync(path.join(root, "soft"), 5, 5);
      utimesSync(root, 1_700_000_000, 1_700_000_000);
    });
    expect(found).toEqual(["soft: the link's target differs"]);
  });
  test("differ when a hard link became a file of its own", async () => {
    const found = await differences((root) => {
      rmSync(path.join(root, "hard"));
      writeFileSync(path.join(root, "hard"), "contents");
      utimesSync(path.join(root, "hard"), 1_700_000_000, 1_700_000_000);
      utimesSync(root, 1_700_000_000, 1_700_000_000);
    });
    expect(found).toEqual(["hard: a hard link to d/file became one to hard"]);
  });
  test("differ by what is missing, what is too much and what is of another type", async () => {
    const found = await differences((root) => {
      rmSync(path.join(root, "empty"));
      mkdirSync(path.join(root, "extra"));
      rmSync(path.join(root, "soft"));
      mkdirSync(path.join(root, "soft"));
      utimesSync(root, 1_700_000_000, 1_700_000_000);
    });
    expect(found.toSorted()).toEqual([
      "empty: not restored",
      "extra: only in the restored tree",
      "soft: a symbolic link became a directory",
    ]);
  });
  test("are equal when only what was left out differs", async () => {
    const skip = [path.join(base, "left/empty")];
    const found = await differences(
      (root) => {
        rmSync(path.join(root, "empty"));
        utimesSync(root, 1_700_000_000, 1_700_000_000);
      },
      { ...OPTIONS, skip },
    );
    expect(found).toEqual([]);
  });
  test("differ when holes became zeros", async () => {
    const [left, right] = [plant("left"), plant("right")];
    for (const root of [left, right]) writeFileSync(path.join(root, "empty"), "");
    truncateSync(path.join(left, "empty"), 1 << 23);
    writeFileSync(path.join(right, "empty"), new Uint8Array(1 << 23));
    for (const root of [left, right]) utimesSync(path.join(root, "empty"), 1_700_000_000, 1_700_000_000);
    const found = await compareTrees(left, right, { ...OPTIONS, holes: true });
    if (statSync(path.join(left, "empty")).blocks > 0) return;
    expect(found.differences.map(({ what }) => what.replace(/\d+/, "N"))).toEqual(["takes N bytes more on the disk"]);
    expect((await compareTrees(left, right, OPTIONS)).differences).toEqual([]);
  });
  test("differ by extended attributes and access control lists, when those are asked for", async () => {
    const problem = attributesProblem(base);
    if (problem !== undefined) {
      console.log(`extended attributes are not compared: ${problem}`);
      return;
    }
    const options = { ...OPTIONS, attributes: true };
    expect(await differences(() => undefined, options)).toEqual([]);
    rmSync(base, { recursive: true });
    mkdirSync(base);
    const found = await differences((root) => {
      setXattr(path.join(root, "d/file"), "user.a", "1");
      run("setfacl", ["-m", "u:4242:r", path.join(root, "empty")]);
    }, options);
    const list = found.find((line) => line.startsWith("empty: attributes none became "));
    expect(list).toContain("\nuser:4242:r--\n");
    expect(found.filter((line) => line !== list).toSorted()).toEqual([
      "d/file: attributes none became user.a=0x31",
      "hard: attributes none became user.a=0x31",
    ]);
  });
});
