/** The bytes of tar headers: which field, which record, which way of writing for what does not fit. */
import { describe, expect, test } from "bun:test";
import { parseIdNames } from "#archive/id-names.ts";
import type { Stat } from "#archive/source.ts";
import { paxRecordLength, writeBase256, writeDecimal } from "#archive/tar-format.ts";
import { type TarEntry, TarWriter } from "#archive/tar-writer.ts";
import { KiB, MiB } from "#base/units.ts";
import { type WalkedEntry, walkTar } from "#test/support/tar-walk.ts";

const STAT: Stat = {
  type: "file",
  mode: 0o644,
  uid: 1000,
  gid: 100,
  size: 0,
  allocatedBytes: 0,
  mtimeSeconds: 1_700_000_000,
  mtimeNanos: 0,
  ctimeSeconds: 1,
  ctimeNanos: 2,
  dev: "1",
  ino: "2",
  nlink: 1,
  rdevMajor: 0,
  rdevMinor: 0,
};

const names = {
  userName: (uid: number) => (uid === 1000 ? "ana" : uid === 7 ? "u".repeat(32) : undefined),
  groupName: (gid: number) => (gid === 100 ? "users" : undefined),
};

function headers(entry: Partial<Omit<TarEntry, "stat">> & { readonly stat?: Partial<Stat> }): Uint8Array {
  const into = new Uint8Array(2 * MiB).fill(0xa5);
  const { stat, ...rest } = entry;
  const whole: TarEntry = {
    path: Buffer.from("a"),
    type: "file",
    size: 0,
    linkTarget: undefined,
    sparse: undefined,
    attributes: [],
    ...rest,
    stat: { ...STAT, ...stat },
  };
  return into.slice(0, new TarWriter(names).write(into, 0, whole));
}

/** The entry as a reader sees it; its data is taken for zeros. */
function read(entry: Parameters<typeof headers>[0]): WalkedEntry {
  const written = headers(entry);
  const only = walkTar(Buffer.concat([written, new Uint8Array(1024)]))[0];
  if (only === undefined) throw new Error("no entry");
  return only;
}

describe("a tar header", () => {
  test("is one ustar block when everything fits, every byte of it known", () => {
    const expected = Buffer.alloc(512);
    expected.write("srv/a.txt", 0);
    expected.write("0000644\0", 100);
    expected.write("0001750\0", 108);
    expected.write("0000144\0", 116);
    expected.write("00000000012\0", 124);
    expected.write("14524767200\0", 136);
    expected.write("012627\0 ", 148);
    expected.write("0", 156);
    expected.write("ustar\x0000", 257);
    expected.write("ana", 265);
    expected.write("users", 297);
    expected.write("0000000\0", 329);
    expected.write("0000000\0", 337);
    const stat = { mtimeSeconds: 0o14524767200 };
    expect(Buffer.from(headers({ path: Buffer.from("srv/a.txt"), size: 10, stat }))).toEqual(expected);
  });
  test("keeps setuid, setgid and sticky bits, and nothing above them", () => {
    expect(read({ stat: { mode: 0o7755 } }).mode).toBe(0o7755);
  });
  test("leaves out the names of ids that have none or one that does not fit", () => {
    expect(read({ stat: { uid: 5, gid: 6 } })).toMatchObject({ uid: 5, gid: 6, userName: "", groupName: "" });
    expect(read({ stat: { uid: 7 } }).userName).toBe("");
  });
  test("has nanoseconds in a pax record, the whole seconds in the block too", () => {
    const entry = read({ stat: { mtimeNanos: 123_456_789 } });
    expect([entry.mtime, entry.pax.get("mtime")]).toEqual([1_700_000_000, "1700000000.123456789"]);
    expect(read({ stat: { mtimeNanos: 1 } }).pax.get("mtime")).toBe("1700000000.000000001");
    expect(read({ stat: { mtimeNanos: 500_000_000 } }).pax.get("mtime")).toBe("1700000000.5");
    expect(read({ stat: { mtimeSeconds: 0, mtimeNanos: 20 } }).pax.get("mtime")).toBe("0.00000002");
  });
  test("has whole seconds only before 1970, both ways of writing them", () => {
    const entry = read({ stat: { mtimeSeconds: -123_456_789, mtimeNanos: 500_000_000 } });
    expect([entry.mtime, entry.pax.get("mtime")]).toEqual([-123_456_789, "-123456789"]);
    expect(read({ stat: { mtimeSeconds: -1 } }).mtime).toBe(-1);
  });
  test("has a time beyond 2242 both ways", () => {
    expect(read({ stat: { mtimeSeconds: 8_589_934_591 } }).pax.size).toBe(0);
    const entry = read({ stat: { mtimeSeconds: 8_589_934_592 } });
    expect([entry.mtime, entry.pax.get("mtime")]).toEqual([8_589_934_592, "8589934592"]);
    expect(read({ stat: { mtimeSeconds: 8_589_934_592, mtimeNanos: 7 } }).pax.get("mtime")).toBe(
      "8589934592.000000007",
    );
  });
  test("has ids beyond seven octal digits both ways", () => {
    expect(read({ stat: { uid: 2_097_151, gid: 2_097_151 } }).pax.size).toBe(0);
    const entry = read({ stat: { uid: 2_097_152, gid: 4_294_967_294 } });
    expect([entry.uid, entry.gid]).toEqual([2_097_152, 4_294_967_294]);
    expect([...entry.pax]).toEqual([
      ["gid", "4294967294"],
      ["uid", "2097152"],
    ]);
  });
  test("has a size of 8 GiB and more both ways", () => {
    const sizeOf = (block: Uint8Array): bigint => Buffer.from(block).readBigUInt64BE(124 + 4);
    const large = headers({ size: 2 ** 33 });
    expect(large.length).toBe(3 * 512);
    expect(Buffer.from(large.slice(512, 1024)).toString("latin1")).toStartWith("19 size=8589934592\n\0");
    expect([large[1024 + 124], sizeOf(large.subarray(1024))]).toEqual([0x80, 2n ** 33n]);
    expect(headers({ size: 2 ** 33 - 1 }).length).toBe(512);
    expect(Buffer.from(headers({ size: 2 ** 50 }).slice(512, 1024)).toString()).toStartWith(`25 size=${2 ** 50}\n`);
  });
  test("has the numbers of devices, and zeros for all else", () => {
    const stat = { type: "block", rdevMajor: 4095, rdevMinor: 1_048_575 } as const;
    expect(read({ type: "block", stat }).device).toEqual([4095, 1_048_575]);
    expect(read({ type: "file", stat }).device).toEqual([0, 0]);
  });
});

