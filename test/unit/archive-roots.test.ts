/** Source paths: their order, their nesting, and the check before a session is asked for. */
import { describe, expect, test } from "bun:test";
import { SourceError } from "#archive/source.ts";
import { checkSources, sourceRoots } from "#archive/source-roots.ts";
import { Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { roots } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Failure) return error.toString();
    throw error;
  }
  return "no failure";
}

describe("source paths", () => {
  test("are made canonical and sorted component by component", () => {
    const paths = roots("/srv-old/", "/srv//www/./x", "/home").map((root) => pathText(root.path));
    expect(paths).toEqual(["/home", "/srv/www/x", "/srv-old"]);
    expect(roots("/").map((root) => pathText(root.path))).toEqual(["/"]);
  });
  test("inside one another are refused, also through a slash more", () => {
    expect(codeOf(() => roots("/srv/www", "/srv-old", "/srv"))).toBe(
      "E_SOURCE_NESTED: source /srv/www lies inside source /srv",
    );
    expect(codeOf(() => roots("/", "/srv"))).toBe("E_SOURCE_NESTED: source /srv lies inside source /");
    expect(codeOf(() => roots("/srv", "/srv/"))).toBe("E_SOURCE_NESTED: source /srv is named twice");
    expect(codeOf(() => roots("/srv", "/srv-old", "/srvx"))).toBe("no failure");
  });
  test("must be absolute and without ..", () => {
    for (const path of ["srv", "", "/a/../b", "/a\0b"]) expect(codeOf(() => roots(path))).toStartWith("E_CONFIG");
  });
});

describe("the check before a session", () => {
  test("fails for a source that is missing, unless it is optional", () => {
    const source = new MemorySource();
    source.directory("/a");
    const specs = [
      { path: "/a", optional: false },
      { path: "/b", optional: true },
    ];
    expect(checkSources(source, sourceRoots(specs)).map((root) => pathText(root.path))).toEqual(["/a"]);
    expect(codeOf(() => checkSources(source, roots("/a", "/b")))).toBe(
      "E_SOURCE_MISSING: source /b does not exist (ENOENT)",
    );
  });
  test("fails for a source that cannot be read, even if it is optional", () => {
    const source = new MemorySource();
    source.directory("/d");
    source.file("/f", "x");
    source.hooks.names = () => {
      throw new SourceError("EACCES", "open");
    };
    source.hooks.open = () => {
      throw new SourceError("EIO", "open");
    };
    expect(codeOf(() => checkSources(source, roots("/d")))).toBe("E_SOURCE_MISSING: source /d cannot be read (EACCES)");
    const optional = sourceRoots([{ path: "/f", optional: true }]);
    expect(codeOf(() => checkSources(source, optional))).toBe("E_SOURCE_MISSING: source /f cannot be read (EIO)");
  });
  test("fails for a source that is a symbolic link, because nothing but the link would be saved", () => {
    const source = new MemorySource();
    source.symlink("/www", "/data/w\x1bw");
    expect(codeOf(() => checkSources(source, roots("/www")))).toBe(
      "E_SOURCE_LINK: source /www is a symbolic link to /data/w\\x1bw",
    );
  });
  test("fails for a source that is a socket, because nothing at all would be saved", () => {
    const source = new MemorySource();
    source.special("/run/s", { type: "socket" });
    expect(codeOf(() => checkSources(source, roots("/run/s")))).toBe(
      "E_SOURCE_MISSING: source /run/s is a socket, which no archive can hold",
    );
  });
  test("lists no more of a directory than it must, and leaves no file open", () => {
    const source = new MemorySource();
    for (let i = 0; i < 10; i += 1) source.file(`/d/${i}`, "");
    source.file("/f", "x");
    expect(checkSources(source, roots("/d", "/f")).length).toBe(2);
    expect(source.openCount).toBe(0);
  });
});

describe("a path as text", () => {
  test("shows UTF-8 as it is, and everything that could mislead escaped", () => {
    const text = (path: string): string => pathText(Buffer.from(path, "latin1"));
    expect(pathText(Buffer.from("/srv/façade/日本"))).toBe("/srv/façade/日本");
    expect(text("/a\nb\t\x1b[31m\\")).toBe("/a\\nb\\t\\x1b[31m\\\\");
    expect(text("/caf\xe9")).toBe("/caf\\xe9");
    expect(pathText(Buffer.from("/a\u202eb\u200b\u2028"))).toBe("/a\\u{202e}b\\u{200b}\\u{2028}");
  });
});
