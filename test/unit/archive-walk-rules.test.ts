/** What the walk does not go into: other filesystems, tagged caches, marked directories; and excludes that keep. */
import { describe, expect, test } from "bun:test";
import { Excludes } from "#archive/exclude.ts";
import { NameStack } from "#archive/name-stack.ts";
import { Scan } from "#archive/scan.ts";
import { SourceError } from "#archive/source.ts";
import { WALK_EVERYTHING, type WalkRules } from "#archive/walk-rules.ts";
import { roots } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";

const SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55";

function walk(source: MemorySource, rules: Partial<WalkRules>, exclude: readonly string[] = [], top = "/s"): string[] {
  const problems: string[] = [];
  const scan = new Scan({
    source,
    roots: roots(top),
    excludes: new Excludes(exclude),
    rules: { ...WALK_EVERYTHING, ...rules },
    report: (path, reason) => problems.push(`${Buffer.from(path).toString("latin1")} ${reason}`),
  });
  const found: string[] = [];
  for (let entry = scan.next(); entry !== undefined; entry = scan.next()) {
    found.push(Buffer.from(entry.archivePath).toString("latin1"));
  }
  expect(problems).toEqual([]);
  expect(source.openCount).toBe(0);
  return found;
}

describe("one_file_system", () => {
  const source = new MemorySource();
  source.directory("/s/disk", { dev: "8" });
  source.file("/s/disk/f", "", { dev: "8" });
  source.file("/s/bound", "", { dev: "8" });
  source.file("/s/own/f", "");
  test("keeps directories of other filesystems, empty, and single files mounted over others", () => {
    expect(walk(source, { oneFileSystem: true })).toEqual(["s/", "s/bound", "s/disk/", "s/own/", "s/own/f"]);
  });
  test("counts from each source", () => {
    expect(walk(source, { oneFileSystem: true }, [], "/s/disk")).toEqual(["s/disk/", "s/disk/f"]);
  });
  test("is off by default", () => {
    expect(walk(source, {})).toContain("s/disk/f");
  });
  test("does not ask whether a filesystem it stays out of is one of the kernel's", () => {
    const hanging = new MemorySource();
    hanging.directory("/s/nfs", { dev: "8" });
    hanging.isPseudo = () => {
      throw new Error("asked");
    };
    expect(walk(hanging, { oneFileSystem: true })).toEqual(["s/", "s/nfs/"]);
  });
});

describe("exclude_caches", () => {
  test("keeps a cache directory and its tag, and nothing else of it", () => {
    const source = new MemorySource();
    source.file("/s/cache/CACHEDIR.TAG", `${SIGNATURE}\n# made by a program\n`);
    source.file("/s/cache/a", "");
    source.file("/s/cache/sub/b", "");
    source.file("/s/z", "");
    expect(walk(source, { excludeCaches: true })).toEqual(["s/", "s/cache/", "s/cache/CACHEDIR.TAG", "s/z"]);
    expect(walk(source, {})).toContain("s/cache/sub/b");
  });
  test.each([
    ["without the signature", "a file of that name"],
    ["with less than all of it", SIGNATURE.slice(0, 42)],
    ["with it further on", ` ${SIGNATURE}`],
    ["that is empty", ""],
  ])("takes no tag for one %s", (_, text) => {
    const source = new MemorySource();
    source.file("/s/cache/CACHEDIR.TAG", text);
    source.file("/s/cache/a", "");
    expect(walk(source, { excludeCaches: true })).toContain("s/cache/a");
  });
  test("takes no directory, no symbolic link and nothing unreadable for a tag", () => {
    const source = new MemorySource();
    source.file("/s/a/CACHEDIR.TAG/x", "");
    source.file("/s/a/kept", "");
    source.symlink("/s/b/CACHEDIR.TAG", "../tag");
    source.file("/s/b/kept", "");
    source.file("/s/c/CACHEDIR.TAG", SIGNATURE);
    source.file("/s/c/kept", "");
    source.hooks.open = (path) => {
      if (path.startsWith("/s/c")) throw new SourceError("EACCES", "open");
    };
    const found = walk(source, { excludeCaches: true });
    expect(found.filter((path) => path.endsWith("kept"))).toEqual(["s/a/kept", "s/b/kept", "s/c/kept"]);
  });
  test("backs up a source whatever it holds", () => {
    const source = new MemorySource();
    source.file("/s/CACHEDIR.TAG", SIGNATURE);
    source.file("/s/a", "");
    expect(walk(source, { excludeCaches: true })).toEqual(["s/", "s/CACHEDIR.TAG", "s/a"]);
  });
  test("finds the tag in a directory of more names than there is memory for", () => {
    const source = new MemorySource();
    const long = "n".repeat(200);
    const count = 90_000;
    const node = source.directory("/s/huge");
    const child = source.file("/s/huge/CACHEDIR.TAG", SIGNATURE);
    for (let i = 0; i < count; i += 1) node.children?.set(`A${long}${i}`, child);
    // 18 MB of names; the stack holds 16.
    expect(new NameStack().bytes.length).toBeLessThan(count * long.length);
    expect(walk(source, { excludeCaches: true })).toEqual(["s/", "s/huge/", "s/huge/CACHEDIR.TAG"]);
  }, 60_000);
});

describe("exclude_if_present", () => {
  const rules = { excludeIfPresent: [".nobackup", "stop"] };
  test("keeps the directory and all that marks it, of whatever type, and nothing else", () => {
    const source = new MemorySource();
    source.file("/s/a/.nobackup", "");
    source.file("/s/a/data", "");
    source.file("/s/a/stop/inside", "");
    source.symlink("/s/b/stop", "nowhere");
    source.file("/s/b/data", "");
    source.file("/s/c/stopped", "");
    expect(walk(source, rules)).toEqual([
      "s/",
      "s/a/",
      "s/a/.nobackup",
      "s/a/stop/",
      "s/a/stop/inside",
      "s/b/",
      "s/b/stop",
      "s/c/",
      "s/c/stopped",
    ]);
  });
  test("still leaves out the mark when a pattern does", () => {
    const source = new MemorySource();
    source.file("/s/a/.nobackup", "");
    source.file("/s/a/data", "");
    expect(walk(source, rules, [".nobackup"])).toEqual(["s/", "s/a/"]);
  });
  test("has each name once when it is the cache's tag too", () => {
    const source = new MemorySource();
    source.file("/s/a/CACHEDIR.TAG", SIGNATURE);
    source.file("/s/a/data", "");
    const both = { excludeCaches: true, excludeIfPresent: ["CACHEDIR.TAG"] };
    expect(walk(source, both)).toEqual(["s/", "s/a/", "s/a/CACHEDIR.TAG"]);
  });
});

describe("a pattern with ! in front", () => {
  test("brings back what an earlier one left out, but nothing below a directory that is left out", () => {
    const source = new MemorySource();
    for (const path of ["/s/a.log", "/s/keep.log", "/s/d/keep.log", "/s/gone/keep.log"]) source.file(path, "");
    expect(walk(source, {}, ["*.log", "gone", "!keep.log"])).toEqual(["s/", "s/d/", "s/d/keep.log", "s/keep.log"]);
  });
  test("keeps directories to look for a kind of files everywhere", () => {
    const source = new MemorySource();
    for (const path of ["/s/a.conf", "/s/b", "/s/d/c.conf", "/s/d/e"]) source.file(path, "");
    expect(walk(source, {}, ["*", "!*/", "!*.conf"])).toEqual(["s/", "s/a.conf", "s/d/", "s/d/c.conf"]);
  });
});
