/** `--delete`: what the archive does not have goes, and nothing that the backup would not have looked at. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import type { IndexHeader } from "#archive/index-format.ts";
import { deletionRules } from "#restore/deletion.ts";
import { openIndexed } from "#restore/index-open.ts";
import { planFor } from "#restore/index-plan.ts";
import type { TreeIndex } from "#test/support/index-kit.ts";
import { refusalOf } from "#test/support/index-kit.ts";
import { archiveTree, type IndexChange, rewriteIndex } from "#test/support/restore-index-kit.ts";
import { MemoryAccess, restoreJob, runInline } from "#test/support/restore-run.ts";
import { isRoot, makeTempDir, memoryDir, removeTree, run } from "#test/support/tree.ts";

let dir: string;
let source: string;
let target: string;
beforeEach(() => {
  dir = makeTempDir(memoryDir());
  source = path.join(dir, "source");
  target = path.join(dir, "target");
  fs.mkdirSync(target);
  write(source, "a/keep", "a/sub/keep", "b/keep", "empty/");
});
afterEach(() => removeTree(dir));

/** Files, and directories for names that end with a slash. */
function write(base: string, ...names: readonly string[]): void {
  for (const name of names) {
    const file = path.join(base, name);
    fs.mkdirSync(name.endsWith("/") ? file : path.dirname(file), { recursive: true });
    if (!name.endsWith("/")) fs.writeFileSync(file, name);
  }
}

const restored = (): string => path.join(target, source);
const inArchive = (name: string): string => path.join(source, name).slice(1);

function makeArchive(header: Partial<IndexHeader> = {}, options: Parameters<typeof archiveTree>[2] = {}): TreeIndex {
  const ordered = { exclude: [], oneFileSystem: false, excludeCaches: false, excludeIfPresent: [] };
  return archiveTree(source, "gzip", { ...options, header: { sources: [source], ...ordered, ...header } });
}

interface Run {
  readonly paths?: readonly string[];
  readonly problems?: number | undefined;
  readonly unread?: readonly string[];
  readonly change?: IndexChange;
  readonly dryRun?: boolean;
}

/** Gives the names below the target's copy of the source, and how many were deleted. */
async function restore(
  made: TreeIndex,
  options: Run = {},
): Promise<{ readonly left: string[]; readonly deleted: number }> {
  const { paths = [], change = {}, dryRun = false } = options;
  const problems = "problems" in options ? options.problems : 0;
  const access = new MemoryAccess(made.stored);
  const index = await rewriteIndex(made.bytes, change);
  const wanted = paths.map((one) => Buffer.from(one));
  const plan = await planFor(await openIndexed(access, new MemoryAccess(index)), wanted);
  const record = { problems, unread: options.unread?.map((one) => Buffer.from(one)) };
  const deleteExcept = await deletionRules(plan, wanted, record, target);
  const job = restoreJob(target, { paths: wanted, deleteExcept, dryRun });
  const { report } = await runInline(access, job, plan);
  expect(report.problems).toEqual([]);
  return { left: fs.readdirSync(restored(), { recursive: true }).map(String).sort(), deleted: report.counts.deleted };
}

const WHOLE = ["a", "a/keep", "a/sub", "a/sub/keep", "b", "b/keep", "empty"];

describe("what the archive does not have", () => {
  test("goes, with all below it", async () => {
    const made = makeArchive();
    write(restored(), "new", "a/new", "a/new-directory/deep/file", "empty/new");
    expect(await restore(made)).toEqual({ left: WHOLE, deleted: 6 });
  });
  test("goes below the restored paths only", async () => {
    const made = makeArchive();
    write(restored(), "new", "a/new", "b/new");
    expect((await restore(made, { paths: [inArchive("a")] })).left).toEqual([
      "a",
      "a/keep",
      "a/sub",
      "a/sub/keep",
      "b",
      "b/new",
      "new",
    ]);
  });
  test("not a hard link whose content comes in a second pass: it is in the archive", async () => {
    fs.linkSync(path.join(source, "a/keep"), path.join(source, "b/link"));
    const made = makeArchive();
    write(restored(), "b/link", "b/later");
    expect(await restore(made, { paths: [inArchive("b")] })).toMatchObject({ deleted: 1 });
    expect(fs.readFileSync(path.join(restored(), "b/link"), "utf8")).toBe("a/keep");
  });
  test("is only counted in a dry run", async () => {
    const made = makeArchive();
    write(restored(), ...WHOLE.filter((name) => name.includes("keep")), "empty/", "a/new");
    expect(await restore(made, { dryRun: true })).toEqual({ left: [...WHOLE, "a/new"].sort(), deleted: 1 });
  });
});

