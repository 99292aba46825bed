/** A process or machine that has no descriptors or memory left says nothing of the files: the reading ends, and nothing is a problem of a file. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { dispensable, failedCall, SourceError } from "#archive/source.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { readChunks } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { makeTempDir, removeTree } from "#test/support/tree.ts";

const dir = makeTempDir();
afterAll(() => removeTree(dir));

describe("a failed call", () => {
  test.each([
    ["EMFILE", "LimitNOFILE"],
    ["ENFILE", "fs.file-max"],
    ["ENOMEM", "memory"],
  ])("fails the run with %s, and the hint says %s", (errno, hint) => {
    const error = failedCall(errno, "open");
    expect([error instanceof Failure, toFailure(error).code]).toEqual([true, "E_EXHAUSTED"]);
    expect(toFailure(error).hint).toContain(hint);
    expect(error.message).toContain(`(open: ${errno})`);
    expect(() => dispensable(new SourceError(errno, "open"), "open")).toThrow(error.message);
  });
  test.each([["EACCES"], ["EIO"], ["ENOSPC"], ["ESTALE"]])("tells of the file with %s", (errno) => {
    expect(failedCall(errno, "open")).toBeInstanceOf(SourceError);
    expect(dispensable(new SourceError(errno, "open"), "open")).toBe(errno);
  });
});

describe("reading a tree", () => {
  const hooks = ["lstat", "names", "open", "read", "xattrs"] as const;
  test.each(hooks.map((hook) => [hook] as const))("ends where %s finds the machine exhausted", (hook) => {
    const source = new MemorySource();
    for (const name of ["a", "b", "c"]) source.file(`/s/d/${name}`, new Uint8Array(100));
    expect(readChunks(source, ["/s"]).problems).toEqual([]);
    source.hooks[hook] = (at) => {
      if (at.startsWith("/s/d")) throw failedCall("EMFILE", hook);
    };
    expect(() => readChunks(source, ["/s"])).toThrow(`this process may open no more files (${hook}: EMFILE)`);
  });
});

/** Opens files until none can be opened, gives `spare` back, and tells how reading the tree and looking at it end. */
const SCRIPT = `
  import { closeSync, openSync } from "node:fs";
  import { linuxFilesystemOf } from "#archive/linux-filesystem.ts";
  import { LinuxSource } from "#archive/linux-source.ts";
  import { checkSources } from "#archive/source-roots.ts";
  import { readChunks, roots } from "#test/support/archive-kit.ts";
  const [tree = "", spare = "0"] = process.argv.slice(1);
  const look = (call: () => unknown): string => {
    try { return JSON.stringify(call()); } catch (error) { return String(error); }
  };
  const source = (): LinuxSource => new LinuxSource({ roots: roots(tree).map((root) => root.path) });
  const calls = {
    filesystem: () => linuxFilesystemOf(Buffer.from(tree)),
    checkSources: () => checkSources(source(), roots(tree)),
    readChunks: () => readChunks(source(), [tree]).problems,
  };
  for (const call of Object.values(calls)) look(call);
  const held: number[] = [];
  try { for (;;) held.push(openSync("/dev/null", "r")); } catch { /* None is left. */ }
  for (const fd of held.splice(0, Number(spare))) closeSync(fd);
  const results = Object.entries(calls).map(([name, call]) => [name, look(call)]);
  for (const fd of held) closeSync(fd);
  console.log(JSON.stringify(Object.fromEntries(results)));
`;

function exhausted(spare: number): Readonly<Record<string, string>> {
  const tree = path.join(dir, "tree");
  mkdirSync(path.join(tree, "a/b/c/d"), { recursive: true });
  for (const name of ["a/f", "a/b/f", "a/b/c/f", "a/b/c/d/f"]) writeFileSync(path.join(tree, name), "content");
  const root = path.resolve(import.meta.dir, "../..");
  const command = ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh", process.execPath, "-e", SCRIPT, tree, String(spare)];
  const { stdout, stderr } = Bun.spawnSync(command, { cwd: root });
  if (stdout.length === 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString());
}

describe("a process at its limit of open files", () => {
  const failure = (call: string) => `E_EXHAUSTED: this process may open no more files (${call}: EMFILE)`;
  test("reads no tree", () => {
    expect(exhausted(0)).toEqual({
      readChunks: failure("open"),
      checkSources: failure("open"),
      filesystem: failure("open"),
    });
  });
  test("reads none to the half", () => {
    const { checkSources, readChunks } = exhausted(4);
    expect(checkSources).toStartWith("[");
    expect(readChunks).toBe(failure("open"));
  });
});
