import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { guarded, restoreTar, type TarRestore } from "#test/support/restore-kit.ts";
import { block, END, padded, pax } from "#test/support/tar-blocks.ts";
import { makeTempDir, memoryDir, patternBytes, removeTree } from "#test/support/tree.ts";

let base: string;
let target: string;
let check: () => void;

beforeEach(() => {
  base = makeTempDir(memoryDir());
  ({ target, check } = guarded(base));
});
afterEach(() => removeTree(base));

const size = (length: number): string => `${length.toString(8).padStart(11, "0")}\0`;
const file = (name: string, data = "evil"): Buffer =>
  Buffer.concat([block({ 0: name, 124: size(data.length) }), padded(data)]);
const link = (name: string, to: string, type = "2"): Buffer => block({ 0: name, 156: type, 157: to });
const directory = (name: string, mode = "0000755\0"): Buffer => block({ 0: name, 100: mode, 156: "5" });

function attack(...parts: readonly Uint8Array[]): TarRestore {
  const result = restoreTar(Buffer.concat([...parts, END]), target);
  check();
  return result;
}

describe("an archive that wants to get out of the target", () => {
  test("by .. in any place of a name", () => {
    const names = ["../evil", "a/../../evil", "..", "a/..", "./../evil", "a//../../evil", "../../outside/canary"];
    const result = attack(...names.map((name) => file(name)));
    expect(result.problems.map((text) => text.split(" ")[1])).toEqual(names.map(() => "outside"));
    expect(fs.readdirSync(target)).toEqual([]);
  });

  test("by an absolute name: the slash is left out", () => {
    attack(file("//evil"), file(`${base}/outside/canary`));
    expect(fs.readFileSync(path.join(target, "evil"), "utf8")).toBe("evil");
    expect(fs.readFileSync(path.join(target, base, "outside/canary"), "utf8")).toBe("evil");
  });

  test("through a symbolic link that it plants: to a directory, to a file, absolute, relative, over two steps", () => {
    const result = attack(
      link("up", "../.."),
      file("up/outside/canary"),
      link("abs", `${base}/outside`),
      file("abs/canary"),
      directory("abs/new/"),
      link("to-file", `${base}/outside/canary`),
      file("to-file"),
      link("one", "two"),
      link("two", `${base}/outside`),
      file("one/canary"),
      block({ 0: "one/fifo", 156: "6" }),
      link("one/link", "anywhere"),
      link("one/hard", "to-file", "1"),
    );
    expect(result.problems).toContain("up/outside/canary blocked ENOTDIR");
    // The link is replaced, not written through.
    expect(fs.readFileSync(path.join(target, "to-file"), "utf8")).toBe("evil");
  });

  test("through a link with the name of a directory that comes later, or came before", () => {
    attack(
      link("d", `${base}/outside`),
      directory("d/"),
      file("d/canary"),
      directory("e/"),
      link("e", `${base}/outside`),
      file("e/canary"),
    );
    expect(fs.lstatSync(path.join(target, "d")).isDirectory()).toBe(true);
    expect(fs.readFileSync(path.join(target, "d/canary"), "utf8")).toBe("evil");
  });

  test("by hard links to things outside, and by writing or changing modes through them", () => {
    const result = attack(
      link("h1", "../../outside/canary", "1"),
      link("h2", `${base}/outside/canary`, "1"),
      link("s", `${base}/outside`),
      link("h3", "s/canary", "1"),
      file("h3"),
    );
    expect(result.problems).toContain("h1 outside");
    expect(result.problems).toContain("h2 link-without-target");
    expect(fs.statSync(path.join(target, "h3")).nlink).toBe(1);
  });

  test("by the metadata of a link or of the target itself", () => {
    attack(link("l", `${base}/outside/canary`), block({ 0: "l/", 100: "0000000\0", 156: "5" }));
    // What is said of `./` is meant for the target.
    attack(directory("./", "0000711\0"));
    expect(fs.statSync(target).mode & 0o777).toBe(0o711);
  });

  test("by names in pax records", () => {
    const result = attack(
      Buffer.concat([pax({ path: "../pax" }), file("innocent")]),
      Buffer.concat([pax({ linkpath: "../../outside/canary" }), link("hard", "innocent", "1")]),
    );
    expect(result.problems).toEqual(["../pax outside", "hard outside"]);
  });
});

describe("an archive that wants to do harm in the target", () => {
  test("cannot write into what was there through a hard link it makes: files are replaced, never opened", () => {
    fs.writeFileSync(path.join(target, "mine"), "mine");
    attack(link("again", "mine", "1"), file("again"));
    expect(fs.readFileSync(path.join(target, "mine"), "utf8")).toBe("mine");
  });

  test("names that are too long, or are files and directories at once, are named and do not stop the others", () => {
    const long = "n".repeat(300);
    const result = attack(
      Buffer.concat([pax({ path: long }), file("x")]),
      file("f"),
      file("f/below"),
      Buffer.concat([pax({ path: `${`d${"e".repeat(200)}/`.repeat(25)}x` }), file("x")]),
      file("last"),
    );
    expect(result.problems).toEqual([`${long} not-created ENAMETOOLONG`, "f/below blocked ENOTDIR"]);
    expect(fs.readFileSync(path.join(target, "last"), "utf8")).toBe("evil");
  });

  test("owners that no system has do not become root's setuid programs", () => {
    const result = attack(
      Buffer.concat([pax({ uid: "99999999999", gid: "1" }), block({ 0: "suid", 100: "0006755\0" })]),
    );
    const { mode } = fs.statSync(path.join(target, "suid"));
    expect(mode & 0o4000).toBe(0);
    if (process.getuid?.() === 0) expect(result.problems).toEqual(["suid owner EINVAL"]);
  });

  test("a hundred thousand names that cannot be restored do not fill the memory", () => {
    const { problems } = attack(Buffer.concat(Array.from({ length: 20_000 }, (_, i) => block({ 0: `../${i}` }))));
    expect(problems.length).toBe(10_000);
  });

  test("leaves no temporary file, whatever it says", () => {
    attack(file("a"), file("../b"), link("c", "x".repeat(90)), file("c/d"), block({ 0: "e", 156: "6" }));
    expect(fs.readdirSync(target).filter((name) => name.includes("nbackup"))).toEqual([]);
  });
});

describe("random bytes in an archive", () => {
  test("restore nothing outside the target", () => {
    const tar = Buffer.concat([
      directory("d/"),
      file("d/f", "x".repeat(2000)),
      link("d/l", "../../outside"),
      link("d/h", "d/f", "1"),
      Buffer.concat([pax({ path: `${"p".repeat(120)}/f`, mtime: "1.5" }), file("x")]),
      END,
    ]);
    for (let seed = 1; seed <= 200; seed += 1) {
      const broken = new Uint8Array(tar);
      const noise = patternBytes(8, seed);
      for (let i = 0; i < noise.length; i += 2) {
        broken[((noise[i] ?? 0) * 64 + (noise[i + 1] ?? 0)) % broken.length] = (noise[i] ?? 0) ^ seed;
      }
      restoreTar(broken, target, {}, 700);
      check();
    }
  }, 60_000);
});
