/**
 * The compiled server looks into archives that a real agent made, while it serves: what it lists is what GNU tar lists, and what was
 * backed up; what it restores is what GNU tar restores.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { compareTrees } from "#scripts/lib/compare-trees.ts";
import { run, type RunResult } from "#scripts/lib/run.ts";
import { restore as tarRestore } from "#test/support/gnu-tar.ts";
import { AGENT, type OnceJson, Site } from "#test/support/site.ts";
import { makeTortureTree, run as tool } from "#test/support/tree.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let config = "";
let source = "";
/** The tree as the first backup found it. */
let before = "";
let first: OnceJson;
let second: OnceJson;

beforeAll(async () => {
  site = await Site.make();
  source = site.at("source");
  makeTortureTree(source);
  fs.writeFileSync(path.join(source, "report.txt"), "first\n");
  const { file, port } = await site.serverConfig();
  config = file;
  await site.startServer({ port });
  const backUp = async (): Promise<OnceJson> => {
    const backups = [{ name: "tree", storage: "main", sources: [{ path: source }] }];
    const [report] = (await site.once({ port, backups })).reports;
    if (report === undefined) throw new Error("no report");
    return report;
  };
  first = await backUp();
  before = site.at("before");
  tool("cp", ["-a", source, before]);
  fs.appendFileSync(path.join(source, "report.txt"), "second\n");
  fs.rmSync(path.join(source, "sizes/700000"));
  fs.writeFileSync(path.join(source, "new.txt"), "new\n");
  second = await backUp();
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

async function nbackup(...args: string[]): Promise<RunResult> {
  return await run([site.executables.server, ...args, "--config", config], { cwd: site.at("cwd") });
}

/** By the shell, which sees how each part of a pipe ended. */
async function shell(script: string): Promise<RunResult> {
  const command = `nbackup() { '${site.executables.server}' "$@" --config '${config}'; }; ${script}`;
  return await run(["bash", "-c", command], { cwd: site.at("cwd") });
}

function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const timeOf = ({ archive }: OnceJson): string => path.basename(archive ?? "").replace(".tar.gz", "");
const fileOf = ({ archive }: OnceJson): string => site.at("storage/main", archive ?? "");
const inArchive = (name: string): string => path.join(source.slice(1), name);

describe("nbackup-server list", () => {
  test("says of each archive what its backup said, the newest first", async () => {
    const { stdout, stderr, exitCode } = await nbackup("list", "--json");
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
    expect(jsonLines(stdout)).toEqual(
      [second, first].map((report) => ({
        ...{ archive: report.archive, storage: "main", agent: AGENT, backup: "tree", index: true, damage: null },
        ...{ time: expect.any(String) as string, archiveBytes: report.archiveBytes, entries: report.entries },
        ...{ rawBytes: report.rawBytes, problems: report.skipped.length, sha256: report.sha256 },
        durationMs: expect.any(Number) as number,
      })),
    );
  });
  test("shows a table, whose TIME names the archive", async () => {
    const { stdout } = await nbackup("list", AGENT);
    const [heading = "", row = ""] = stdout.split("\n");
    expect(heading).toStartWith("AGENT  BACKUP  TIME");
    const [agent, backup, time] = row.split(/ +/);
    expect([agent, backup, time]).toEqual([AGENT, "tree", timeOf(second)]);
    const { exitCode } = await nbackup("ls", `${agent}/${backup}/${time}`);
    expect(exitCode).toBe(0);
  });
});

describe("nbackup-server ls", () => {
  test("lists what GNU tar lists, and the names are those of the source, whatever their bytes", async () => {
    const { stdout, stderr, exitCode } = await nbackup("ls", `${AGENT}/tree/${timeOf(second)}`, "--recursive");
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
    // GNU tar says the size of a link's target as its own, and shows hard links as links with the size 0.
    const columns = (line: string): string => line.split(/ +/).slice(0, 5).join(" ").replace(/Z$/, "");
    const tar = tool("tar", ["-tvf", fileOf(second), "--full-time", "--numeric-owner", "--quoting-style=escape"]);
    const theirs = tar
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => columns(line.replace(/(:\d\d)\.\d+ /, "$1 ")));
    expect(stdout.trimEnd().split("\n").map(columns)).toEqual(theirs);
    const json = await nbackup("ls", `${AGENT}/tree/latest`, "--recursive", "--json");
    const names = jsonLines(json.stdout).map(
      (entry) =>
        Buffer.from(String(entry["pathBase64"] ?? ""), "base64").toString("latin1") ||
        Buffer.from(String(entry["path"])).toString("latin1"),
    );
    const onDisk = tool("find", [source, "-print0"])
      .toString("latin1")
      .split("\0")
      .filter((name) => name !== "");
    expect(names.toSorted()).toEqual(onDisk.map((name) => name.slice(1)).toSorted());
    // Nothing that drives a terminal.
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
  });
  test("takes paths as they are written, and as bytes that are no text", async () => {
    const name = Buffer.concat([Buffer.from(`${source}/names/`), Buffer.from("caf\xe9", "latin1")]);
    const child = await shell(`nbackup cat ${AGENT}/tree/latest "$(printf '${escaped(name)}')"`);
    expect(child).toEqual({ exitCode: 0, stdout: fs.readFileSync(name, "utf8"), stderr: "" });
    const listed = await nbackup("ls", `${AGENT}/tree/latest`, `${source}/report.txt`);
    expect(listed.stdout).toEndWith(` ${inArchive("report.txt")}\n`);
    expect((await nbackup("ls", `${AGENT}/tree/latest`, "no/such/path")).exitCode).toBe(1);
  });
  test("ends quietly when nobody reads on", async () => {
    const commands = [
      `ls ${AGENT}/tree/latest --recursive`,
      `ls ${AGENT}/tree/latest --recursive --json`,
      `find '**'`,
      `restore ${AGENT}/tree/latest --stdout-tar`,
      "verify all",
      "scrub --all",
      `cat ${AGENT}/tree/latest ${inArchive("sizes/200000")}`,
    ];
    for (const command of commands) {
      // More than a pipe holds, or the reader is gone before the first byte.
      const { stdout, stderr } = await shell(`nbackup ${command} | exec 0<&-; echo "\${PIPESTATUS[0]}"`);
      expect([command, stdout.trim(), stderr]).toEqual([command, "141", ""]);
    }
  });
  test.each(["SIGINT", "SIGHUP"] as const)(
    "ends with 130 and a clean line when %s comes while nobody reads",
    async (signal) => {
      const fifo = site.at(`fifo-${signal}`);
      tool("mkfifo", [fifo]);
      const command = [site.executables.server, "find", "**", "--json", "--config", config];
      const listing = Bun.spawn(["sh", "-c", `exec "$@" > '${fifo}'`, "sh", ...command], { stderr: "pipe" });
      const reader = await fs.promises.open(fifo, "r");
      try {
        // It has begun, and stands still as soon as the pipe is full.
        await reader.read(new Uint8Array(1), 0, 1);
        listing.kill(signal);
        expect(await listing.exited).toBe(130);
        expect(await new Response(listing.stderr).text()).toBe(
          "E_INTERRUPTED: interrupted\nHINT: The run was interrupted; run it again.\n",
        );
      } finally {
        await reader.close();
      }
    },
  );
});

/** For printf. */
function escaped(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

describe("nbackup-server find and diff", () => {
  test("find says which archives have which version", async () => {
    const { stdout, exitCode } = await nbackup("find", "report.txt", "--json");
    expect(exitCode).toBe(0);
    const [newest, oldest] = jsonLines(stdout);
    expect(newest).toMatchObject({
      path: inArchive("report.txt"),
      size: 13,
      archives: 1,
      agent: AGENT,
      backup: "tree",
    });
    expect(newest?.["first"]).toBe(path.basename(second.archive ?? ""));
    expect(newest?.["changed"]).toContain("size");
    expect(oldest).toMatchObject({ size: 6, last: path.basename(first.archive ?? ""), changed: [] });
    const unchanged = jsonLines((await nbackup("find", "/**/sizes/65*", "--json")).stdout);
    expect(unchanged.every((version) => version["archives"] === 2)).toBe(true);
    expect(unchanged.length).toBeGreaterThan(0);
  });
  test("diff says what changed between two backups, as a comparison of the trees does", async () => {
    const { stdout } = await nbackup("diff", `${AGENT}/tree/${timeOf(first)}`, "latest", "--json");
    const found = jsonLines(stdout).map(
      (item) => `${String(item["change"])} ${path.relative(source.slice(1), String(item["path"]))}`,
    );
    expect(found.toSorted()).toEqual([
      "added new.txt",
      "changed ",
      "changed report.txt",
      "changed sizes",
      "removed sizes/700000",
    ]);
  });
});

describe("nbackup-server restore, cat and verify by reference", () => {
  test("restore gives what GNU tar gives, of the archive of that time", async () => {
    const [ours, theirs] = [site.at("ours"), site.at("theirs")];
    const result = await nbackup("restore", `${AGENT}/tree/${timeOf(first)}`, "--to", ours);
    expect(result).toMatchObject({ exitCode: 0, stderr: "" });
    expect(result.stdout).toContain(`to ${ours}`);
    await tarRestore(fileOf(first), theirs);
    for (const tree of [theirs + source, before]) {
      const { differences } = await compareTrees(tree, ours + source, { skip: [], owners: true });
      expect(differences).toEqual([]);
    }
    const again = await nbackup(
      "restore",
      `${AGENT}/tree/${timeOf(first)}`,
      "--to",
      ours,
      "--overwrite",
      "if-changed",
      "--json",
    );
    expect(JSON.parse(again.stdout)).toMatchObject({ result: "done", bytes: 0 });
  });
  test("--delete takes away what was not there, below what is restored, and nothing else", async () => {
    const target = site.at("deleted");
    const reference = `${AGENT}/tree/${timeOf(first)}`;
    await nbackup("restore", reference, `${source}/sizes`, "--to", target);
    fs.writeFileSync(`${target}${source}/sizes/later`, "x");
    fs.writeFileSync(`${target}/beside`, "x");
    const args = [
      "restore",
      reference,
      `${source}/sizes`,
      "--to",
      target,
      "--delete",
      "--overwrite",
      "if-changed",
      "--json",
    ];
    const trial = await nbackup(...args, "--dry-run");
    expect(JSON.parse(trial.stdout)).toMatchObject({ dryRun: true, deleted: 1 });
    expect(fs.existsSync(`${target}${source}/sizes/later`)).toBe(true);
    const result = await nbackup(...args);
    expect([result.exitCode, JSON.parse(result.stdout)]).toMatchObject([0, { result: "done", deleted: 1, bytes: 0 }]);
    expect(fs.existsSync(`${target}${source}/sizes/later`)).toBe(false);
    expect(fs.existsSync(`${target}/beside`)).toBe(true);
  });
  test("some paths, without the directories in front of them", async () => {
    const target = site.at("some");
    const parts = source.split("/").length - 1;
    const result = await nbackup(
      ...["restore", `${AGENT}/tree/latest`, inArchive("report.txt"), `${source}/sizes`],
      ...["--to", target, "--strip-components", String(parts)],
    );
    expect(result.exitCode).toBe(0);
    expect(fs.readdirSync(target).toSorted()).toEqual(["report.txt", "sizes"]);
    expect(fs.readFileSync(path.join(target, "report.txt"), "utf8")).toBe("first\nsecond\n");
  });
  test("cat gives a file's bytes", async () => {
    const { stdout, exitCode } = await nbackup("cat", `${AGENT}/tree/${timeOf(first)}`, inArchive("report.txt"));
    expect([stdout, exitCode]).toEqual(["first\n", 0]);
  });
  test("what is not there is named, and what is nearest", async () => {
    const missing = await nbackup("cat", `${AGENT}/tree/1999-12-31`, "x");
    expect(missing.exitCode).toBe(1);
    expect(missing.stderr).toStartWith(
      `E_ARCHIVE_UNKNOWN: there is no archive ${AGENT}/tree/1999-12-31; the nearest: `,
    );
    expect(missing.stderr).toContain(first.archive ?? "");
    const several = await nbackup("cat", `${AGENT}/tree/2`, "x");
    expect([several.exitCode, several.stderr.split("\n")[0]]).toEqual([
      2,
      `E_USAGE: ${AGENT}/tree/2 is one of 2 archives: ${second.archive}, ${first.archive}`,
    ]);
  });

  test("verify reads all of them; one that is damaged is marked, passed over by latest, and no longer when it is whole", async () => {
    const whole = await nbackup("verify", "all", "--json");
    expect(whole.exitCode).toBe(0);
    expect(jsonLines(whole.stdout).map((report) => [report["archive"], report["ok"], report["sha256"]])).toEqual([
      [second.archive, true, second.sha256],
      [first.archive, true, first.sha256],
    ]);
    const bytes = fs.readFileSync(fileOf(second));
    const at = Math.floor(bytes.length / 2);
    const flip = (): void => {
      bytes[at] = (bytes[at] ?? 0) ^ 0x55;
      const { atime, mtime } = fs.statSync(fileOf(second));
      fs.writeFileSync(fileOf(second), bytes);
      fs.utimesSync(fileOf(second), atime, mtime);
    };
    flip();
    const damaged = await nbackup("verify", `${AGENT}/tree/latest`, "--json");
    expect([damaged.exitCode, JSON.parse(damaged.stdout)]).toMatchObject([1, { ok: false }]);
    const [marked] = jsonLines((await nbackup("list", "--json")).stdout);
    expect(marked).toMatchObject({
      archive: second.archive,
      damage: expect.stringContaining("found by verify") as string,
    });
    const cat = await nbackup("cat", `${AGENT}/tree/latest`, inArchive("report.txt"));
    expect([cat.exitCode, cat.stdout]).toEqual([0, "first\n"]);
    expect(cat.stderr).toStartWith(`warning: ${second.archive} is newer, but was found damaged: `);
    flip();
    expect((await nbackup("verify", `${AGENT}/tree/${timeOf(second)}`)).exitCode).toBe(0);
    expect(jsonLines((await nbackup("list", "--json")).stdout)[0]).toMatchObject({ damage: null });
  });
});
