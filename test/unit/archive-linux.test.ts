/** The file source on a real filesystem: exact metadata, any name, any depth, nothing followed. */
import { afterAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import { isPseudoMagic } from "#archive/linux-pseudo.ts";
import { AT_FDCWD, libc, Scratch } from "#archive/linux-libc.ts";
import { STATX_BYTES, StatReader } from "#archive/linux-stat.ts";
import type { Stat } from "#archive/source.ts";
import { checkSources } from "#archive/source-roots.ts";
import { errnoName } from "#base/errors.ts";
import { readChunks, readFiles, roots } from "#test/support/archive-kit.ts";
import { walkTar } from "#test/support/tar-walk.ts";
import { attributesProblem } from "#test/support/torture-attributes.ts";
import { isRoot, makeTempDir, removeTree, run } from "#test/support/tree.ts";

const dir = makeTempDir();
afterAll(() => removeTree(dir));

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

function source(...paths: readonly string[]): LinuxSource {
  return new LinuxSource({ roots: roots(...paths).map((root) => root.path) });
}

function errnoOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return errnoName(error);
  }
  return undefined;
}

function listed(from: LinuxSource, at: string): string[] {
  const names: string[] = [];
  from.names(bytes(at), (buffer, start, end) => names.push(Buffer.from(buffer.slice(start, end)).toString("latin1")));
  return names.sort();
}

