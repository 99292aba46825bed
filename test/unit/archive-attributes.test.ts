/** Extended attributes and access control lists on their way from the kernel to pax records. */
import { afterAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { type AclEntry, aclText, aclValue, parseAclText, parseAclValue } from "#archive/acl.ts";
import { AttributeReader, xattrName } from "#archive/attributes.ts";
import { type Libc, libc } from "#archive/linux-libc.ts";
import { LinuxXattrs } from "#archive/linux-xattrs.ts";
import { ATTRIBUTES_BYTES_MAX } from "#archive/pax.ts";
import { SourceError, type Xattrs } from "#archive/source.ts";
import { paxRecordLength } from "#archive/tar-format.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { readChunks, readFiles } from "#test/support/archive-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { type WalkedEntry, walkTar } from "#test/support/tar-walk.ts";
import { isRoot, makeTempDir, removeTree, run } from "#test/support/tree.ts";

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** The kernel's form of `user::rw-,user:2:r--,group::r--,mask::rw-,other::r--`, written by hand. */
const ACL_VALUE = Buffer.from(
  "02000000" + "01000600ffffffff" + "0200040002000000" + "04000400ffffffff" + "10000600ffffffff" + "20000400ffffffff",
  "hex",
);
const ACL_TEXT = "user::rw-,user:2:r--,group::r--,mask::rw-,other::r--";

describe("an access control list", () => {
  test("becomes text with numbers, and the same value again", () => {
    const entries = parseAclValue(ACL_VALUE) ?? [];
    expect(aclText(entries)).toBe(ACL_TEXT);
    expect(Buffer.from(aclValue(parseAclText(ACL_TEXT) ?? []))).toEqual(ACL_VALUE);
    expect(parseAclText(ACL_TEXT)).toEqual(entries);
  });
  test("has ids up to the last but one of 32 bits", () => {
    const entries: AclEntry[] = [{ tag: "group", permissions: 7, id: 4_294_967_294 }];
    expect(parseAclValue(aclValue(entries))).toEqual(entries);
    expect(aclText(entries)).toBe("group:4294967294:rwx");
    expect(parseAclText("group:4294967295:rwx")).toEqual([{ tag: "group", permissions: 7, id: "4294967295" }]);
  });
  test("is read as GNU tar, star and bsdtar write it, names too", () => {
    const gnu = "user::rw-\nuser:bin:r--\t#effective:---\ngroup::r--\nmask::---\nother::r--\n";
    expect(parseAclText(gnu)?.map(({ tag, id }) => `${tag} ${id ?? ""}`)).toEqual([
      "user-owner ",
      "user bin",
      "group-owner ",
      "mask ",
      "other ",
    ]);
    expect(parseAclText("user:bin:r-x:2")).toEqual([{ tag: "user", permissions: 5, id: 2 }]);
    expect(parseAclText("u::rwx,g:77:-w-,m:r--,o:--x")).toEqual([
      { tag: "user-owner", permissions: 7, id: undefined },
      { tag: "group", permissions: 2, id: 77 },
      { tag: "mask", permissions: 4, id: undefined },
      { tag: "other", permissions: 1, id: undefined },
    ]);
  });
  test.each(["user", "user:1", "user:1:rwxx", "user:1:rw", "owner::rwx", "mask:1:rwx", "a:b:c:d:e", "user:1:r-x:2:3"])(
    "is none when the text is %s",
    (text) => expect(parseAclText(text)).toBeUndefined(),
  );
  test.each(["", "020000", "01000000", "0200000001", "0200000003000600ffffffff", "0200000001000800ffffffff"])(
    "is none when the value is %s",
    (hex) => expect(parseAclValue(Buffer.from(hex, "hex"))).toBeUndefined(),
  );
  test("is limited in length", () => {
    expect(parseAclText("user:1:r--,".repeat(8191))?.length).toBe(8191);
    expect(parseAclText("user:1:r--,".repeat(8192))).toBeUndefined();
  });
});

function xattrs(all: Readonly<Record<string, string | Uint8Array | SourceError>>): Xattrs {
  return {
    names: () =>
      Buffer.from(
        Object.keys(all)
          .map((name) => `${name}\0`)
          .join(""),
        "latin1",
      ),
    value: (name) => {
      const value = all[latin1(name)];
      if (value instanceof SourceError) throw value;
      return typeof value === "string" ? Buffer.from(value, "latin1") : value;
    },
  };
}

function read(
  from: Xattrs,
  bytesMax = MiB,
): { readonly records: readonly string[]; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const records = new AttributeReader(bytesMax).read(from, (reason, errno) =>
    problems.push(`${reason} ${errno ?? ""}`.trim()),
  );
  return { records: records.map(({ key, value }) => `${latin1(key)}=${latin1(value)}`), problems };
}

describe("the records of an entry", () => {
  test("are sorted by their keys' bytes, whatever order the kernel gives", () => {
    const all = {
      "user.b": "2",
      "security.selinux": "label\0",
      "user.B": "1",
      "trusted.x": "\xff\0=\n",
      "user.b\xff": "",
    };
    expect(read(xattrs(all)).records).toEqual([
      "SCHILY.xattr.security.selinux=label\0",
      "SCHILY.xattr.trusted.x=\xff\0=\n",
      "SCHILY.xattr.user.B=1",
      "SCHILY.xattr.user.b=2",
      "SCHILY.xattr.user.b\xff=",
    ]);
  });
  test("have access control lists as text, before the others", () => {
    const all = { "user.a": "", "system.posix_acl_default": ACL_VALUE, "system.posix_acl_access": ACL_VALUE };
    expect(read(xattrs(all)).records).toEqual([
      `SCHILY.acl.access=${ACL_TEXT}`,
      `SCHILY.acl.default=${ACL_TEXT}`,
      "SCHILY.xattr.user.a=",
    ]);
  });
  test("escape in names what GNU tar would take for the end of the name or for an escape, and nothing else", () => {
    const names = {
      "user.=": "user.%3D",
      "user.%25": "user.%2525",
      "user.%3D": "user.%253D",
      "user.%": "user.%",
      "user.%%=": "user.%%%3D",
    };
    for (const [name, escaped] of Object.entries(names)) {
      expect(read(xattrs({ [name]: "v" })).records).toEqual([`SCHILY.xattr.${escaped}=v`]);
      expect(latin1(xattrName(Buffer.from(escaped)))).toBe(name);
    }
    // What GNU tar writes for a plain percent sign.
    expect(latin1(xattrName(Buffer.from("user.%25a")))).toBe("user.%a");
  });
  test("leave out what is gone, and report once what cannot be read", () => {
    const from = xattrs({
      "user.a": new SourceError("EACCES", "getxattr"),
      "user.b": new SourceError("EIO", "getxattr"),
      "user.c": "kept",
    });
    expect(read({ ...from, names: () => Buffer.from("user.gone\0user.a\0user.b\0user.c\0") })).toEqual({
      records: ["SCHILY.xattr.user.c=kept"],
      problems: ["xattrs-unreadable EACCES"],
    });
    expect(read(xattrs({ "system.posix_acl_access": "odd", "user.c": "kept" }))).toEqual({
      records: ["SCHILY.xattr.user.c=kept"],
      problems: ["xattrs-unreadable EINVAL"],
    });
    const refused = {
      ...from,
      names: () => {
        throw new SourceError("E2BIG", "listxattr");
      },
    };
    expect(read(refused)).toEqual({ records: [], problems: ["xattrs-unreadable E2BIG"] });
  });
  test("do without the largest when they are too long together, and keep all others", () => {
    const all: Record<string, string | Uint8Array> = { "system.posix_acl_access": ACL_VALUE };
    for (let i = 0; i < 20; i += 1) all[`user.${String.fromCharCode(97 + i)}`] = "x".repeat((i * 7919) % 1000);
    const whole = read(xattrs(all)).records;
    for (const bytesMax of [200, 1000, 3000, 6000, 9000, 12_000]) {
      const { records, problems } = read(xattrs(all), bytesMax);
      expect(problems).toEqual(records.length < whole.length ? ["xattrs-too-large"] : []);
      const shortest = [...whole.slice(1)].sort((a, b) => a.length - b.length).slice(0, records.length - 1);
      expect(new Set(records)).toEqual(new Set([...whole.slice(0, 1), ...shortest]));
      const length = (kept: readonly string[]): number =>
        kept.reduce(
          (sum, record) => sum + paxRecordLength(record.indexOf("="), record.length - record.indexOf("=") - 1),
          0,
        );
      expect(length(records)).toBeLessThanOrEqual(bytesMax);
      const next = [...whole.slice(1)].sort((a, b) => a.length - b.length)[records.length - 1];
      if (next !== undefined) expect(length([...records, next])).toBeGreaterThan(bytesMax);
    }
  });
});

describe("an entry", () => {
  test("with more attributes than fit is stored without the largest, and its headers stay within 1 MiB more than a chunk", () => {
    const source = new MemorySource();
    const node = source.file("/s/f", "data");
    node.xattrs = new Map(
      Array.from({ length: 30 }, (_, i) => [`user.${i + 10}`, new Uint8Array(64 * KiB - i)] as const),
    );
    const archive = readChunks(source, ["/s"], { chunkBytes: 64 * KiB });
    expect(archive.problems).toEqual(["/s/f xattrs-too-large"]);
    expect(archive.chunks.every((chunk) => chunk.rawLength <= 64 * KiB + MiB)).toBe(true);
    const [, entry] = walkTar(archive.tar);
    expect(Buffer.from(entry?.data ?? []).toString()).toBe("data");
    const kept = [...(entry?.pax.keys() ?? [])];
    // With their names, eight of 64 KiB fit into 576 KiB; the shortest are the last ones.
    expect([kept.length, kept[0]]).toEqual([8, "SCHILY.xattr.user.32"]);
    expect(ATTRIBUTES_BYTES_MAX).toBe(576 * KiB);
  });
  test("whose headers alone are longer than a chunk has a chunk of its own", () => {
    const source = new MemorySource();
    for (const name of ["a", "b", "c"]) {
      const node = source.file(`/s/${name}`, new Uint8Array(32 * KiB));
      node.xattrs = new Map(Array.from({ length: 8 }, (_, i) => [`user.${i}`, new Uint8Array(64 * KiB)] as const));
    }
    const archive = readChunks(source, ["/s"], { chunkBytes: 64 * KiB });
    expect(archive.problems).toEqual([]);
    expect(archive.chunks.map((chunk) => chunk.entries)).toEqual([1, 1, 1, 1, 0]);
    expect(walkTar(archive.tar).map((entry) => entry.pax.size)).toEqual([0, 8, 8, 8]);
  });
  test("of any type has its attributes, a hard link only under its first name", () => {
    const source = new MemorySource();
    const node = source.file("/s/a", "x", { nlink: 2 });
    source.put("/s/b", node);
    const link = source.symlink("/s/l", "a");
    const fifo = source.special("/s/p", { type: "fifo" });
    const directory = source.directory("/s/d");
    const empty = source.file("/s/e", "");
    for (const one of [node, link, fifo, directory, empty]) one.xattrs = new Map([["trusted.t", Buffer.from("v")]]);
    const { tar, problems } = readChunks(source, ["/s"]);
    expect(problems).toEqual([]);
    expect(walkTar(tar).map((entry) => `${entry.path} ${entry.pax.get("SCHILY.xattr.trusted.t") ?? "-"}`)).toEqual([
      "s/ -",
      "s/a v",
      "s/b -",
      "s/d/ v",
      "s/e v",
      "s/l v",
      "s/p v",
    ]);
  });
  test("whose attributes cannot be read is stored all the same, and reported", () => {
    const source = new MemorySource();
    source.file("/s/f", "x");
    source.directory("/s/d");
    source.hooks.xattrs = (file) => {
      if (file !== "/s") throw new SourceError("EIO", "listxattr");
    };
    const { tar, problems } = readChunks(source, ["/s"]);
    expect(walkTar(tar).map((entry) => entry.path)).toEqual(["s/", "s/d/", "s/f"]);
    expect(problems).toEqual(["/s/d xattrs-unreadable EIO", "/s/f xattrs-unreadable EIO"]);
    expect(source.openCount).toBe(0);
  });
  test("is no better off when what its attributes are read through is missing: the run fails, and says so", () => {
    const source = new MemorySource();
    source.directory("/s");
    source.hooks.xattrs = () => {
      throw new Failure("E_SOURCE_MISSING", "/proc is not mounted");
    };
    expect(() => readChunks(source, ["/s"])).toThrow("/proc is not mounted");
  });
});

const dir = makeTempDir();
afterAll(() => removeTree(dir));

function setXattr(name: string, value: string, file: string): void {
  run("setfattr", ["-h", "-n", name, "-v", `0x${Buffer.from(value, "latin1").toString("hex")}`, file]);
}

const canSet = Bun.which("setfattr") !== null && Bun.which("setfacl") !== null;
if (!canSet) console.log("no setfattr and setfacl here: real extended attributes are not looked at");

describe("on a real filesystem", () => {
  test.skipIf(!canSet)("the attributes of files, empty files and directories are read, in long lists too", () => {
    const at = (name: string): string => path.join(dir, name);
    fs.writeFileSync(at("file"), "x");
    fs.writeFileSync(at("empty"), "");
    fs.mkdirSync(at("sub"));
    fs.writeFileSync(at("many"), "x");
    for (const name of ["file", "empty", "sub"]) setXattr("user.one", `of ${name}\0`, at(name));
    run("setfacl", ["-m", "u:7777:rx", at("file")]);
    run("setfacl", ["-d", "-m", "g:8888:x", at("sub")]);
    const long = Array.from({ length: 20 }, (_, i) => `user.${"n".repeat(80)}${i + 10}`);
    for (const name of long) setXattr(name, "1", at("many"));
    const entries = new Map<string, WalkedEntry>(
      walkTar(readFiles([dir]).tar).map((entry) => [path.basename(entry.path), entry]),
    );
    const record = (name: string, key: string): string | undefined => entries.get(name)?.pax.get(key);
    for (const name of ["file", "empty", "sub"]) expect(record(name, "SCHILY.xattr.user.one")).toBe(`of ${name}\0`);
    expect(record("file", "SCHILY.acl.access")).toBe("user::rw-,user:7777:r-x,group::r--,mask::r-x,other::r--");
    expect(record("sub", "SCHILY.acl.default")).toContain("group:8888:--x");
    const listed = [...(entries.get("many")?.pax.keys() ?? [])].filter((key) => key.startsWith("SCHILY.xattr."));
    expect(listed).toEqual(long.map((name) => `SCHILY.xattr.${name}`));
  });
  test.skipIf(!canSet || !isRoot)("those of links, fifos and devices are read too, as root", () => {
    const top = path.join(dir, "special");
    fs.mkdirSync(top);
    fs.symlinkSync("nowhere", path.join(top, "link"));
    run("mkfifo", [path.join(top, "fifo")]);
    run("mknod", [path.join(top, "null"), "c", "1", "3"]);
    for (const name of ["link", "fifo", "null"]) setXattr("trusted.t", name, path.join(top, name));
    const entries = walkTar(readFiles([top]).tar);
    expect(entries.slice(1).map((entry) => entry.pax.get("SCHILY.xattr.trusted.t"))).toEqual(["fifo", "link", "null"]);
  });
});

describe("asking the kernel", () => {
  /** A C library of which every call for attributes fails with the number. */
  function failing(errno: number): { readonly c: Libc; readonly calls: string[] } {
    const calls: string[] = [];
    const fails = (call: string) => (): number => {
      calls.push(call);
      return -1;
    };
    const { numbers } = libc();
    const names = ["statx", "getdents64", "pread", "readlinkat", "fstatfs", "lseek"] as const;
    const others = Object.fromEntries(names.map((name) => [name, fails(name)])) as Record<
      (typeof names)[number],
      () => number
    >;
    const xattr = {
      flistxattr: fails("flistxattr"),
      llistxattr: fails("llistxattr"),
      fgetxattr: fails("fgetxattr"),
      lgetxattr: fails("lgetxattr"),
    };
    return { c: { numbers, ...others, ...xattr, openat: () => 9, close: () => 0, errno: () => errno }, calls };
  }
  const stat = new MemorySource().file("/f", "x").stat;
  const name = Buffer.from("f\0");
  test("stops after a filesystem said that it knows no attributes, and goes on with others", () => {
    const { c, calls } = failing(95);
    const from = new LinuxXattrs(c);
    for (let i = 0; i < 3; i += 1) {
      expect(from.ofName(5, name, stat).names().length).toBe(0);
      expect(from.ofFile(6, stat).names().length).toBe(0);
    }
    expect(calls).toEqual(["llistxattr"]);
    from.ofFile(6, { ...stat, dev: "2" }).names();
    expect(calls).toEqual(["llistxattr", "flistxattr"]);
  });
  test("takes what is gone for nothing, and passes on every other error", () => {
    expect(new LinuxXattrs(failing(2).c).ofName(5, name, stat).names().length).toBe(0);
    expect(new LinuxXattrs(failing(61).c).ofFile(5, stat).value(Buffer.from("user.a"))).toBeUndefined();
    expect(() => new LinuxXattrs(failing(13).c).ofFile(5, stat).names()).toThrow("listxattr: EACCES");
    expect(() => new LinuxXattrs(failing(5).c).ofFile(5, stat).value(Buffer.from("user.a"))).toThrow("getxattr: EIO");
  });
  test("says that /proc is missing, rather than lose what is read through it", () => {
    const from = new LinuxXattrs({ ...failing(2).c, openat: () => -1 });
    const failure = failureFrom(() => from.ofName(5, name, stat));
    expect([failure?.code, failure?.hint]).toEqual(["E_SOURCE_MISSING", "Mount /proc where the agent runs."]);
  });
});

function failureFrom(call: () => unknown): Failure | undefined {
  try {
    call();
  } catch (error) {
    return toFailure(error);
  }
  return undefined;
}
