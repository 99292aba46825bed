/** A restore into a directory that takes new names and gives none back (`chattr +a`): what is left of it there is named. */
import { afterAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { restoreProblemsText } from "#cli/restore-report.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { MemoryAccess, restoreJob, runInline } from "#test/support/restore-run.ts";
import { isRoot, makeTempDir, removeTree, run } from "#test/support/tree.ts";

const dir = makeTempDir();
const source = path.join(dir, "source");
const target = path.join(dir, "target");
const into = path.join(target, source);
const TEMPORARY = ".nbackup-test.tmp";

function problemHere(): string | undefined {
  if (!isRoot) return "this is not root";
  if (Bun.which("chattr") === null) return "not installed: chattr";
  fs.mkdirSync(into, { recursive: true });
  try {
    run("chattr", ["+a", into]);
    return undefined;
  } catch (error) {
    return `the filesystem of ${dir} has no such flag: ${String(error).trim()}`;
  }
}

const problem = problemHere();
if (problem !== undefined) console.log(`Not tried with a directory that only takes names: ${problem}`);

afterAll(() => {
  if (problem === undefined) run("chattr", ["-a", into]);
  removeTree(dir);
});

describe.skipIf(problem !== undefined)("into a directory that lets nothing be renamed or removed", () => {
  test("a restore names what it leaves there once, and each file that is not restored with the reason", async () => {
    fs.mkdirSync(path.join(source, "z"), { recursive: true });
    for (const name of ["a", "b", "z/file"]) fs.writeFileSync(path.join(source, name), name);
    fs.linkSync(path.join(source, "b"), path.join(source, "c"));
    fs.symlinkSync("a", path.join(source, "link"));
    const access = new MemoryAccess(readFiles([source]).tar);
    const { report, aborted } = await runInline(access, restoreJob(target));
    const lines = restoreProblemsText({
      ...{ archive: "x", target, dryRun: false, interrupted: aborted, durationMs: 1, sumDiffers: false },
      ...{ ...report, ...report.counts },
    }).split("\n");
    const at = (name: string): string => path.join(source, name).slice(1);
    expect(lines.filter((line) => !line.includes("but not its"))).toEqual([
      `warning: ${at("a")}: could not be restored (EPERM)`,
      `warning: ${at(TEMPORARY)}: is a temporary file of this restore, which could not be removed: it is left there (EPERM)`,
      ...["b", "link", "c"].map((name) => `warning: ${at(name)}: could not be restored (EPERM)`),
      "",
    ]);
    expect(fs.readdirSync(into).toSorted()).toEqual([TEMPORARY, "z"]);
    expect(fs.readFileSync(path.join(into, "z/file"), "utf8")).toBe("z/file");
  });
});
