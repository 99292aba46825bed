/**
 * Only the disk is left, or archives were copied there by hand: the compiled server reads them with --storage-dir and nothing else: no
 * configuration, no state, no records, no index, no rights to write.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { run, type RunResult } from "#scripts/lib/run.ts";
import { compareTrees } from "#scripts/lib/compare-trees.ts";
import { executablesIn } from "#test/support/executables.ts";
import { isRoot, makeTempDir, memoryDir, patternBytes, removeTree, run as tool } from "#test/support/tree.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const OLD = "2026-02-11T02-00-00-000Z";
const NEW = "2026-02-12T02-00-00-123Z";

let base = "";
let server = "";
let disk = "";
let source = "";

beforeAll(async () => {
  base = makeTempDir(memoryDir());
  fs.chmodSync(base, 0o755);
  ({ server } = await executablesIn(path.join(base, "bin")));
  source = path.join(base, "source");
  fs.mkdirSync(path.join(source, "etc/deep"), { recursive: true });
  fs.writeFileSync(path.join(source, "etc/hosts"), "127.0.0.1 localhost\n");
  fs.writeFileSync(path.join(source, "etc/deep/\u001b[31mred\nname"), "odd");
  fs.writeFileSync(path.join(source, "large"), patternBytes(3_000_000));
  fs.linkSync(path.join(source, "large"), path.join(source, "etc/large"));
  disk = path.join(base, "disk");
  fs.mkdirSync(path.join(disk, "web-1/all"), { recursive: true });
  pack(OLD, "gz");
  fs.appendFileSync(path.join(source, "etc/hosts"), "10.0.0.1 db\n");
  pack(NEW, "zst");
  // What the disk looked like before, so that it can be said that reading has left nothing.
  fs.mkdirSync(path.join(disk, "web-1/empty"));
}, TIMEOUT_MS);
afterAll(() => {
  tool("chmod", ["-R", "u+w", base]);
  removeTree(base);
});

/** An archive by GNU tar, under the name that ours would have. */
function pack(name: string, ending: "gz" | "zst"): void {
  const how = ending === "gz" ? "--gzip" : "--zstd";
  tool("tar", [
    "-c",
    how,
    "--format=posix",
    "-f",
    path.join(disk, `web-1/all/${name}.tar.${ending}`),
    "-C",
    "/",
    source.slice(1),
  ]);
}

async function nbackup(args: readonly string[], as: readonly string[] = []): Promise<RunResult> {
  const env = { HOME: "/nonexistent", STATE_DIRECTORY: "", LC_ALL: "C", TZ: "UTC" };
  return await run([...as, server, ...args, "--storage-dir", disk], { cwd: base, env });
}

