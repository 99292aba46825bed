/** ls, find, diff and list over archives in memory: with an index, without one, with one that is damaged or another's. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import { roots } from "#test/support/archive-kit.ts";
import { EVERYWHERE, MemoryStock, runCommand, type StockedArchive } from "#test/support/command-kit.ts";
import { indexTree, type TreeIndex } from "#test/support/index-kit.ts";
import { makeSmallFiles, makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

let base = "";
let tree = "";
let first: TreeIndex;
let second: TreeIndex;
/** So many entries that the index has several blocks of them. */
let large: TreeIndex;

function indexOf(source: string): TreeIndex {
  return indexTree(new LinuxSource({ roots: roots(source).map((root) => root.path) }), [source], {
    chunkBytes: 64 * KiB,
  });
}

beforeAll(() => {
  base = makeTempDir(memoryDir());
  tree = path.join(base, "tree");
  fs.mkdirSync(path.join(tree, "conf/empty"), { recursive: true });
  fs.writeFileSync(path.join(tree, "conf/a.conf"), "one");
  fs.writeFileSync(path.join(tree, "conf/b.conf"), "two");
  fs.writeFileSync(Buffer.concat([Buffer.from(`${tree}/conf/`), Buffer.from([0xff, 0x1b])]), "odd");
  first = indexOf(tree);
  fs.appendFileSync(path.join(tree, "conf/a.conf"), " more");
  fs.rmSync(path.join(tree, "conf/b.conf"));
  fs.writeFileSync(path.join(tree, "conf/c.conf"), "three");
  second = indexOf(tree);
  const many = path.join(base, "many");
  makeSmallFiles(many, 8000, 10);
  large = indexOf(many);
});
afterAll(() => removeTree(base));

const inArchive = (...names: string[]): string => path.join(tree.slice(1), ...names);

function stocked(time: string, { stored, bytes }: TreeIndex, row: StockedArchive["row"] = {}): StockedArchive {
  return { time, archive: stored, index: bytes, row };
}

function twoArchives(): MemoryStock {
  return new MemoryStock([stocked("2026-02-11T02:00:00.000Z", first), stocked("2026-02-12T02:00:00.000Z", second)]);
}

const ls = (where: string | undefined, options: { readonly recursive?: boolean; readonly json?: boolean } = {}) => ({
  ...{ command: "ls" as const, archive: { text: "latest", scope: EVERYWHERE }, path: where },
  ...{ recursive: false, json: false, ...options },
});

/** The last column. */
const names = (stdout: string): string[] =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.slice(line.indexOf("Z ") + 2));

