/** The archives of directories on a disk: what is listed of them and from where, what is not, and index rebuild beside them. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import { Failure } from "#base/errors.ts";
import type { ArchiveRequest } from "#cli/archive-command.ts";
import { StorageStock } from "#server/storage-stock.ts";
import { LinuxDisk } from "#store/linux-disk.ts";
import { roots } from "#test/support/archive-kit.ts";
import { EVERYWHERE, runCommand } from "#test/support/command-kit.ts";
import { collect, indexTree, openIndex, type TreeIndex } from "#test/support/index-kit.ts";
import { RUN, SESSION_A } from "#test/support/store-kit.ts";
import { isRoot, makeTempDir, memoryDir, removeTree, run as tool } from "#test/support/tree.ts";

const DISK = new LinuxDisk({
  privileged: false,
  spawnThread: () => {
    throw new Error("no threads here");
  },
});
const NAME = "2026-02-12T02-00-00-123Z";
const TIME_MS = Date.UTC(2026, 1, 12, 2, 0, 0, 123);

let base = "";
let tree: TreeIndex;
beforeEach(() => {
  base = makeTempDir(memoryDir());
  const source = path.join(base, "source");
  fs.mkdirSync(source);
  fs.writeFileSync(path.join(source, "a"), "one");
  fs.writeFileSync(path.join(source, "b"), "two");
  const files = new LinuxSource({ roots: roots(source).map((root) => root.path) });
  tree = indexTree(files, [source]);
});
afterEach(() => removeTree(base));

const at = (...parts: string[]): string => path.join(base, "main", ...parts);

function put(file: string, content: Uint8Array | string = tree.stored): string {
  fs.mkdirSync(path.dirname(at(file)), { recursive: true });
  fs.writeFileSync(at(file), content);
  return at(file);
}

function stock(...names: string[]): StorageStock {
  const storages = names.length === 0 ? ["main"] : names;
  return new StorageStock(
    DISK,
    storages.map((name) => ({ name, baseDir: path.join(base, name) })),
  );
}

function record(archive: string, bytes: number): string {
  const [agent, backup] = archive.split("/");
  const file = { file: 0, chunks: 3, bytes, sha256: "ab".repeat(32), root: "cd".repeat(32) };
  const intent = {
    ...{ session: SESSION_A, agent, backup, run: RUN, archive, files: [file] },
    ...{ entries: 42, rawBytes: 4242, problems: 2, unread: [Buffer.from("/a\xff", "latin1").toString("base64")] },
  };
  return `${JSON.stringify({ type: "commit", committedWallMs: TIME_MS + 61_000, intent })}\n`;
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "nothing was refused",
    (error: unknown) => (error instanceof Failure ? error.toString() : String(error)),
  );
}

describe("the archives of a storage", () => {
  test("are listed by agent and backup, the newest first, and nothing else that lies there is", async () => {
    put(`web-2/etc/${NAME}.tar.zst`);
    for (const time of ["2026-02-11T02-00-00-000Z", NAME]) put(`web-1/home/${time}.tar.gz`);
    put(`web-1/etc/${NAME}.tar.gz`);
    for (const other of ["README", "web-1/etc/notes.txt", "web-1/etc/2026-02-12.tar.gz", ".nbackup/sessions/x"]) {
      put(other, "not an archive");
    }
    fs.symlinkSync(at(`web-1/etc/${NAME}.tar.gz`), at("web-1/etc/2026-02-13T02-00-00-123Z.tar.gz"));
    fs.symlinkSync(at("web-1"), at("web-3"));
    const { rows, failures } = await stock().list({});
    expect(failures).toEqual([]);
    expect(rows.map(({ agent, backup, name }) => `${agent}/${backup}/${name}`)).toEqual([
      `web-1/etc/${NAME}.tar.gz`,
      `web-1/home/${NAME}.tar.gz`,
      "web-1/home/2026-02-11T02-00-00-000Z.tar.gz",
      `web-2/etc/${NAME}.tar.zst`,
    ]);
    expect((await stock().list({ agent: "web-1", backup: "home" })).rows).toHaveLength(2);
    expect((await stock().list({ backup: "etc" })).rows).toHaveLength(2);
    expect((await stock().list({ agent: "web-9" })).rows).toEqual([]);
  });
  test("have what their commit record says, if it is of this file", async () => {
    const archive = `web-1/etc/${NAME}.tar.gz`;
    put(archive);
    put(`${archive}.sha256`, `${"12".repeat(32)}  ${NAME}.tar.gz\n`);
    put(".nbackup/commits.jsonl", `torn\n${record(archive, tree.stored.length)}{"type":"comm`);
    const [row] = (await stock().list({ facts: true })).rows;
    expect(row).toEqual({
      ...{ storage: "main", agent: "web-1", backup: "etc", name: `${NAME}.tar.gz`, timeMs: TIME_MS },
      ...{ archiveBytes: tree.stored.length, entries: 42, rawBytes: 4242, durationMs: 61_000, problems: 2 },
      unread: [Uint8Array.from(Buffer.from("/a\xff", "latin1"))],
      ...{ sha256: "12".repeat(32), hasIndex: false, damage: undefined },
    });
    put(".nbackup/commits.jsonl", record(archive, tree.stored.length + 1));
    expect((await stock().list({ facts: true })).rows[0]).toMatchObject({ entries: undefined, problems: undefined });
  });
  test("that are asked of have what their records say, and the others stay as they are", async () => {
    const archive = `web-1/etc/${NAME}.tar.gz`;
    put(archive);
    put(`web-1/home/${NAME}.tar.gz`);
    put(".nbackup/commits.jsonl", record(archive, tree.stored.length));
    const { rows } = await stock().list({ facts: false });
    expect(await stock().recorded("main", rows)).toEqual([
      {
        ...{ ...(rows[0] ?? expect.unreachable()), entries: 42, rawBytes: 4242, durationMs: 61_000, problems: 2 },
        unread: [new Uint8Array([47, 97, 255])],
      },
      rows[1] ?? expect.unreachable(),
    ]);
  });
  test("have what their index says, where there is no record", async () => {
    put(`web-1/etc/${NAME}.tar.gz`);
    put(`web-1/etc/${NAME}.idx`, tree.bytes);
    expect((await stock().list({ facts: true })).rows[0]).toMatchObject({
      ...{ entries: 3, rawBytes: tree.tar.length, hasIndex: true, durationMs: undefined, problems: undefined },
    });
    put(`web-1/etc/${NAME}.idx`, "damaged");
    expect((await stock().list({ facts: true })).rows[0]).toMatchObject({ entries: undefined, hasIndex: true });
  });
  test("have nothing of an index that is of another archive", async () => {
    const nothing = { entries: undefined, rawBytes: undefined, hasIndex: true };
    put(`web-1/etc/${NAME}.tar.gz`, Buffer.concat([tree.stored, tree.stored]));
    put(`web-1/etc/${NAME}.idx`, tree.bytes);
    expect((await stock().list({ facts: true })).rows[0]).toMatchObject(nothing);
    put(`web-1/etc/${NAME}.tar.gz`, tree.stored.subarray(1));
    expect((await stock().list({ facts: true })).rows[0]).toMatchObject(nothing);
  });
  test("show which were found damaged", async () => {
    put(`web-1/etc/${NAME}.tar.gz`);
    put(`web-1/etc/${NAME}.tar.gz.damaged`, "by hand");
    expect((await stock().list({})).rows[0]?.damage).toBe("it is marked as damaged by somebody");
  });
  test("of one that cannot be looked into are a failure beside the others", async () => {
    put(`web-1/etc/${NAME}.tar.gz`);
    const { rows, failures } = await stock("main", "gone").list({});
    expect(rows).toHaveLength(1);
    expect(failures.map(String)).toEqual([
      `E_STORAGE_FAILED: storage gone: ${path.join(base, "gone")}: there is no such directory`,
    ]);
    expect(await refusal(stock().list({ storage: "other" }))).toBe(
      "E_STORAGE_UNKNOWN: storage other is not known here",
    );
  });
  test("are read as they lie there, also when rotation removes them meanwhile", async () => {
    const file = put(`web-1/etc/${NAME}.tar.gz`);
    put(`web-1/etc/${NAME}.idx`, tree.bytes);
    const one = stock();
    const [row] = (await one.list({})).rows;
    if (row === undefined) throw new Error("no archive");
    const opened = await one.open(row);
    fs.rmSync(file);
    const bytes = new Uint8Array(opened.archive.size);
    expect(await opened.archive.read(bytes, 0)).toBe(tree.stored.length);
    expect(Buffer.from(bytes).equals(tree.stored)).toBe(true);
    expect(opened.index?.size).toBe(tree.bytes.length);
    await opened.close();
    expect(await refusal(one.open(row))).toBe(
      `E_ARCHIVE_UNKNOWN: web-1/etc/${NAME}.tar.gz is gone: rotation may have removed it`,
    );
    fs.symlinkSync("/etc/passwd", file);
    expect(await refusal(one.open(row))).toBe(`E_ARCHIVE_READ: ${file}: ELOOP`);
  });
  test("leave nothing behind where they are looked at", async () => {
    put(`web-1/etc/${NAME}.tar.gz`);
    const before = tool("find", [base]).toString();
    await stock().list({ facts: true });
    expect(tool("find", [base]).toString()).toBe(before);
  });
});

describe("index rebuild", () => {
  const rebuild = (text: string, force = false): ArchiveRequest => ({
    ...{ command: "index", archive: { text, scope: EVERYWHERE }, force, progress: false, json: true },
  });
  const results = (stdout: string): unknown[] =>
    stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { result: unknown }).result);
  const hidden = (directory: string): string[] => fs.readdirSync(at(directory)).filter((name) => name.startsWith("."));

  test("makes the indexes that are missing or damaged, and keeps the good ones", async () => {
    for (const entry of ["etc", "home", "srv"]) put(`web-1/${entry}/${NAME}.tar.gz`);
    put(`web-1/home/${NAME}.idx`, tree.bytes);
    const damaged = new Uint8Array(tree.bytes);
    damaged.fill(0, damaged.length - 200, damaged.length - 100);
    put(`web-1/srv/${NAME}.idx`, damaged);
    const run = await runCommand(rebuild("all"), stock(), { side: "server" });
    expect(run).toMatchObject({ exit: 0, stderr: "" });
    expect(results(run.stdout)).toEqual(["rebuilt", "kept", "rebuilt"]);
    for (const entry of ["etc", "srv"]) {
      const index = await openIndex(fs.readFileSync(at(`web-1/${entry}/${NAME}.idx`)));
      expect(index.header).toMatchObject({ rebuilt: true, archive: `web-1/${entry}/${NAME}.tar.gz` });
      expect(await collect(index.entries())).toHaveLength(3);
      expect(hidden(`web-1/${entry}`)).toEqual([]);
      expect((fs.statSync(at(`web-1/${entry}/${NAME}.idx`)).mode & 0o777).toString(8)).toBe("640");
    }
    expect(fs.readFileSync(at(`web-1/home/${NAME}.idx`)).equals(tree.bytes)).toBe(true);
    expect(results((await runCommand(rebuild("web-1/home/latest", true), stock(), { side: "server" })).stdout)).toEqual(
      ["rebuilt"],
    );
    expect((await openIndex(fs.readFileSync(at(`web-1/home/${NAME}.idx`)))).header.rebuilt).toBe(true);
  });
  test("replaces the index of another archive", async () => {
    put(`web-1/etc/${NAME}.tar.gz`, Buffer.concat([tree.stored, tree.stored]));
    put(`web-1/etc/${NAME}.idx`, tree.bytes);
    const run = await runCommand(rebuild("latest"), stock(), { side: "server" });
    expect(results(run.stdout)).toEqual(["rebuilt"]);
  });
  test("indexes what can be read of a damaged archive, names the rest and exits with 3", async () => {
    const archive = new Uint8Array(tree.stored);
    archive.fill(0xff, 20, 40);
    put(`web-1/etc/${NAME}.tar.gz`, archive);
    const run = await runCommand(rebuild("latest"), stock(), { side: "server" });
    expect(run.exit).toBe(3);
    expect(run.stderr).toContain(`warning: web-1/etc/${NAME}.tar.gz: `);
    expect(fs.existsSync(at(`web-1/etc/${NAME}.idx`))).toBe(true);
  });
  test("leaves nothing when it is interrupted, or when the archive is none", async () => {
    put(`web-1/etc/${NAME}.tar.gz`);
    const stop = new AbortController();
    stop.abort();
    const request = rebuild(`web-1/etc/${NAME}`);
    const run = await runCommand(request, stock(), { side: "server", signal: stop.signal });
    expect(run.exit).toBe("E_INTERRUPTED: interrupted");
    put(`web-1/etc/${NAME}.tar.gz`, "this is no archive");
    expect((await runCommand(request, stock(), { side: "server" })).exit).toStartWith("E_ARCHIVE_FOREIGN");
    expect(fs.readdirSync(at("web-1/etc"))).toEqual([`${NAME}.tar.gz`]);
  });
  test("makes one of a .tar.gz that GNU tar wrote, named by its file, and never over somebody's own file", async () => {
    const archive = put("foreign.tar.gz", "");
    tool("tar", ["-czf", archive, "-C", base, "source"]);
    const index = put("foreign.idx", "my notes");
    const refused = await runCommand(rebuild(archive), stock(), { side: "server" });
    expect(refused.exit).toBe(`E_WRITE: ${index} is no index, and is not replaced`);
    expect(fs.readFileSync(index, "utf8")).toBe("my notes");
    fs.rmSync(index);
    const run = await runCommand(rebuild(archive), stock(), { side: "server" });
    expect(JSON.parse(run.stdout)).toMatchObject({ archive, index, result: "rebuilt", entries: 3, damageCount: 0 });
    expect((await openIndex(fs.readFileSync(index))).totals.entries).toBe(3);
  });
  test("run by root belongs to the owner of the directory", async () => {
    if (!isRoot) {
      console.log("not tried: only root can give files away");
      return;
    }
    const archive = put("theirs/foreign.tar.gz", "");
    tool("tar", ["-czf", archive, "-C", base, "source"]);
    fs.chownSync(at("theirs"), 1234, 2345);
    await runCommand(rebuild(archive), stock(), { side: "server", uid: 0 });
    const { uid, gid } = fs.statSync(at("theirs/foreign.idx"));
    expect([uid, gid]).toEqual([1234, 2345]);
  });
});
