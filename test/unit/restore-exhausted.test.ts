/** A restore in a process that can open only some more files: it restores all, or says what it lacked; never that some of the files are at fault. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { readFiles } from "#test/support/archive-kit.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const dir = makeTempDir(memoryDir());
const source = path.join(dir, "source");
/** More directories than a restore keeps open: some are opened again on the way back. */
const DEPTH = 70;
/** Numbers of descriptors that are free in turn: too few for the first directories, and those around what all of them take. */
const SPARES = [...Array.from({ length: 9 }, (_, i) => i), ...Array.from({ length: 16 }, (_, i) => DEPTH - 8 + i)];

beforeAll(() => {
  for (const name of ["a", "b/c", "z"]) mkdirSync(path.join(source, name), { recursive: true });
  for (const name of ["a/f", "b/c/f", "z/f"]) writeFileSync(path.join(source, name), name);
  const deep = path.join(source, "b", ...Array.from({ length: DEPTH }, () => "d"));
  mkdirSync(deep, { recursive: true });
  writeFileSync(path.join(deep, "f"), "deep");
  writeFileSync(path.join(dir, "archive.tar"), readFiles([source]).tar);
});
afterAll(() => removeTree(dir));

/** Something that the archive does not have lies in each of the deep directories. */
const HEAD = `
  import * as fs from "node:fs";
  import path from "node:path";
  const hold = (): number[] => {
    const held: number[] = [];
    try { for (;;) held.push(fs.openSync("/dev/null", "r")); } catch { return held; }
  };
  const fill = (target: string, source: string, depth: number): void => {
    fs.rmSync(target, { recursive: true, force: true });
    for (let at = path.join(target, source, "b"), i = 0; i < depth; i += 1) {
      at = path.join(at, "d");
      fs.mkdirSync(path.join(at, "gone/gone"), { recursive: true });
    }
  };
`;

/** For each number of descriptors that are free: how a restore into a tree with something to delete ends, and what it leaves. */
const SCRIPT = `${HEAD}
  import { MemoryAccess, restoreJob, runInline } from "#test/support/restore-run.ts";
  const [dir = "", source = "", spares = "[]"] = process.argv.slice(1);
  const archive = new MemoryAccess(fs.readFileSync(path.join(dir, "archive.tar")));
  const target = path.join(dir, "target");
  const rules = { sources: [Buffer.from(source.slice(1))], exclude: [], marks: [], oneFileSystem: false, mountPoints: [], unread: [] };
  const run = async (overwrite: "always" | "if-changed"): Promise<string> => {
    try {
      const { report } = await runInline(archive, restoreJob(target, { overwrite, deleteExcept: rules }));
      return JSON.stringify([report.problemCount, report.counts.deleted]);
    } catch (error) {
      return String(error);
    }
  };
  const names = (): string[] => fs.readdirSync(target, { recursive: true }).map(String);
  fill(target, source, ${DEPTH});
  await run("always");
  const ends = [];
  for (const spare of JSON.parse(spares)) {
    fill(target, source, ${DEPTH});
    const held = hold();
    for (const fd of held.splice(0, spare)) fs.closeSync(fd);
    const end = await run("always");
    const more = hold();
    for (const fd of [...held, ...more]) fs.closeSync(fd);
    const temporary = names().filter((name) => name.endsWith(".tmp")).length;
    const again = await run("if-changed");
    ends.push({ spare, end, leaked: spare - more.length, temporary, again: JSON.parse(again)[0], count: names().length });
  }
  console.log(JSON.stringify(ends));
`;

/** Of the deep directories the first that is still open when the last one is: what lies above is opened again when this is left. */
const LAST_OPEN = DEPTH - 63;

/** Others take what has become free just before a restore leaves that directory. */
const WAY_BACK = `${HEAD}
  import { openArchiveFile } from "#restore/file-access.ts";
  import { TarFeed } from "#restore/tar-feed.ts";
  import { Selection } from "#restore/selection.ts";
  import { TreeWriter } from "#restore/tree-writer.ts";
  const [dir = "", source = ""] = process.argv.slice(1);
  const tar = fs.readFileSync(path.join(dir, "archive.tar"));
  const target = path.join(dir, "target");
  fill(target, source, ${DEPTH});
  const held: number[] = [];
  const problems: string[] = [];
  const writer = new TreeWriter({
    ...{ target: Buffer.from(target), selection: new Selection([]), overwrite: "always", stripComponents: 0, dryRun: false },
    deletion: { mayDelete: () => true, mayClear: ({ path }) => Buffer.from(path).toString().endsWith("/b${"/d".repeat(LAST_OPEN)}"), isSource: () => true, marks: [] },
    metadata: { privileged: false, owners: false, uid: 0, gids: new Set(), userId: () => undefined, groupId: () => undefined },
    ...{ temporaryName: ".test.tmp", startedSeconds: 0 },
    problem: (path, reason, errno) => void problems.push(path + " " + reason + " " + errno),
    removed: () => void held.push(...hold()),
  });
  const failure = (work: () => unknown): string => {
    try { return String(work()); } catch (error) { return String(error); }
  };
  const end = failure(() => new TarFeed(writer).push(tar, undefined));
  held.push(...hold());
  const archive = failure(() => openArchiveFile(path.join(dir, "archive.tar")));
  writer.abort();
  console.log(JSON.stringify({ end, problems, archive }));
`;

interface End {
  readonly spare: number;
  /** A failure, or how many problems there were and how much was deleted. */
  readonly end: string;
  /** Descriptors that it left open. */
  readonly leaked: number;
  /** Files under its temporary name that it left. */
  readonly temporary: number;
  /** Problems of a second run, with all descriptors. */
  readonly again: number;
  /** Names in the target at last. */
  readonly count: number;
}

function inProcess(script: string, ...args: readonly string[]): unknown {
  const command = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", process.execPath, "-e", script, dir, source];
  const { stdout, stderr } = Bun.spawnSync([...command, ...args], { cwd: path.resolve(import.meta.dir, "../..") });
  if (stdout.length === 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString());
}

const FAILED = "E_EXHAUSTED: this process may open no more files (open: EMFILE)";

test("whatever it can open, it restores all or fails with what it lacked, and a second run goes on from there", () => {
  const ends = inProcess(SCRIPT, JSON.stringify(SPARES)) as readonly End[];
  const whole = ends.filter(({ end }) => end !== FAILED);
  expect(whole.length).toBeGreaterThan(0);
  expect(whole.length).toBeLessThan(ends.length);
  const few = whole[0]?.spare ?? 0;
  const count = ends.at(-1)?.count ?? 0;
  const wanted = SPARES.map((spare) => ({ spare, end: spare < few ? FAILED : `[0,${2 * DEPTH}]` }));
  expect(ends).toEqual(wanted.map((end) => ({ ...end, leaked: 0, temporary: 0, again: 0, count })));
}, 60_000);

test("a directory that cannot be opened again on the way back fails it too, and nothing on the way out does so again", () => {
  expect(inProcess(WAY_BACK)).toEqual({ end: FAILED, problems: [], archive: FAILED });
});