describe("ls", () => {
  test("lists a directory, a file, everything below, and the way to what was backed up", async () => {
    const stock = twoArchives();
    const directory = await runCommand(ls(inArchive("conf")), stock);
    expect(names(directory.stdout)).toEqual(["a.conf", "c.conf", "empty", "\\xff\\x1b"]);
    expect(directory).toMatchObject({ exit: 0, stderr: "" });
    const file = await runCommand(ls(`/${inArchive("conf/a.conf")}`), stock);
    expect(file.stdout).toMatch(new RegExp(`^-rw-r--r-- \\d+/\\d+ +8 .*Z ${inArchive("conf/a.conf")}\n$`));
    const below = await runCommand(ls(inArchive("conf"), { recursive: true }), stock);
    expect(names(below.stdout)[0]).toBe(inArchive("conf"));
    expect(names(below.stdout)).toHaveLength(5);
    const [top = ""] = tree.slice(1).split("/");
    expect((await runCommand(ls(undefined), stock)).stdout).toBe(
      `d--------- -                  - -                    ${top}\n`,
    );
    expect(await runCommand(ls(inArchive("conf/empty")), stock)).toEqual({ exit: 0, stdout: "", stderr: "" });
    expect([stock.openCount, stock.archivesOpened]).toEqual([0, 0]);
  });
  test("takes a name of any bytes", async () => {
    const run = await runCommand(ls(`${inArchive("conf")}/\xff\x1b`, { json: true }), twoArchives());
    expect(JSON.parse(run.stdout)).toMatchObject({ size: 3, path: `${inArchive("conf")}/\\xff\\x1b` });
  });
  test("says what is not in the archive, and where to look", async () => {
    const run = await runCommand(ls(inArchive("conf/nothing")), twoArchives());
    expect(run.exit).toStartWith(`E_PATH_UNKNOWN: ${inArchive("conf/nothing")} is not in web-1/etc/2026-02-12`);
    expect(run.stdout).toBe("");
  });

  test("reads an archive without an index whole, and says so", async () => {
    const { stored, bytes } = second;
    const [without, with_] = [
      new MemoryStock([{ time: "2026-02-12T02:00:00.000Z", archive: stored }]),
      new MemoryStock([{ time: "2026-02-12T02:00:00.000Z", archive: stored, index: bytes }]),
    ];
    const run = await runCommand(ls(undefined, { recursive: true, json: true }), without, { side: "server" });
    expect(run.stderr).toBe(
      "warning: web-1/etc/2026-02-12T02-00-00-000Z.tar.gz has no index: the archive is read whole; nbackup-server index rebuild web-1/etc/2026-02-12T02-00-00-000Z.tar.gz makes one\n",
    );
    const expected = await runCommand(ls(undefined, { recursive: true, json: true }), with_);
    expect(run.stdout).toBe(expected.stdout);
    expect(without.openCount).toBe(0);
  });
  test("reads it whole when the index is another archive's", async () => {
    const stock = new MemoryStock([{ time: "2026-02-12T02:00:00.000Z", archive: second.stored, index: large.bytes }]);
    const run = await runCommand(ls(inArchive("conf")), stock);
    expect(names(run.stdout)).toHaveLength(4);
    expect(run.stderr).toContain("has no good index (the index is of an archive of");
    expect(run.stderr).toContain("nbackup-server index rebuild on the server makes one");
    expect(stock.openCount).toBe(0);
  });
  test("uses the index of an archive that ends too early, and says what is missing", async () => {
    const cut = large.stored.subarray(0, large.stored.length - 1000);
    const stock = new MemoryStock([{ time: "2026-02-12T02:00:00.000Z", archive: cut, index: large.bytes }]);
    const run = await runCommand(ls(undefined, { recursive: true }), stock);
    expect(run.exit).toBe(3);
    expect(run.stderr).toContain("ends too early: 1000 bytes of it are missing");
    expect(names(run.stdout)).toHaveLength(8009);
  });
  test("goes on behind a damaged block of the index with what the archive says, and repeats nothing", async () => {
    const whole = new MemoryStock([stocked("2026-02-12T02:00:00.000Z", large)]);
    const expected = await runCommand(ls(undefined, { recursive: true }), whole);
    for (const part of [0.3, 0.6, 0.9]) {
      const bytes = new Uint8Array(large.bytes);
      const at = Math.floor(bytes.length * part);
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      const stock = new MemoryStock([{ time: "2026-02-12T02:00:00.000Z", archive: large.stored, index: bytes }]);
      const run = await runCommand(ls(undefined, { recursive: true }), stock);
      expect(run.stderr).toContain("has a damaged index");
      expect(run.stdout).toBe(expected.stdout);
      expect(run.exit).toBe(0);
      expect(stock.openCount).toBe(0);
    }
  });
  test("says what of an archive without an index is damaged, lists the rest and exits with 3", async () => {
    const archive = new Uint8Array(large.stored);
    archive.fill(0, archive.length / 2, archive.length / 2 + 100);
    const run = await runCommand(
      ls(undefined, { recursive: true }),
      new MemoryStock([{ time: "2026-02-12T02:00:00Z", archive }]),
    );
    expect(run.exit).toBe(3);
    expect(run.stderr).toContain(" of the archive, cannot be read");
    expect(names(run.stdout).length).toBeGreaterThan(7000);
  });
  test("names an archive that is none", async () => {
    const archive = Buffer.from("this is no archive at all");
    const run = await runCommand(ls(undefined), new MemoryStock([{ time: "2026-02-12T02:00:00Z", archive }]));
    expect(run.exit).toStartWith("E_ARCHIVE_FOREIGN");
  });
});

