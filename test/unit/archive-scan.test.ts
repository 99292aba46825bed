/** The order of the walk, directories larger than the memory for names, and what is not entered. */
import { describe, expect, test } from "bun:test";
import { comparePaths } from "#archive/bytes.ts";
import { Excludes } from "#archive/exclude.ts";
import { NameStack } from "#archive/name-stack.ts";
import { PATH_BYTES_MAX, Scan } from "#archive/scan.ts";
import { type OnName, SourceError } from "#archive/source.ts";
import { WALK_EVERYTHING, type WalkRules } from "#archive/walk-rules.ts";
import { KiB } from "#base/units.ts";
import { roots } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";

interface Walked {
  readonly paths: readonly string[];
  readonly problems: readonly string[];
}

function walk(
  source: MemorySource,
  paths: readonly string[],
  exclude: readonly string[] = [],
  rules: Partial<WalkRules> = {},
): Walked {
  const problems: string[] = [];
  const scan = new Scan({
    source,
    roots: roots(...paths),
    excludes: new Excludes(exclude),
    rules: { ...WALK_EVERYTHING, ...rules },
    report: (path, reason, errno) => problems.push(`${Buffer.from(path).toString("latin1")} ${reason} ${errno ?? ""}`),
  });
  const found: string[] = [];
  for (let entry = scan.next(); entry !== undefined; entry = scan.next()) {
    found.push(Buffer.from(entry.archivePath).toString("latin1"));
    expect(Buffer.from(entry.path).toString("latin1")).toBe(`/${found.at(-1)}`.replace(/\/\.?\/?$/, "") || "/");
  }
  return { paths: found, problems };
}

describe("the walk", () => {
  test("goes component by component, by bytes, a directory before its contents", () => {
    const source = new MemorySource();
    for (const path of ["/s/a/x", "/s/a.b", "/s/a b", "/s/B", "/s/\xff", "/s/\xc3\xa9", "/s/a/0/z", "/s/aa"]) {
      source.file(path, "");
    }
    const { paths } = walk(source, ["/s"]);
    expect(paths).toEqual([
      "s/",
      "s/B",
      "s/a/",
      "s/a/0/",
      "s/a/0/z",
      "s/a/x",
      "s/a b",
      "s/a.b",
      "s/aa",
      "s/\xc3\xa9",
      "s/\xff",
    ]);
    const bytes = paths.map((path) => Buffer.from(path, "latin1"));
    expect([...bytes].sort(comparePaths)).toEqual(bytes);
  });
  test("takes the sources in that order, without entries for their parents", () => {
    const source = new MemorySource();
    source.file("/srv/www/i", "");
    source.file("/srv-old/j", "");
    source.file("/home/k", "");
    expect(walk(source, ["/srv-old", "/srv/www", "/home"]).paths).toEqual([
      "home/",
      "home/k",
      "srv/www/",
      "srv/www/i",
      "srv-old/",
      "srv-old/j",
    ]);
  });
  test("stays out of pseudo-filesystems, unless a source names them", () => {
    const source = new MemorySource();
    source.directory("/s/proc", { dev: "9" });
    source.file("/s/proc/kcore", "", { dev: "9" });
    source.directory("/s/disk", { dev: "8" });
    source.file("/s/disk/f", "", { dev: "8" });
    source.pseudo.add("/s/proc");
    expect(walk(source, ["/s"]).paths).toEqual(["s/", "s/disk/", "s/disk/f", "s/proc/"]);
    expect(walk(source, ["/s/proc"]).paths).toEqual(["s/proc/", "s/proc/kcore"]);
  });
  test("neither enters nor looks at what is excluded", () => {
    const source = new MemorySource();
    source.file("/s/cache/x", "");
    source.file("/s/keep", "");
    source.hooks.lstat = (path) => {
      if (path === "/s/cache") throw new SourceError("EIO", "lstat");
    };
    expect(walk(source, ["/s"], ["cache"])).toEqual({ paths: ["s/", "s/keep"], problems: [] });
  });
  test("leaves out only directories by a pattern with a slash at its end", () => {
    const source = new MemorySource();
    source.file("/s/a/cache/x", "");
    source.file("/s/b/cache", "");
    expect(walk(source, ["/s"], ["cache/"]).paths).toEqual(["s/", "s/a/", "s/b/", "s/b/cache"]);
  });
  test("reports a directory that cannot be listed, and archives what was listed of it", () => {
    const source = new MemorySource();
    source.file("/s/closed/x", "");
    source.file("/s/gone/x", "");
    source.file("/s/z", "");
    source.hooks.names = (path) => {
      if (path === "/s/closed") throw new SourceError("EACCES", "open");
      if (path === "/s/gone") throw new SourceError("ENOENT", "open");
    };
    expect(walk(source, ["/s"])).toEqual({
      paths: ["s/", "s/closed/", "s/gone/", "s/z"],
      problems: ["/s/closed unreadable EACCES", "/s/gone vanished ENOENT"],
    });
  });
  test("fails when a source root cannot be listed any more, rather than archive nothing of it", () => {
    const source = new MemorySource();
    source.file("/s/sub/x", "");
    source.hooks.names = (path) => {
      if (path === "/s") throw new SourceError("EACCES", "open");
    };
    expect(() => walk(source, ["/s"])).toThrow("source /s cannot be read (EACCES)");
  });
  test("goes on after names that are gone or refused", () => {
    const source = new MemorySource();
    for (const name of ["a", "b", "c"]) source.file(`/s/${name}`, "");
    source.hooks.lstat = (path) => {
      if (path === "/s/a") throw new SourceError("ENOENT", "lstat");
      if (path === "/s/b") throw new SourceError("EACCES", "lstat");
    };
    expect(walk(source, ["/s"])).toEqual({
      paths: ["s/", "s/c"],
      problems: ["/s/a vanished ENOENT", "/s/b unreadable EACCES"],
    });
  });
  test("goes as deep as the limit on paths, and says where it ends", () => {
    const source = new MemorySource();
    const name = "n".repeat(255);
    let node = source.directory("/s");
    const deepest = Math.floor((PATH_BYTES_MAX - 2) / 256);
    for (let i = 0; i < deepest + 2; i += 1) {
      const child = new MemorySource().directory("/x");
      node.children?.set(name, child);
      node = child;
    }
    const { paths, problems } = walk(source, ["/s"]);
    expect(paths.length).toBe(deepest + 1);
    expect(problems.length).toBe(1);
    expect(problems[0]?.endsWith("unsupported ENAMETOOLONG")).toBe(true);
  });
});