const lines = (text: string): Record<string, unknown>[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const inArchive = (name: string): string => path.join(source.slice(1), name);
const everything = (): string => tool("find", [disk, "-printf", "%p %s %T@ %U\\n"]).toString();

describe("a disk with archives and nothing else", () => {
  test("is listed, searched and read without an index, a record or a right to write, and is left as it was", async () => {
    tool("chmod", ["-R", "a-w", disk]);
    const before = everything();
    const as = isRoot ? NOBODY : [];
    const list = await nbackup(["list", "--json"], as);
    expect(list).toMatchObject({ exitCode: 0, stderr: "" });
    expect(lines(list.stdout)).toEqual(
      [`${NEW}.tar.zst`, `${OLD}.tar.gz`].map(
        (name) =>
          expect.objectContaining({
            ...{
              archive: `web-1/all/${name}`,
              agent: "web-1",
              backup: "all",
              storage: disk,
              entries: null,
              index: false,
            },
          }) as Record<string, unknown>,
      ),
    );
    const ls = await nbackup(["ls", "web-1/all/latest", inArchive("etc/deep")], as);
    expect(ls.exitCode).toBe(0);
    expect(ls.stdout).toEndWith(" \\x1b[31mred\\nname\n");
    expect(ls.stderr).toBe(
      `warning: web-1/all/${NEW}.tar.zst has no index: the archive is read whole; nbackup-server index rebuild web-1/all/${NEW}.tar.zst makes one\n`,
    );
    const find = await nbackup(["find", "hosts", "--json"], as);
    expect(lines(find.stdout).map(({ size, archives }) => [size, archives])).toEqual([
      [32, 1],
      [20, 1],
    ]);
    const diff = await nbackup(["diff", `web-1/all/${OLD}`, "latest"], as);
    expect(diff.stdout).toContain(`M ${inArchive("etc/hosts")}  (size 20 B to 32 B`);
    expect((await nbackup(["cat", "web-1/all/2026-02-11", inArchive("etc/hosts")], as)).stdout).toBe(
      "127.0.0.1 localhost\n",
    );
    expect((await nbackup(["verify", "all"], as)).exitCode).toBe(0);
    const refused = await nbackup(["index", "rebuild", "all"], as);
    expect([refused.exitCode, refused.stderr.split(": ")[0]]).toEqual([1, "E_WRITE"]);
    expect(everything()).toBe(before);
    tool("chmod", ["-R", "u+w", disk]);
  });

  test("gets its indexes by index rebuild, and then one file is read without all of the archive", async () => {
    const rebuilt = await nbackup(["index", "rebuild", "all", "--json"]);
    expect(rebuilt).toMatchObject({ exitCode: 0, stderr: "" });
    const members = tool("tar", ["-tf", path.join(disk, `web-1/all/${OLD}.tar.gz`)])
      .toString()
      .trimEnd()
      .split("\n");
    expect(lines(rebuilt.stdout).map(({ result, entries }) => [result, entries])).toEqual([
      ["rebuilt", members.length],
      ["rebuilt", members.length],
    ]);
    const ls = await nbackup(["ls", "web-1/all/latest", "--recursive"]);
    expect(ls.stderr).toBe("");
    expect(ls.stdout.trimEnd().split("\n")).toHaveLength(members.length);
    expect(lines((await nbackup(["list", "--json"])).stdout)[0]).toMatchObject({
      entries: members.length,
      index: true,
    });
    const again = await nbackup(["index", "rebuild", "web-1/all/latest"]);
    expect(again.stdout).toContain("has a good index already");
  });

  test("is restored, and what is restored is what was there", async () => {
    const target = path.join(base, "target");
    const result = await nbackup(["restore", "web-1/all/latest", "--to", target, "--json"]);
    expect([result.exitCode, result.stderr]).toEqual([0, ""]);
    expect(JSON.parse(result.stdout)).toMatchObject({ archive: `web-1/all/${NEW}.tar.zst`, result: "done" });
    const { differences } = await compareTrees(source, target + source, { skip: [], owners: isRoot });
    expect(differences).toEqual([]);
    const tar = path.join(base, "copy.tar");
    tool("sh", [
      "-c",
      `'${server}' restore web-1/all/latest '${inArchive("etc/hosts")}' --stdout-tar --storage-dir '${disk}' > '${tar}'`,
    ]);
    expect(tool("tar", ["-tf", tar, "--quoting-style=escape"]).toString()).toContain(`${inArchive("etc/hosts")}\n`);
  });

  test("deletes nothing when nobody knows what the backup left out", async () => {
    const target = path.join(base, "target");
    const result = await nbackup(["restore", "web-1/all/latest", "--to", target, "--delete"]);
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toStartWith(
      "E_USAGE: --delete: the index of the archive was made again from the archive itself",
    );
  });

  test("with a damaged index is read all the same, and says what is wrong with it", async () => {
    const index = path.join(disk, `web-1/all/${OLD}.idx`);
    const bytes = fs.readFileSync(index);
    bytes.fill(0, bytes.length - 40);
    fs.writeFileSync(index, bytes);
    const cat = await nbackup(["cat", `web-1/all/${OLD}`, inArchive("etc/hosts")]);
    expect([cat.exitCode, cat.stdout]).toEqual([0, "127.0.0.1 localhost\n"]);
    expect(cat.stderr).toContain("index rebuild");
    const ls = await nbackup(["ls", `web-1/all/${OLD}`, inArchive("etc/hosts")]);
    expect([ls.exitCode, ls.stderr.includes("has a damaged index")]).toEqual([0, true]);
    const rebuilt = await nbackup(["index", "rebuild", `web-1/all/${OLD}`, "--json"]);
    expect(JSON.parse(rebuilt.stdout)).toMatchObject({ result: "rebuilt" });
    expect((await nbackup(["ls", `web-1/all/${OLD}`])).stderr).toBe("");
  });
});

describe("an archive's file", () => {
  test("is read wherever it lies, and so is a plain tar", async () => {
    const plain = path.join(base, "plain.tar");
    tool("tar", ["-cf", plain, "-C", "/", source.slice(1)]);
    const tools = async (...args: string[]): Promise<RunResult> => await run([server, ...args], { cwd: base });
    const ls = await tools("ls", "plain.tar", inArchive("etc/hosts"));
    expect([ls.exitCode, ls.stdout.includes(" 32 ")]).toEqual([0, true]);
    expect((await tools("cat", "./plain.tar", inArchive("etc/hosts"))).stdout).toContain("10.0.0.1 db\n");
    const index = await tools("index", "rebuild", plain);
    expect([index.exitCode, index.stderr.split("\n")[0]]).toEqual([
      1,
      "E_ARCHIVE_FOREIGN: the archive is a tar that is not compressed: it needs no index",
    ]);
    const missing = await tools("verify", "missing.tar.gz");
    expect([missing.exitCode, missing.stderr.split("\n")[0]]).toEqual([
      1,
      "E_ARCHIVE_READ: missing.tar.gz: there is no such file",
    ]);
    const config = await tools("list", "--config", "none.yaml");
    expect([config.exitCode, config.stderr.includes("--storage-dir")]).toEqual([2, true]);
  });
});

describe("an empty storage", () => {
  test("has nothing, and says so", async () => {
    const empty = path.join(base, "nothing");
    fs.mkdirSync(empty);
    const commands: readonly [readonly string[], number, string, string][] = [
      [["list"], 0, "no archives (they are called", ""],
      [["list", "--json"], 0, "", ""],
      [["find", "*"], 1, "", "nothing matches * in 0 archives"],
      [["ls", "web-1/etc/latest"], 1, "", "E_ARCHIVE_UNKNOWN: there is no archive of web-1/etc: "],
      [["verify", "all"], 1, "", "E_ARCHIVE_UNKNOWN: there is no archive: all is none"],
    ];
    for (const [args, exit, stdout, stderr] of commands) {
      const result = await run([server, ...args, "--storage-dir", empty], { cwd: base });
      expect([args, result.exitCode]).toEqual([args, exit]);
      expect(result.stdout).toStartWith(stdout);
      expect(result.stderr).toStartWith(stderr);
    }
    expect(fs.readdirSync(empty)).toEqual([]);
    const gone = await run([server, "list", "--storage-dir", path.join(base, "gone")], { cwd: base });
    expect([gone.exitCode, gone.stdout]).toEqual([1, ""]);
    expect(gone.stderr).toStartWith("E_STORAGE_FAILED: ");
  });
});