describe("the output", () => {
  test("is waited for: nobody reads ahead of who reads it", async () => {
    const stock = new MemoryStock([stocked("2026-02-12T02:00:00.000Z", large)]);
    const blocked = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    let [written, readThen] = [0, 0];
    const run = runCommand(ls(undefined, { recursive: true }), stock, {
      write: async () => {
        written += 1;
        if (written === 1) readThen = stock.readBytes;
        reached.resolve();
        await blocked.promise;
      },
    });
    await reached.promise;
    expect(written).toBe(1);
    // The first lines are out before the index was read to its end.
    expect(readThen).toBeLessThan(large.bytes.length * 0.8);
    blocked.resolve();
    expect((await run).exit).toBe(0);
    expect(stock.readBytes).toBeGreaterThan(readThen);
  });
  test("nobody reads any more ends the command, and leaves nothing open", async () => {
    const stock = new MemoryStock([stocked("2026-02-12T02:00:00.000Z", large)]);
    const write = () => Promise.reject(new Failure("E_OUTPUT_CLOSED", "nobody reads"));
    expect(await runCommand(ls(undefined, { recursive: true }), stock, { write })).toEqual({
      ...{ exit: "E_OUTPUT_CLOSED: nobody reads", stdout: "", stderr: "" },
    });
    expect(stock.openCount).toBe(0);
  });
  test("ends when the user interrupts", async () => {
    const stop = new AbortController();
    const stock = new MemoryStock([stocked("2026-02-12T02:00:00.000Z", large)]);
    const write = async () => stop.abort();
    const run = await runCommand(ls(undefined, { recursive: true }), stock, { write, signal: stop.signal });
    expect(run.exit).toBe("E_INTERRUPTED: interrupted");
    expect(stock.openCount).toBe(0);
  });
});

describe("find", () => {
  const find = (pattern: string, json = false) => ({ command: "find" as const, pattern, scope: EVERYWHERE, json });
  test("gives each version with the archives that have it", async () => {
    const stock = twoArchives();
    const run = await runCommand(find("*.conf", true), stock);
    const found = run.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .map(({ path: where, size, first: from, last, archives, changed }) => [
        ...[
          path.basename(String(where)),
          size,
          String(from).slice(8, 10),
          String(last).slice(8, 10),
          archives,
          changed,
        ],
      ]);
    expect(found).toEqual([
      ["a.conf", 8, "12", "12", 1, expect.arrayContaining(["size"])],
      ["a.conf", 3, "11", "11", 1, []],
      ["b.conf", 3, "11", "11", 1, []],
      ["c.conf", 5, "12", "12", 1, []],
    ]);
    expect([run.exit, stock.openCount]).toEqual([0, 0]);
  });
  test("takes the bytes of its pattern, as ls does of a path", async () => {
    const run = await runCommand(find("\xff*", true), twoArchives());
    expect(run.exit).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({ path: `${inArchive("conf")}/\\xff\\x1b`, archives: 2 });
  });
  test("keeps no more than some indexes open, over however many archives", async () => {
    const archives = Array.from({ length: 80 }, (_, day) => {
      return stocked(new Date(Date.UTC(2026, 0, 1 + day)).toISOString(), day < 70 ? first : second);
    });
    const stock = new MemoryStock(archives);
    const run = await runCommand(find("*.conf", true), stock);
    const lines = run.stdout.trim().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { archives: number }).archives)).toEqual([10, 70, 70, 10]);
    expect([stock.openCount, stock.openMax]).toEqual([0, 64]);
  });
  test("searches one backup entry after another", async () => {
    const stock = new MemoryStock([
      stocked("2026-02-12T02:00:00.000Z", first),
      stocked("2026-02-12T02:00:00.000Z", first, { backup: "home" }),
    ]);
    const run = await runCommand(find("b.conf"), stock);
    expect(run.stdout.split("\n").filter((line) => !line.startsWith(" "))).toEqual([
      `web-1/etc: ${inArchive("conf/b.conf")}`,
      `web-1/home: ${inArchive("conf/b.conf")}`,
      "",
    ]);
  });
  test("searches the others when one archive cannot be, and exits with 1", async () => {
    const broken = { time: "2026-02-10T02:00:00.000Z", archive: Buffer.from("none") };
    const stock = new MemoryStock([broken, stocked("2026-02-12T02:00:00.000Z", first)]);
    const run = await runCommand(find("b.conf"), stock);
    expect(run.exit).toBe(1);
    expect(run.stdout).toContain("b.conf");
    expect(run.stderr).toContain("E_ARCHIVE_FOREIGN");
  });
  test("exits with 1 when there is nothing, and with 2 for what is no pattern", async () => {
    expect(await runCommand(find("nothing"), twoArchives())).toEqual({
      ...{ exit: 1, stdout: "", stderr: "nothing matches nothing in 2 archives\n" },
    });
    expect((await runCommand(find("["), twoArchives())).exit).toBe('E_USAGE: pattern "[": [ without ]');
  });
});