describe("what the backup would have left out stays:", () => {
  test("by patterns, absolute ones and those of directories too, wherever it is restored to", async () => {
    const exclude = ["*.log", `${source}/a/tmp`, "cache/", "!keep.log"];
    const made = makeArchive({ exclude }, { exclude });
    const extra = ["x.log", "keep.log", "a/tmp/file", "a/sub/tmp", "b/cache/file", "b/cache2"];
    write(restored(), ...extra);
    const left = [...WHOLE, "a/tmp", "a/tmp/file", "b/cache", "b/cache/file", "x.log"].sort();
    expect((await restore(made)).left).toEqual(left);
  });
  test("in directories with a mark, at the target and in the archive", async () => {
    write(source, "b/.nobackup", "c/CACHEDIR.TAG");
    fs.writeFileSync(path.join(source, "c/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55");
    const rules = { excludeCaches: true, excludeIfPresent: [".nobackup"] };
    const made = makeArchive(rules, { rules });
    write(restored(), "b/new", "c/new", "a/d/.nobackup", "a/d/file", "a/e/file");
    const { left } = await restore(made);
    const marked = ["b/.nobackup", "b/new", "c", "c/CACHEDIR.TAG", "c/new", "a/d", "a/d/.nobackup", "a/d/file"];
    // A marked directory in the archive has only its mark.
    expect(left).toEqual([...WHOLE.filter((name) => name !== "b/keep"), ...marked].sort());
  });
  test("not in the source itself, whatever marks it", async () => {
    write(source, ".nobackup");
    const made = makeArchive({ excludeIfPresent: [".nobackup"] });
    write(restored(), "new");
    expect((await restore(made)).left).toEqual([".nobackup", ...WHOLE]);
  });
  test("sockets, which no backup has, and the directories that they are in", async () => {
    const made = makeArchive();
    write(restored(), "a/new", "run/new", "run/deep/");
    const listen = (name: string): { stop(now: boolean): void } =>
      Bun.listen({ unix: path.join(restored(), name), socket: { data: () => undefined } });
    const servers = [listen("a/s"), listen("run/deep/s")];
    const { left } = await restore(made);
    for (const server of servers) server.stop(true);
    expect(left).toEqual([...WHOLE, "a/s", "run", "run/deep", "run/deep/s"].sort());
  });
  test("what the backup could not read, and all below it; the rest goes", async () => {
    const made = makeArchive();
    const extra = ["a/closed", "a/closed2", "b/dir/deep/file", "b/dir2/file", "c/other"];
    write(restored(), ...extra);
    const unread = ["a/closed", "b/dir/deep"].map((name) => path.join(source, name));
    const { left, deleted } = await restore(made, { problems: 2, unread });
    expect(left).toEqual([...WHOLE, "a/closed", "b/dir", "b/dir/deep", "b/dir/deep/file"].sort());
    expect(deleted).toBe(5);
  });
  test("in what was a mount point, of which the archive has nothing", async () => {
    const made = makeArchive({ oneFileSystem: true });
    write(restored(), "empty/under", "a/new");
    const change: IndexChange = {
      entries: (all) =>
        all.map((entry) =>
          Buffer.from(entry.path).toString() === inArchive("empty") && entry.live !== undefined
            ? { ...entry, live: { ...entry.live, dev: entry.live.dev + 1n } }
            : entry,
        ),
    };
    expect((await restore(made, { change })).left).toEqual([...WHOLE, "empty/under"].sort());
    expect((await restore(made, { change, paths: [inArchive("empty")] })).left).toContain("empty/under");
  });
  test("on another filesystem, when the backup stayed on its own", async () => {
    const made = makeArchive({ oneFileSystem: true });
    write(restored(), "empty/", "a/new/");
    const mounted = [path.join(restored(), "empty"), path.join(restored(), "a/new")];
    if (!isRoot || Bun.spawnSync(["mount", "-t", "tmpfs", "none", mounted[0] ?? ""]).exitCode !== 0) {
      console.log("skipped: mounting needs root");
      return;
    }
    run("mount", ["-t", "tmpfs", "none", mounted[1] ?? ""]);
    try {
      write(restored(), "empty/theirs", "a/new/theirs", "b/new");
      expect((await restore(made)).left).toEqual([...WHOLE, "a/new", "a/new/theirs", "empty/theirs"].sort());
    } finally {
      for (const one of mounted) run("umount", [one]);
    }
  });
});

describe("nothing may be deleted", () => {
  const refused = async (made: TreeIndex, change: IndexChange | undefined): Promise<string> => {
    const access = new MemoryAccess(made.stored);
    const index = change === undefined ? undefined : new MemoryAccess(await rewriteIndex(made.bytes, change));
    const plan = await planFor(await openIndexed(access, index), []);
    return await refusalOf(deletionRules(plan, [], { problems: 0 }, target));
  };
  test("without an index, with a rebuilt one, with one that does not know, with one that is not believed", async () => {
    const made = makeArchive();
    const nobody = "so nobody knows what the backup left out";
    expect(await refused(made, undefined)).toBe(`E_USAGE: --delete: the archive has no index, ${nobody}`);
    expect(await refused(made, { header: { rebuilt: true } })).toContain("was made again from the archive itself");
    expect(await refused(made, { header: { exclude: undefined } })).toContain("does not say what was backed up");
    expect(await refused(made, { chunks: (all) => all.slice(1) })).toContain("cannot be believed");
  });
  test("when something that could not be read is no longer in its place, whatever is restored", async () => {
    const made = makeArchive();
    const unread = ["b/here", "b/moved"].map((name) => path.join(source, name));
    write(restored(), "b/here", "a/moved");
    const refusal = await refusalOf(restore(made, { problems: 2, unread, paths: [inArchive("a")] }));
    expect(refusal).toBe(
      `E_USAGE: --delete: the backup could not read ${restored()}/b/moved, and nothing is there now (ENOENT): it may have another name, and is in no archive`,
    );
    expect(fs.readdirSync(path.join(restored(), "a"))).toEqual(["moved"]);
    fs.symlinkSync("nowhere", path.join(restored(), "b/moved"));
    expect((await restore(made, { problems: 2, unread, paths: [inArchive("a")] })).deleted).toBe(1);
  });
  test("by a backup that could not read everything, or of which nobody knows", async () => {
    // It is in the source, and was left out: as a file is that only root can open.
    const made = makeArchive({}, { exclude: ["secret"] });
    write(restored(), "a/secret", "empty/secret");
    const refusals: string[] = [];
    for (const problems of [1, 2, undefined]) refusals.push(await refusalOf(restore(made, { problems })));
    expect(refusals).toEqual([
      "E_USAGE: --delete: the backup could not take 1 path as it should, so what the archive does not have may have been there",
      "E_USAGE: --delete: the backup could not take 2 paths as it should, so what the archive does not have may have been there",
      "E_USAGE: --delete: nothing says whether the backup could read everything, so nobody knows what the backup left out",
    ]);
    expect(fs.existsSync(path.join(restored(), "a/secret"))).toBe(true);
  });
  test("but a file that changed while it was read is in the archive, and hides nothing", async () => {
    const made = makeArchive();
    write(restored(), "a/new");
    const change: IndexChange = {
      entries: (all) =>
        all.map((entry) =>
          Buffer.from(entry.path).toString() === inArchive("a/keep") ? { ...entry, changed: true, short: true } : entry,
        ),
    };
    expect(await restore(made, { change, problems: 1 })).toEqual({ left: WHOLE, deleted: 1 });
    expect(await refusalOf(restore(made, { change, problems: 2 }))).toContain("could not take 1 path");
  });
  test("once the archive has contradicted its index", async () => {
    const made = makeArchive();
    write(restored(), "new", "a/new");
    const change: IndexChange = { chunks: (all) => all.map((chunk) => ({ ...chunk, crc: 1 })) };
    expect((await restore(made, { change })).deleted).toBe(0);
  });
});