/** Walks a tree of names through a stack, as the scan does; `tree` gives the names below a path. */
function stackOrder(stack: NameStack, tree: (path: readonly string[]) => readonly string[]): string[] {
  const order: string[] = [];
  const lister =
    (path: readonly string[]) =>
    (onName: OnName): void => {
      for (const name of tree(path)) {
        const bytes = Buffer.from(`-${name}-`);
        onName(bytes, 1, bytes.length - 1);
      }
    };
  const visit = (path: readonly string[]): void => {
    let last = "";
    for (;;) {
      const found = stack.next();
      if (found === "end") return;
      if (found === "again") {
        stack.refill(lister(path), Buffer.from(last));
        continue;
      }
      last = Buffer.from(stack.bytes.slice(stack.nameStart, stack.nameEnd)).toString();
      const child = [...path, last];
      order.push(child.join("/"));
      if (tree(child).length === 0) continue;
      stack.push(lister(child));
      visit(child);
      stack.pop();
    }
  };
  stack.push(lister([]));
  visit([]);
  stack.pop();
  return order;
}

describe("the memory for names", () => {
  const many = Array.from({ length: 5000 }, (_, i) => `file-${(i * 7919) % 5000}`);
  test("gives the same order when a directory does not fit and is listed many times", () => {
    const roomy = new NameStack();
    const tight = new NameStack({ bytesMax: 64 * KiB, namesMax: 100 });
    const tree = (path: readonly string[]): readonly string[] => (path.length === 0 ? many : []);
    expect(stackOrder(roomy, tree)).toEqual([...many].sort());
    expect(stackOrder(tight, tree)).toEqual([...many].sort());
  });
  test("gives the same order when directories inside one another compete for it", () => {
    const tree = (path: readonly string[]): readonly string[] => {
      if (path.length === 0) return many.slice(0, 200);
      return path.length < 3 && path.at(-1)?.endsWith("7") === true ? many.slice(0, 90 * path.length) : [];
    };
    const roomy = stackOrder(new NameStack(), tree);
    expect(roomy.length).toBeGreaterThan(3000);
    expect(stackOrder(new NameStack({ bytesMax: 64 * KiB, namesMax: 70 }), tree)).toEqual(roomy);
    expect(stackOrder(new NameStack({ bytesMax: 64 * KiB, namesMax: 4 }), (p) => tree(p).slice(0, 9)).length).toBe(
      stackOrder(new NameStack(), (p) => tree(p).slice(0, 9)).length,
    );
  });
  test("drops a name that a changing directory gives twice", () => {
    const stack = new NameStack();
    expect(stackOrder(stack, (path) => (path.length === 0 ? ["b", "a", "b", "a", "ab"] : []))).toEqual([
      "a",
      "ab",
      "b",
    ]);
    expect(stack.depth).toBe(0);
  });
  test("keeps what was listed before an error", () => {
    const stack = new NameStack();
    const list = (onName: OnName): void => {
      onName(Buffer.from("b"), 0, 1);
      onName(Buffer.from("a"), 0, 1);
      throw new SourceError("EIO", "getdents64");
    };
    expect(() => stack.push(list)).toThrow("getdents64");
    expect([stack.next(), stack.nameEnd - stack.nameStart, stack.next(), stack.next()]).toEqual([
      "name",
      1,
      "name",
      "end",
    ]);
  });
});
