/** The rules of exclude patterns, one by one; the whole of them against a naive matcher is in test/property. */
import { describe, expect, test } from "bun:test";
import { EXCLUDE_PATTERN_BYTES_MAX, EXCLUDE_PATTERNS_MAX, Excludes } from "#archive/exclude.ts";
import { Failure } from "#base/errors.ts";

function match(pattern: string | readonly string[], path: string): string {
  const bytes = Buffer.from(path, "latin1");
  return new Excludes(typeof pattern === "string" ? [pattern] : pattern).match(
    bytes,
    bytes.lastIndexOf("/") + 1,
    bytes.length,
  );
}

describe("an exclude pattern", () => {
  test.each([
    ["*.log", "/var/log/a.log", "yes"],
    ["*.log", "/a.log", "yes"],
    ["*.log", "/var/.log", "yes"],
    ["*.log", "/var/a.log/b", "no"],
    ["*.log", "/var/a.logs", "no"],
    ["*.LOG", "/var/a.log", "no"],
    ["core", "/srv/core", "yes"],
    ["core", "/srv/core.1", "no"],
    ["core", "/core/x", "no"],
    ["a*b*c", "/s/aXXbYYc", "yes"],
    ["a*b*c", "/s/abcb", "no"],
    ["a**c", "/s/abc", "yes"],
    ["*", "/s/anything", "yes"],
    ["?", "/s/a", "yes"],
    ["?", "/s/ab", "no"],
    ["a?c", "/s/a\xffc", "yes"],
  ])("without a slash is matched against the last component: %s on %s is %s", (pattern, path, answer) => {
    expect(match(pattern, path)).toBe(answer);
  });
  test.each([
    ["/srv/tmp", "/srv/tmp", "yes"],
    ["/srv/tmp", "/srv/tmp/x", "no"],
    ["/srv/tmp", "/a/srv/tmp", "no"],
    ["/srv/*", "/srv/a", "yes"],
    ["/srv/*", "/srv/a/b", "no"],
    ["/srv/**", "/srv/a/b", "yes"],
    ["/srv/**", "/srv", "no"],
    ["/**/tmp", "/tmp", "yes"],
    ["/**/tmp", "/a/b/tmp", "yes"],
    ["/a/**/b", "/a/b", "yes"],
    ["/a/**/b", "/a/x/y/b", "yes"],
    ["/a/**/b", "/a/x/y/c", "no"],
    ["/a/**/b/**/c", "/a/b/x/b/c", "yes"],
  ])("with a slash in front is matched against the whole path: %s on %s is %s", (pattern, path, answer) => {
    expect(match(pattern, path)).toBe(answer);
  });
  test.each([
    ["node_modules/**", "/srv/app/node_modules/x", "yes"],
    ["node_modules/**", "/srv/app/node_modules", "no"],
    ["node_modules/**", "/srv/app/node_modules/x/y", "yes"],
    ["*/tmp/sess*", "/var/tmp/sess_1", "yes"],
    ["*/tmp/sess*", "/a/b/tmp/sess", "yes"],
    ["*/tmp/sess*", "/tmp/sess", "no"],
    ["tmp/sess*", "/tmp/sess", "yes"],
    [".cache/thumbnails", "/home/a/.cache/thumbnails", "yes"],
    ["a/b", "/x/a/b/c", "no"],
    ["**/b", "/x/a/b", "yes"],
  ])("with a slash inside is matched against the last components: %s on %s is %s", (pattern, path, answer) => {
    expect(match(pattern, path)).toBe(answer);
  });
  test.each([
    ["[abc]x", "/s/bx", "yes"],
    ["[a-c]x", "/s/dx", "no"],
    ["[!a-c]x", "/s/dx", "yes"],
    ["[^a-c]x", "/s/ax", "no"],
    ["[]x]", "/s/]", "yes"],
    ["[a-]", "/s/-", "yes"],
    ["[\\]]", "/s/]", "yes"],
    ["\\*", "/s/*", "yes"],
    ["\\*", "/s/a", "no"],
    ["\\!important", "/s/!important", "yes"],
    ["a[*]b", "/s/a*b", "yes"],
  ])("knows sets and escapes: %s on %s is %s", (pattern, path, answer) => {
    expect(match(pattern, path)).toBe(answer);
  });
  test("with a slash at its end waits for the path to be a directory", () => {
    expect(match("cache/", "/s/cache")).toBe("if-directory");
    expect(match("a/cache//", "/s/a/cache")).toBe("if-directory");
    expect(match(["cache/", "c*"], "/s/cache")).toBe("yes");
  });
  test("works beside others: any of them leaves a path out", () => {
    expect(match(["*.a", "/x/y", "z/**"], "/x/y")).toBe("yes");
    expect(match([], "/x/y")).toBe("no");
  });
  test.each([
    [["*.log", "!keep.log"], "/s/a.log", "yes"],
    [["*.log", "!keep.log"], "/s/keep.log", "no"],
    [["!keep.log", "*.log"], "/s/keep.log", "yes"],
    [["*.log", "!keep.log", "/s/keep.log"], "/s/keep.log", "yes"],
    [["!x"], "/s/x", "no"],
    [["/s/**", "!/s/etc/**"], "/s/etc/a", "no"],
    [["\\!x"], "/s/!x", "yes"],
    [["*", "!*/", "!*.conf"], "/s/d", "unless-directory"],
    [["*", "!*/", "!*.conf"], "/s/a.conf", "no"],
    [["cache", "!cache/"], "/s/cache", "unless-directory"],
    [["cache/", "!cache"], "/s/cache", "no"],
    [["!cache", "cache/"], "/s/cache", "if-directory"],
    [["cache", "!cache/", "cache/"], "/s/cache", "yes"],
    [["cache/", "!cache/"], "/s/cache", "no"],
  ])("with ! in front keeps what it matches, and the last one decides: %j on %s is %s", (patterns, path, answer) => {
    expect(match(patterns, path)).toBe(answer);
  });
  test.each([
    ["", "it names nothing"],
    ["/", "it names nothing"],
    ["[a", "[ without ]"],
    ["a\\", "a backslash with nothing behind it"],
    ["!", "it names nothing"],
    ["!!x", "more than one ! in front"],
    ["a/../b", "a component that is .. never matches"],
    ["./a", "a component that is . never matches"],
    ["x".repeat(EXCLUDE_PATTERN_BYTES_MAX + 1), "longer than"],
  ])("is refused when it cannot mean anything: %s", (pattern, message) => {
    expect(() => new Excludes([pattern])).toThrow(Failure);
    expect(() => new Excludes([pattern])).toThrow(message);
  });
  test("comes with at most so many others", () => {
    expect(() => new Excludes(Array.from({ length: EXCLUDE_PATTERNS_MAX + 1 }, () => "a"))).toThrow(Failure);
  });
  test("full of stars takes no longer on a long name than their product", () => {
    const name = `/s/${"a".repeat(4000)}`;
    expect(match(`${"*a".repeat(200)}*b`, name)).toBe("no");
    expect(match(`/${"**/a*/".repeat(30)}b`, `/${"a/".repeat(1000)}c`)).toBe("no");
  });
});
