/** cat over archives in memory: what it says, and exits with, when the file is not there, may have been, or is there more than once. */
import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import type { TarReport } from "#restore/tar-job.ts";
import { EVERYWHERE, MemoryStock, runCommand, type CommandRun } from "#test/support/command-kit.ts";
import { MemoryAccess, runInline, sealArchive } from "#test/support/restore-run.ts";
import { block, END, padded } from "#test/support/tar-blocks.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const size = (length: number): string => `${length.toString(8).padStart(11, "0")}\0`;
const file = (name: string, data: string): Buffer =>
  Buffer.concat([block({ 0: name, 124: size(data.length) }), padded(data)]);
const link = (name: string, to: string): Buffer => block({ 0: name, 156: "1", 157: to });

/** What the command says; all content that it finds is empty, because it would go to the output of the tests. */
function cat(archive: Uint8Array, name: string, sha256?: string): Promise<CommandRun> {
  const request = { command: "cat" as const, archive: { text: "latest", scope: EVERYWHERE }, path: name };
  return runCommand(request, new MemoryStock([{ time: "2026-02-12T02:00:00Z", archive, row: { sha256 } }]));
}

async function content(
  ...parts: readonly Uint8Array[]
): Promise<{ readonly text: string; readonly report: TarReport }> {
  const dir = makeTempDir(memoryDir());
  try {
    const fd = fs.openSync(path.join(dir, "output"), "w");
    const access = new MemoryAccess(Buffer.concat([...parts, END]));
    const { report } = await runInline(access, { kind: "cat", path: Buffer.from("f"), fd });
    fs.closeSync(fd);
    return { text: fs.readFileSync(path.join(dir, "output"), "utf8"), report };
  } finally {
    removeTree(dir);
  }
}

describe("a file that is not found", () => {
  const chunks = [file("a", "one"), file("b", ""), file("c", "two"), END].map((bytes) => ({ bytes }));
  test("is unknown when all of the archive could be read", async () => {
    const { archive } = sealArchive(chunks, "gzip");
    expect((await cat(archive, "d")).exit).toBe("E_PATH_UNKNOWN: d: the archive has no file of that name");
    expect(await cat(archive, "b")).toEqual({ exit: 0, stdout: "", stderr: "" });
  });
  test("may have been in what is damaged, which is told instead", async () => {
    const { archive, rows } = sealArchive(chunks, "gzip");
    const { storedOffset = 0, storedLength = 0 } = rows[1] ?? {};
    archive.fill(0x55, storedOffset + 12, storedOffset + storedLength - 8);
    const run = await cat(archive, "b");
    expect(run.exit).toBe(1);
    expect(run.stderr).toContain("whatever lay between a and c is lost");
    expect(run.stderr).toEndWith("warning: b: what can be read of the archive has no file of that name\n");
  });
});

describe("several files of one path", () => {
  test("are told: the first is out before anybody knows of the last", async () => {
    const { archive } = sealArchive([{ bytes: Buffer.concat([file("f", ""), file("f", "new"), END]) }], "gzip");
    expect(await cat(archive, "f")).toEqual({
      ...{ exit: 3, stdout: "" },
      stderr: "warning: f is in the archive more than once; this is the first, and a restore takes the last\n",
    });
    const { text, report } = await content(file("f", "old"), file("g", ""), file("f", "new"));
    expect([text, report.problems.map(({ reason }) => reason)]).toEqual(["old", ["superseded"]]);
  });
  test("are also told of what a hard link leads to, and of a link that a file replaces", async () => {
    const linked = await content(file("t", "old"), file("t", "new"), link("f", "t"));
    expect(linked.report.problems.map(({ reason }) => reason)).toEqual(["superseded"]);
    const replaced = await content(file("t", "target"), link("f", "t"), file("f", "new"));
    expect(replaced.report.problems.map(({ reason }) => reason)).toEqual(["superseded"]);
  });
  test("are not meant by a link, nor by a link of a file to itself", async () => {
    const linked = await content(file("t", "content"), link("f", "t"));
    expect([linked.text, linked.report.problemCount]).toEqual(["content", 0]);
    const itself = await content(file("f", "content"), link("f", "f"));
    expect([itself.text, itself.report.problemCount]).toEqual(["content", 0]);
  });
});

describe("an archive without an index", () => {
  const { archive, rows } = sealArchive(
    [file("a", "one"), file("b", ""), file("c", "two"), END].map((bytes) => ({ bytes })),
    "gzip",
  );
  const sha256 = new Bun.CryptoHasher("sha256").update(archive).digest("hex");
  // What the header of a gzip member says of the system changes no content, and nothing but the sum tells.
  const changed = Buffer.from(archive);
  changed[9] = 3;
  const warning =
    "warning: web-1/etc/2026-02-12T02-00-00-000Z.tar.gz: its SHA-256 is not the one beside it: it is not as it was written, and what came out of it may not be what was backed up\n";

  test("is compared with the SHA-256 beside it, and where that differs a sentence says so and the exit code is 3", async () => {
    expect(await cat(archive, "b", sha256)).toEqual({ exit: 0, stdout: "", stderr: "" });
    expect(await cat(changed, "b", sha256)).toEqual({ exit: 3, stdout: "", stderr: warning });
    expect(await cat(changed, "b")).toEqual({ exit: 0, stdout: "", stderr: "" });
  });
  test("tells of that also when it has no file of that name", async () => {
    const exit = "E_PATH_UNKNOWN: d: the archive has no file of that name";
    expect(await cat(changed, "d", sha256)).toEqual({ exit, stdout: "", stderr: warning });
  });
  test("gives what is whole of it with 0 where damage that was found is why the sum differs", async () => {
    const damaged = Buffer.from(archive);
    const { storedOffset = 0, storedLength = 0 } = rows[2] ?? {};
    damaged.fill(0x55, storedOffset + 12, storedOffset + storedLength - 8);
    const { exit, stderr } = await cat(damaged, "b", sha256);
    expect(exit).toBe(0);
    expect(stderr).not.toContain("SHA-256");
    expect(stderr).toContain("whatever lay between b and the end is lost");
  });
});