describe("a name", () => {
  test.each([1, 99, 100, 101, 155, 156, 255, 256, 257, 1000, 4095, 4096, 5000, 60 * KiB])(
    "of %d bytes comes back whole, whatever it is made of",
    (length) => {
      const kinds = {
        plain: "n".repeat(length),
        deep: `${"ab/cd".repeat(length).slice(0, length - 1)}x`,
        utf8: (length % 2 === 1 ? "x" : "") + Buffer.from("é".repeat(length / 2)).toString("latin1"),
        raw: "\xff".repeat(length),
        newline: "\n".repeat(length),
      };
      for (const path of Object.values(kinds)) {
        expect(read({ path: Buffer.from(path, "latin1") }).path).toBe(path);
        const link = read({ type: "symlink", path: Buffer.from("l"), linkTarget: Buffer.from(path, "latin1") });
        expect(link.linkTarget).toBe(path);
        const directory = `${path.slice(0, -1)}/`;
        expect(read({ type: "directory", path: Buffer.from(directory, "latin1") }).path).toBe(directory);
      }
    },
  );
  test("of up to 256 bytes is split at a slash without any further header", () => {
    const path = `${"d".repeat(155)}/${"n".repeat(100)}`;
    expect(headers({ path: Buffer.from(path) }).length).toBe(512);
    expect(read({ path: Buffer.from(path) }).path).toBe(path);
    expect(read({ path: Buffer.from(`${path}x`) }).extensions).toBe("x");
  });
  test("that is too long goes into a pax record if it is UTF-8, else into GNU headers", () => {
    const utf8 = Buffer.from("é".repeat(60));
    const raw = Buffer.from("\xe9".repeat(120), "latin1");
    expect(read({ path: utf8 }).extensions).toBe("x");
    expect(read({ path: raw }).extensions).toBe("L");
    expect(read({ path: raw, linkTarget: raw, type: "symlink", stat: { mtimeNanos: 5 } }).extensions).toBe("xKL");
    expect(read({ path: utf8, linkTarget: raw, type: "symlink" }).extensions).toBe("xK");
    expect(read({ path: raw, linkTarget: utf8, type: "symlink" }).extensions).toBe("xL");
  });
  test("that is short stays as it is, UTF-8 or not", () => {
    expect(headers({ path: Buffer.from("\xff\xfe", "latin1") }).length).toBe(512);
  });
});

describe("the parts", () => {
  test("a pax record counts its own length, also where that makes it longer", () => {
    for (let value = 0; value < 2000; value += 1) {
      const length = paxRecordLength(4, value);
      expect(`${length} path=${"x".repeat(value)}\n`.length).toBe(length);
    }
  });
  test("decimal digits and base-256 numbers are exact up to 2^53", () => {
    for (const value of [0, 9, 10, 99, 100, 2 ** 31, 2 ** 53 - 1, -1, -(2 ** 40)]) {
      const digits = new Uint8Array(20);
      expect(Buffer.from(digits.slice(0, writeDecimal(digits, 0, value))).toString()).toBe(String(value));
      const field = new Uint8Array(12);
      writeBase256(field, 0, 12, value);
      const expected = (BigInt.asUintN(96, BigInt(value)) & ((1n << 88n) - 1n)) | ((value < 0 ? 0xffn : 0x80n) << 88n);
      expect(BigInt(`0x${Buffer.from(field).toString("hex")}`)).toBe(expected);
    }
  });
  test("names of ids come from the lines of passwd and group, the first of an id", () => {
    const text = "root:x:0:0:root:/root:/bin/sh\n# note\nbad\ntoor:x:0:0::/:\nana:x:1000:1000::/:\n+nis\nx:y:-1:\n";
    expect([...parseIdNames(text)]).toEqual([
      [0, "root"],
      [1000, "ana"],
    ]);
  });
});