/** Descriptors of this test's directory, of what lies in it and of the directory above; the runtime has others. */
function openDescriptors(): number {
  const above = path.dirname(dir);
  return fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`);
      return target === above || target.startsWith(dir);
    } catch (error) {
      if (errnoName(error) === "ENAMETOOLONG") return true;
      // The one that lists the descriptors is gone by now.
      if (errnoName(error) === "ENOENT") return false;
      throw error;
    }
  }).length;
}

describe("the file source", () => {
  test("says what stat says, to the nanosecond", () => {
    const file = path.join(dir, "stat");
    fs.writeFileSync(file, "12345");
    fs.chmodSync(file, 0o4751);
    fs.linkSync(file, path.join(dir, "stat 2"));
    run("touch", ["-d", "@-12345.678901234", file]);
    const format = "%s %a %u %g %h %i %.9Y %.9Z";
    const expected = run("stat", ["-c", format, file]).toString().trim();
    const s = source(dir).lstat(bytes(file));
    const time = (seconds: number, nanos: number): string => {
      const total = BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
      const digits = String(total < 0n ? -total : total).padStart(10, "0");
      return `${total < 0n ? "-" : ""}${digits.slice(0, -9)}.${digits.slice(-9)}`;
    };
    const found = [s.size, s.mode.toString(8), s.uid, s.gid, s.nlink, s.ino];
    const times = [time(s.mtimeSeconds, s.mtimeNanos), time(s.ctimeSeconds, s.ctimeNanos)];
    expect([...found, ...times].join(" ")).toBe(expected);
    expect(s.type).toBe("file");
  });
  test("knows every type of file", () => {
    run("mkfifo", [path.join(dir, "fifo")]);
    fs.symlinkSync("x", path.join(dir, "link"));
    const s = source(dir);
    const types = ["fifo", "link"].map((name) => s.lstat(bytes(path.join(dir, name))).type);
    expect(types).toEqual(["fifo", "symlink"]);
    expect(source("/dev/null").lstat(bytes("/dev/null"))).toMatchObject({ type: "char", rdevMajor: 1, rdevMinor: 3 });
    expect(s.lstat(bytes(dir)).type).toBe("directory");
  });
  test("lists names of any bytes, more than one batch of them", () => {
    const many = path.join(dir, "many");
    fs.mkdirSync(many);
    const expected: string[] = ["\xff\xfe", "new\nline", "..."];
    for (let i = 0; i < 2000; i += 1) expected.push(`${"long name ".repeat(10)}${i}`);
    for (const name of expected) fs.writeFileSync(Buffer.concat([Buffer.from(`${many}/`), bytes(name)]), "");
    expect(listed(source(dir), many)).toEqual(expected.sort());
  });
  test("reads links, files, and views of shared memory at any offset", () => {
    fs.writeFileSync(path.join(dir, "data"), "0123456789");
    fs.symlinkSync(bytes("\xff target"), path.join(dir, "raw link"));
    const s = source(dir);
    expect(Buffer.from(s.readlink(bytes(path.join(dir, "raw link")))).toString("latin1")).toBe("\xff target");
    const file = s.open(bytes(path.join(dir, "data")));
    const into = new Uint8Array(new SharedArrayBuffer(20));
    expect(file.read(into.subarray(5, 9), 3)).toBe(4);
    expect(Buffer.from(into.slice(4, 10)).toString()).toBe("\x003456\0");
    expect([file.read(into, 9), file.read(into, 10), file.read(into, 2 ** 40)]).toEqual([1, 0, 0]);
    expect(file.stat.size).toBe(10);
    file.close();
  });
  test("says by errno name why a path is refused", () => {
    const s = source(dir);
    fs.symlinkSync("data", path.join(dir, "to data"));
    fs.symlinkSync("many", path.join(dir, "to many"));
    const at = (name: string): Buffer => bytes(path.join(dir, name));
    expect(errnoOf(() => s.lstat(at("no such file")))).toBe("ENOENT");
    expect(errnoOf(() => s.lstat(at("no such/file")))).toBe("ENOENT");
    expect(errnoOf(() => s.lstat(at("data/file")))).toBe("ENOTDIR");
    expect(errnoOf(() => s.open(at("to data")))).toBe("ELOOP");
    expect(errnoOf(() => s.readlink(at("data")))).toBe("EINVAL");
    expect(errnoOf(() => s.names(at("data"), () => undefined))).toBe("ENOTDIR");
    expect(errnoOf(() => s.lstat(at("n".repeat(256))))).toBe("ENAMETOOLONG");
    expect(errnoOf(() => s.lstat(at("n".repeat(5000))))).toBe("ENAMETOOLONG");
  });
  test("follows symbolic links above a source root, and none below it", () => {
    fs.mkdirSync(path.join(dir, "real/root/sub"), { recursive: true });
    fs.writeFileSync(path.join(dir, "real/root/sub/f"), "x");
    fs.symlinkSync("real", path.join(dir, "alias"));
    fs.symlinkSync("sub", path.join(dir, "real/root/alias"));
    const s = source(path.join(dir, "alias/root"));
    expect(s.lstat(bytes(path.join(dir, "alias/root/sub/f"))).type).toBe("file");
    expect(errnoOf(() => s.lstat(bytes(path.join(dir, "alias/root/alias/f"))))).toBe("ENOTDIR");
    // Also when a directory that was passed before becomes a link.
    fs.renameSync(path.join(dir, "real/root/sub"), path.join(dir, "real/root/moved"));
    fs.symlinkSync("moved", path.join(dir, "real/root/sub"));
    s.lstat(bytes(path.join(dir, "alias/root")));
    expect(errnoOf(() => s.lstat(bytes(path.join(dir, "alias/root/sub/f"))))).toBe("ENOTDIR");
  });
  test("serves sources that share a part of their way, with and without links in it", () => {
    fs.mkdirSync(path.join(dir, "s/one/deep"), { recursive: true });
    fs.mkdirSync(path.join(dir, "s/two/deep"), { recursive: true });
    fs.symlinkSync("two", path.join(dir, "s/link"));
    const s = source(path.join(dir, "s/one"), path.join(dir, "s/link/deep"));
    for (let i = 0; i < 3; i += 1) {
      expect(s.lstat(bytes(path.join(dir, "s/one/deep"))).type).toBe("directory");
      expect(s.lstat(bytes(path.join(dir, "s/link/deep"))).type).toBe("directory");
      expect(errnoOf(() => s.lstat(bytes(path.join(dir, "s/one/deep/x"))))).toBe("ENOENT");
      expect(listed(s, path.join(dir, "s/link/deep"))).toEqual([]);
    }
  });
  test("says of a file of no known type that the filesystem is damaged", () => {
    const stats = new StatReader(new ArrayBuffer(STATX_BYTES));
    expect(errnoOf(() => stats.read())).toBe("EUCLEAN");
  });
  test("does not change access times, where it may", () => {
    const file = path.join(dir, "accessed");
    fs.writeFileSync(file, "x");
    run("touch", ["-a", "-d", "2001-01-01", file]);
    const open = source(dir).open(bytes(file));
    open.read(new Uint8Array(10), 0);
    open.close();
    expect(fs.statSync(file).atime.getUTCFullYear()).toBe(2001);
  });
  test("leaves no descriptor open behind it", () => {
    const before = openDescriptors();
    const s = source(dir);
    checkSources(s, roots(dir, "/dev/null"));
    expect(openDescriptors()).toBe(before);
    s.lstat(bytes(path.join(dir, "real/root/moved/f")));
    s.open(bytes(path.join(dir, "data"))).close();
    expect(() =>
      s.names(bytes(dir), () => {
        throw new Error("enough");
      }),
    ).toThrow("enough");
    s.close();
    expect(openDescriptors()).toBe(before);
    expect(s.lstat(bytes(dir)).type).toBe("directory");
    s.close();
  });
  test("knows pseudo-filesystems by their number", () => {
    const s = source("/proc", "/sys", dir);
    expect([s.isPseudo(bytes("/proc")), s.isPseudo(bytes("/sys")), s.isPseudo(bytes(dir))]).toEqual([
      true,
      true,
      false,
    ]);
    expect(isPseudoMagic(0x0102_1994)).toBe(false);
  });
  test("knows the root directory", () => {
    const s = source("/");
    expect(s.lstat(bytes("/")).type).toBe("directory");
    expect(listed(s, "/")).toContain("proc");
    expect(s.lstat(bytes("/proc")).type).toBe("directory");
  });
});

/** Makes directories of `name` inside one another, `depth` of them, with a file at the bottom, whatever the length of the path. */
function makeDeeper(top: string, name: string, depth: number, xattrs = false): void {
  const c = libc();
  const scratch = new Scratch(4096);
  const set = (text: string): void => {
    scratch.bytes.fill(0);
    scratch.bytes.set(Buffer.from(text));
  };
  set(top);
  let fd = c.openat(AT_FDCWD, scratch.pointer, c.numbers.O_DIRECTORY, 0);
  for (let i = 0; i < depth; i += 1) {
    fs.mkdirSync(`/proc/self/fd/${fd}/${name}`);
    set(name);
    const next = c.openat(fd, scratch.pointer, c.numbers.O_DIRECTORY, 0);
    c.close(fd);
    fd = next;
  }
  fs.writeFileSync(`/proc/self/fd/${fd}/bottom`, "deep");
  if (xattrs) {
    fs.writeFileSync(`/proc/self/fd/${fd}/empty`, "");
    for (const file of ["bottom", "empty"]) {
      run("setfattr", ["-n", "user.deep", "-v", file, `/proc/${process.pid}/fd/${fd}/${file}`]);
    }
  }
  c.close(fd);
}

const noAttributes = attributesProblem(dir);

class CountingSource extends LinuxSource {
  openMost = 0;

  override lstat(path: Uint8Array): Stat {
    const stat = super.lstat(path);
    this.openMost = Math.max(this.openMost, openDescriptors());
    return stat;
  }
}

describe("a tree deeper than PATH_MAX", () => {
  test("is archived whole, with few descriptors, there and back", () => {
    const top = path.join(dir, "abyss");
    fs.mkdirSync(top);
    const name = "d".repeat(100);
    makeDeeper(top, name, 200);
    // Something to come back to on every tenth level.
    for (let i = 1; i < 40; i += 10) fs.writeFileSync(`${top}/${`${name}/`.repeat(i)}zzz`, String(i));
    const before = openDescriptors();
    const counting = new CountingSource({ roots: roots(top).map((root) => root.path) });
    const archive = readChunks(counting, [top]);
    expect(archive.problems).toEqual([]);
    const entries = walkTar(archive.tar);
    expect(entries.length).toBe(1 + 200 + 1 + 4);
    const bottom = entries.find((entry) => entry.path.endsWith("/bottom"));
    expect(bottom?.path.length).toBeGreaterThan(20_000);
    expect(Buffer.from(bottom?.data ?? []).toString()).toBe("deep");
    expect(openDescriptors()).toBe(before);
    expect(counting.openMost - before).toBeLessThan(70);
    run("rm", ["-rf", top]);
  });
  test.skipIf(noAttributes !== undefined)("is archived with its extended attributes", () => {
    const top = path.join(dir, "deep attributes");
    fs.mkdirSync(top);
    makeDeeper(top, "d".repeat(200), 60, true);
    const { tar, problems } = readFiles([top]);
    expect(problems).toEqual([]);
    const found = walkTar(tar).slice(-2);
    expect(found.map((entry) => entry.path.length > 12_000)).toEqual([true, true]);
    expect(found.map((entry) => entry.pax.get("SCHILY.xattr.user.deep"))).toEqual(["bottom", "empty"]);
    run("rm", ["-rf", top]);
  });
});

describe("a mounted filesystem", () => {
  const mounted = path.join(dir, "mounts/tmpfs");
  const canMount = isRoot && tryMount();
  function tryMount(): boolean {
    fs.mkdirSync(mounted, { recursive: true });
    return Bun.spawnSync(["mount", "-t", "tmpfs", "none", mounted]).exitCode === 0;
  }
  if (!canMount) console.log("nothing can be mounted here: one_file_system is only tried in memory");
  afterAll(() => {
    if (canMount) run("umount", [mounted]);
  });
  test.skipIf(!canMount)("is stayed out of when the source's own is all that is wanted", () => {
    fs.writeFileSync(path.join(mounted, "inside"), "x");
    const top = path.dirname(mounted);
    const pathsWith = (oneFileSystem: boolean, source = top): string[] =>
      walkTar(readFiles([source], { rules: { oneFileSystem } }).tar).map((entry) => entry.path.slice(top.length));
    expect(pathsWith(false)).toEqual(["", "tmpfs/", "tmpfs/inside"]);
    expect(pathsWith(true)).toEqual(["", "tmpfs/"]);
    expect(pathsWith(true, mounted)).toEqual(["tmpfs/", "tmpfs/inside"]);
  });
});
