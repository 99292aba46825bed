/** The tar reader on headers written by hand: dialects, numbers, records, sparse files, limits. */
import { describe, expect, test } from "bun:test";
import { TAR_LIMITS } from "#archive/tar-reader-entry.ts";
import { TarReader } from "#archive/tar-reader.ts";
import { block, damage, END, extension, latin1, one, padded, pax, read, record } from "#test/support/tar-blocks.ts";
import { CollectingSink } from "#test/support/tar-collect.ts";

describe("a header", () => {
  test("of V7 has neither prefix nor names", () => {
    const entry = one(block({ 0: "old", 108: "000012\0\0", 265: "nobody", 345: "prefix" }, "\0"));
    expect([latin1(entry.path), entry.uid, entry.userName.length]).toEqual(["old", 10, 0]);
  });
  test("of GNU has other things than a prefix where one would be", () => {
    expect(latin1(one(block({ 0: "name", 345: "14524767200\0" }, "ustar  \0")).path)).toBe("name");
    expect(latin1(one(block({ 0: "name", 345: "dir/sub" })).path)).toBe("dir/sub/name");
  });
  test("of star has a shorter prefix, with times behind it", () => {
    const prefix = "p".repeat(131);
    expect(latin1(one(block({ 0: "name", 345: `${prefix}14524767200`, 508: "tar\0" })).path)).toBe(`${prefix}/name`);
  });
  test("may fill its fields to the last byte", () => {
    const entry = one(block({ 0: "n".repeat(100), 156: "2", 157: "t".repeat(100), 345: "p".repeat(155) }));
    expect(latin1(entry.path)).toBe(`${"p".repeat(155)}/${"n".repeat(100)}`);
    expect(entry.linkTarget?.length).toBe(100);
  });
  test("has its numbers in octal with spaces or NULs around, or in base 256", () => {
    const numbers: [string, number][] = [
      ["0000017\0", 15],
      ["    17 \0", 15],
      ["17\0\0\0\0\0\0", 15],
      ["0000017 ", 15],
      ["\0\0\0\0\0\0\0\0", 0],
      ["77777777", 0o77777777],
      ["\x80\0\0\0\0\0\x01\x00", 256],
      ["\x80\0\0\0\xff\xff\xff\xfe", 4_294_967_294],
      ["\xff\xff\xff\xff\xff\xff\xff\xfe", 4_294_967_294],
    ];
    for (const [text, uid] of numbers) expect(one(block({ 108: text })).uid).toBe(uid);
    for (const [text, mtime] of [
      ["\x80\0\0\0\0\0\0\x02\0\0\0\0", 2 ** 33],
      ["\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -1],
      ["\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", -(2 ** 32)],
    ] as const)
      expect(one(block({ 136: text })).mtimeSeconds).toBe(mtime);
  });
  test.each([
    [{ 124: "0000000000x\0" }, "an entry with an impossible size"],
    [{ 124: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" }, "an entry with an impossible size"],
    [{ 124: "\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" }, "an entry with an impossible size"],
    [{ 100: "9999999\0" }, "an entry with an impossible mode or owner"],
    [{ 108: "-1\0" }, "an entry with an impossible mode or owner"],
    [{ 136: "12 34\0" }, "an entry with an impossible time"],
    [{ 156: "3", 329: "abc" }, "a device with impossible numbers"],
    [{ 0: "\0" }, "an entry without a name"],
    [{ 156: "1" }, "a link without a target"],
    [{ 156: "2" }, "a link without a target"],
  ])("that cannot be is damage: %j", (fields, message) => {
    expect(damage(Buffer.concat([block(fields), END]))).toBe(`E_ARCHIVE_DAMAGED: ${message} (byte 0 of the tar)`);
  });
  test("is taken with a checksum of signed bytes, and not with any other", () => {
    const bytes = block({ 0: "\xff\xfe" });
    const sum = bytes.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
    bytes.write(`${(sum - 512).toString(8).padStart(6, "0")}\0 `, 148);
    expect(latin1(one(bytes).path)).toBe("\xff\xfe");
    bytes.write(`${(sum - 511).toString(8).padStart(6, "0")}\0 `, 148);
    expect(damage(Buffer.concat([bytes, END]))).toContain("wrong checksum");
  });
  test.each([
    ["0", "f", "file"],
    ["\0", "f", "file"],
    ["7", "f", "file"],
    ["0", "d/", "directory"],
    ["\0", "d//", "directory"],
    ["5", "d", "directory"],
    ["D", "d/", "directory"],
    ["1", "f", "hardlink"],
    ["2", "f", "symlink"],
    ["3", "f", "char"],
    ["4", "f", "block"],
    ["6", "f", "fifo"],
    ["M", "f", "unsupported"],
    ["Z", "f", "unsupported"],
  ])("of type %j and name %s is a %s", (flag, name, type) => {
    expect(one(block({ 0: name, 156: flag, 157: "target" })).type).toBe(type as ReturnType<typeof one>["type"]);
  });
  test("of a link, a device or a directory has no data whatever size it claims", () => {
    for (const flag of ["1", "2", "3", "4", "5", "6"]) {
      const { entries } = read(block({ 124: "00000001000\0", 156: flag, 157: "t" }), block({ 0: "next" }));
      expect(entries.map(({ entry }) => `${latin1(entry.path)} ${entry.size}`)).toEqual(["f 0", "next 0"]);
    }
  });
  test("of a kind nobody knows is passed over with its data, and said", () => {
    const { entries } = read(block({ 124: "00000001001\0", 156: "M" }), padded("x".repeat(513)), block({ 0: "next" }));
    expect(entries.map(({ entry, content }) => `${entry.type} ${entry.size} ${content.length}`)).toEqual([
      "unsupported 0 0",
      "file 0 0",
    ]);
  });
});

describe("headers in front", () => {
  test("win over the block, the last of equal ones over those before, pax over GNU, an empty value over a global one", () => {
    expect(latin1(one(pax({ path: "a" }), pax({ path: "b" }), block({})).path)).toBe("b");
    expect(latin1(one(extension("L", "long\0"), block({})).path)).toBe("long");
    expect(latin1(one(pax({ path: "p" }), extension("L", "long\0"), block({})).path)).toBe("p");
    const global = extension("g", record("uid", "7") + record("path", "global") + record("mtime", "5.5"));
    const entry = one(global, pax({ path: "", uid: "9" }), block({}));
    expect([latin1(entry.path), entry.uid, entry.mtimeSeconds, entry.mtimeNanos]).toEqual(["f", 9, 5, 500_000_000]);
  });
  test("that are global hold for all that follow, and may stand at the end", () => {
    const { entries } = read(
      block({}),
      extension("g", record("gid", "3") + record("SCHILY.xattr.user.g", "1")),
      pax({ "SCHILY.xattr.user.own": "2" }),
      block({}),
      block({}),
      extension("g", record("comment", "the end")),
    );
    expect(
      entries.map(({ entry }) => `${entry.gid} ${entry.xattrs.map(({ name }) => latin1(name)).join(" ")}`),
    ).toEqual(["0 ", "3 user.g user.own", "3 user.g"]);
  });
  test("may name volumes and other things that are no entries", () => {
    expect(read(block({ 0: "label", 156: "V" }), block({})).entries.length).toBe(1);
  });
  test.each([
    ["1700000000.123456789", 1_700_000_000, 123_456_789],
    ["1700000000.5", 1_700_000_000, 500_000_000],
    ["1.0000000009", 1, 0],
    ["8589934592", 8_589_934_592, 0],
    ["-1", -1, 0],
    ["-1.25", -2, 750_000_000],
    ["-0.000000001", -1, 999_999_999],
    ["0.", 0, 0],
  ])("have times: %s", (text, seconds, nanos) => {
    const entry = one(pax({ mtime: text }), block({}));
    expect([entry.mtimeSeconds, entry.mtimeNanos]).toEqual([seconds, nanos]);
  });
  test("have sizes of more than 8 GiB", () => {
    const sink = new CollectingSink();
    const reader = new TarReader({ sink });
    reader.push(Buffer.concat([pax({ size: String(2 ** 40) }), block({ 124: "\x80" })]));
    expect(sink.entries[0]?.entry.size).toBe(2 ** 40);
  });
  test("have attributes, labels and access control lists in every form", () => {
    const acl = Buffer.from("02000000010006ffffffffff", "hex").toString("latin1");
    const value = Buffer.from("0200000001000600ffffffff", "hex").toString("latin1");
    const entry = one(
      pax({
        "RHT.security.selinux": "label",
        "SCHILY.acl.access": "user::rw-",
        "SCHILY.xattr.user.%3D": "\0\n=",
        "SCHILY.xattr.user.empty": "",
        "SCHILY.xattr.system.posix_acl_default": value,
        "LIBARCHIVE.xattr.user.ignored": "eA",
      }),
      block({}),
    );
    expect(entry.xattrs.map(({ name, value }) => `${latin1(name)}=${latin1(value)}`)).toEqual([
      "security.selinux=label",
      "user.==\0\n=",
      "user.empty=",
    ]);
    const owner = [{ tag: "user-owner", permissions: 6, id: undefined }] as const;
    expect([entry.aclAccess, entry.aclDefault, entry.aclUnreadable]).toEqual([owner, owner, false]);
    expect(one(pax({ "SCHILY.acl.access": "who knows" }), block({})).aclUnreadable).toBe(true);
    expect(one(pax({ "SCHILY.xattr.system.posix_acl_access": acl }), block({})).aclUnreadable).toBe(true);
  });
  test.each([
    [pax({ uid: "x" }), "uid is not a number"],
    [pax({ size: "-5" }), "size is not a number"],
    [pax({ size: "99999999999999999" }), "size is not a number"],
    [pax({ mtime: "yesterday" }), "mtime is not a time"],
    [pax({ path: "a\0b" }), "a NUL in path"],
    [pax({ "SCHILY.xattr.": "x" }), "an extended attribute has no name"],
    [extension("x", "5 a=b\n"), "a record is cut short"],
    [extension("x", "99 a=b\n"), "a record is cut short"],
    [extension("x", "3 a=b\n"), "a record has an impossible length"],
    [extension("x", "a=b\n"), "a record has no length"],
    [extension("x", "99999999999 a=b\n"), "a record has no length"],
    [extension("x", "7 aaaa\n"), "a record has no ="],
  ])("that cannot be are damage: %#", (front, message) => {
    expect(damage(Buffer.concat([front, block({}), END]))).toBe(`E_ARCHIVE_DAMAGED: ${message} (byte 0 of the tar)`);
  });
});

describe("limits", () => {
  const limits = { paxBytesMax: 2000, nameBytesMax: 200, extensionsMax: 3, extentsMax: 4 };
  const refused = (...parts: readonly Uint8Array[]): string =>
    damage(Buffer.concat([...parts, block({}), END]), { limits });
  test("hold for the bytes of pax records, of one header and of all of an entry", () => {
    expect(refused(pax({ comment: "x".repeat(2000) }))).toContain("pax records of 2014 bytes, at most 2000 are read");
    expect(refused(pax({ comment: "x".repeat(1200) }), pax({ comment: "x".repeat(1200) }))).toContain(
      "at most 2000 are read",
    );
    expect(refused(...Array.from({ length: 4 }, () => extension("g", record("comment", "x".repeat(600)))))).toContain(
      "global pax records of more than 2000 bytes",
    );
  });
  test("hold for names, wherever they come from", () => {
    const long = "n".repeat(201);
    expect(refused(extension("L", `${long}\0`))).toContain("a name of 202 bytes, at most 201 are read");
    expect(refused(extension("K", `${long}\0`))).toContain("a name of 202 bytes, at most 201 are read");
    expect(refused(pax({ path: long }))).toContain("a name of more than 200 bytes");
    const link = Buffer.concat([pax({ linkpath: long }), block({ 156: "2" }), END]);
    expect(damage(link, { limits })).toContain("a link's target of more than 200 bytes");
  });
  test("hold for the number of headers in front of an entry", () => {
    expect(refused(...Array.from({ length: 4 }, () => pax({ comment: "x" })))).toContain(
      "more than 3 headers in front",
    );
  });
  test("hold for a header that announces any length, before a byte of it is kept", () => {
    const huge = block({ 124: "\x80\0\0\0\0\x1f\xff\xff\xff\xff\xff\xff", 156: "x" });
    expect(damage(Buffer.concat([huge, END]))).toContain(`at most ${TAR_LIMITS.paxBytesMax} are read`);
  });
  test("hold for the stretches of sparse files in every form", () => {
    const map = Array.from({ length: 5 }, (_, i) => `${i * 1024},512`).join(",");
    const message = "more than 4 stretches of data";
    expect(refused(pax({ "GNU.sparse.size": "9999", "GNU.sparse.map": map }))).toContain(message);
    const single = Array.from(
      { length: 5 },
      (_, i) => record("GNU.sparse.offset", `${i * 1024}`) + record("GNU.sparse.numbytes", "512"),
    );
    expect(refused(extension("x", single.join("")))).toContain(message);
    const file = block({ 124: "00000006000\0" });
    const inFront = padded(`5\n${map.replaceAll(",", "\n")}\n`);
    const front = pax({ "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9999" });
    expect(damage(Buffer.concat([front, file, inFront, END]), { limits })).toContain(message);
  });
});

describe("a sparse file", () => {
  const front = pax({
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "real name",
    "GNU.sparse.realsize": "3000",
  });
  const size = (bytes: number): Record<number, string> => ({ 124: `${bytes.toString(8).padStart(11, "0")}\0` });
  test("of version 1.0 has its name from the record and its data in place", () => {
    const { entries } = read(
      front,
      block(size(512 + 515)),
      padded("3\n0\n512\n2000\n3\n3000\n0\n"),
      padded(`${"a".repeat(512)}bcd`),
    );
    const [file] = entries;
    expect(latin1(file?.entry.path ?? END)).toBe("real name");
    expect([file?.entry.size, file?.entry.storedBytes, file?.entry.sparse]).toEqual([3000, 515, true]);
    expect(latin1(file?.content ?? END)).toBe(`${"a".repeat(512)}${"\0".repeat(1488)}bcd${"\0".repeat(997)}`);
  });
  test("may have a map of many blocks", () => {
    const count = 300;
    const map = Array.from({ length: count }, (_, i) => `${i * 1024}\n512\n`).join("");
    const whole = padded(`${count}\n${map}`);
    const fronted = pax({ "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000000" });
    const { entries } = read(fronted, block(size(whole.length + count * 512)), whole, Buffer.alloc(count * 512, 1));
    expect(whole.length).toBeGreaterThan(2000);
    expect(entries[0]?.content.reduce((sum, byte) => sum + byte, 0)).toBe(count * 512);
  });
  test("of a version from the future is said to be unsupported, and passed over", () => {
    const future = pax({ "GNU.sparse.major": "2", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "3000" });
    const { entries } = read(future, block(size(5)), padded("12345"), block({ 0: "next" }));
    expect(entries.map(({ entry }) => entry.type)).toEqual(["unsupported", "file"]);
  });
  test.each([
    ["3\n0\n512\n", 515, "something else than numbers"],
    ["1\n0\n512\n", 514, "is for 512 bytes, and 514 are stored"],
    ["2\n1000\n10\n500\n10\n", 20, "goes backwards"],
    ["1\n2999\n2\n", 2, "ends beyond its size of 3000"],
    ["x\n", 0, "something else than numbers"],
    ["\n", 0, "something else than numbers"],
    ["1\n99999999999999999\n1\n", 1, "an impossible number"],
    ["2\n9007199254740991\n1\n", 1, "an impossible number"],
  ])("with a map that cannot be is damage: %j", (map, stored, message) => {
    const tar = Buffer.concat([front, block(size(512 + stored)), padded(map), padded("x".repeat(stored)), END]);
    expect(damage(tar)).toContain(message);
  });
  test("without its map, or without its size, is damage", () => {
    expect(damage(Buffer.concat([front, block(size(100)), padded("x"), END]))).toContain(
      "a sparse file without its map",
    );
    expect(damage(Buffer.concat([pax({ "GNU.sparse.major": "1" }), block({}), END]))).toContain("without its size");
  });
});