describe("diff", () => {
  const diff = (before: string, after: string) => ({
    ...{ command: "diff" as const, json: false },
    ...{ before: { text: before, scope: EVERYWHERE }, after: { text: after, scope: EVERYWHERE } },
  });
  test("says what is different, in the order of paths", async () => {
    const stock = twoArchives();
    const run = await runCommand(diff("2026-02-11", "latest"), stock);
    const lines = run.stdout.trimEnd().split("\n");
    expect(lines.map((line) => line.replace(/ {2}\(.*/, ""))).toEqual([
      `M ${inArchive("conf")}`,
      `M ${inArchive("conf/a.conf")}`,
      `- ${inArchive("conf/b.conf")}`,
      `+ ${inArchive("conf/c.conf")}`,
      "1 added, 1 removed, 2 changed",
    ]);
    expect(lines[1]).toContain("(size 3 B to 8 B, time ");
    expect([run.exit, stock.openCount]).toEqual([0, 0]);
    expect(await runCommand(diff("latest", "latest"), stock)).toMatchObject({ exit: 0, stdout: "no differences\n" });
  });
  test("takes a time alone for one of the same entry", async () => {
    const stock = new MemoryStock([
      stocked("2026-02-11T02:00:00.000Z", first),
      stocked("2026-02-12T02:00:00.000Z", second),
      stocked("2026-02-12T02:00:00.000Z", large, { backup: "home" }),
    ]);
    const run = await runCommand(diff("web-1/etc/2026-02-11", "2026-02-12"), stock, { side: "server" });
    expect(run.stdout).toEndWith("1 added, 1 removed, 2 changed\n");
  });
});

describe("list", () => {
  const list = { command: "list" as const, scope: EVERYWHERE, json: true };
  test("lists what there is, and says of which storages nothing can be told", async () => {
    const failures = [new Failure("E_STORAGE_FAILED", "storage old: /mnt/old: there is no such directory")];
    const stock = new MemoryStock([stocked("2026-02-12T02:00:00.000Z", first)], failures);
    const run = await runCommand(list, stock);
    expect(run.exit).toBe(1);
    expect(JSON.parse(run.stdout)).toMatchObject({ agent: "web-1", backup: "etc", index: true });
    expect(run.stderr).toStartWith("E_STORAGE_FAILED: storage old: /mnt/old");
  });
  test("says that there is nothing", async () => {
    expect(await runCommand({ ...list, json: false }, new MemoryStock([]))).toMatchObject({
      ...{ exit: 0, stdout: expect.stringMatching(/^no archives/) as string },
    });
    expect(await runCommand(list, new MemoryStock([]))).toEqual({ exit: 0, stdout: "", stderr: "" });
  });
});
