/** What a backup entry leaves out, by the compiled programs: patterns that keep, caches, marked directories, other filesystems. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { mustRun } from "#scripts/lib/run.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { Site, STORAGE } from "#test/support/site.ts";
import { isRoot } from "#test/support/tree.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let server: ServerProcess;
let source = "";

beforeAll(async () => {
  site = await Site.make();
  source = site.at("source");
  const put = (name: string, text: string): void => {
    fs.mkdirSync(path.dirname(path.join(source, name)), { recursive: true });
    fs.writeFileSync(path.join(source, name), text);
  };
  put("a.log", "left out");
  put("keep.log", "kept");
  put("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
  put("cache/blob", "left out");
  put("marked/.nobackup", "");
  put("marked/deep/er", "left out");
  put("plain/file", "kept");
  put("other/file", "on the same filesystem, unless one can be mounted");
  server = await site.startServer();
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

async function members(more: Readonly<Record<string, unknown>>): Promise<string[]> {
  const end = await site.once({
    port: server.port,
    backups: [{ name: "tree", storage: STORAGE, sources: [{ path: source }], ...more }],
  });
  expect({ exit: end.exitCode, skipped: end.reports[0]?.skipped }).toEqual({ exit: 0, skipped: [] });
  const archive = path.join(site.storage(), end.reports[0]?.archive ?? "");
  const listed = await mustRun(["tar", "tzf", archive], { env: { LC_ALL: "C" } });
  return listed
    .trimEnd()
    .split("\n")
    .map((name) => `/${name}`.slice(source.length + 1));
}

describe("a backup entry", () => {
  test("holds everything without rules", async () => {
    expect(await members({})).toHaveLength(14);
  });
  test("leaves out what its rules say, and keeps what a later pattern keeps", async () => {
    const found = await members({
      exclude: ["*.log", "!keep.log"],
      exclude_caches: true,
      exclude_if_present: [".nobackup"],
    });
    expect(found).toEqual([
      "",
      "cache/",
      "cache/CACHEDIR.TAG",
      "keep.log",
      "marked/",
      "marked/.nobackup",
      "other/",
      "other/file",
      "plain/",
      "plain/file",
    ]);
  });
  test("stays on the filesystem of its source when it is told to", async () => {
    const other = path.join(source, "other");
    const mount = isRoot ? Bun.spawnSync(["mount", "-t", "tmpfs", "none", other]).exitCode : 1;
    if (mount !== 0) {
      console.log("nothing can be mounted here: only that one filesystem is backed up whole");
      expect(await members({ one_file_system: true })).toHaveLength(14);
      return;
    }
    try {
      fs.writeFileSync(path.join(other, "mounted"), "x");
      expect(await members({})).toContain("other/mounted");
      const own = await members({ one_file_system: true });
      expect(own.filter((name) => name.startsWith("other"))).toEqual(["other/"]);
    } finally {
      await mustRun(["umount", other]);
    }
  });
});
