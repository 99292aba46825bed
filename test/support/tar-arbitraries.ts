/** Random entries for the tar writer, and what the reader must make of them. */
import fc from "fast-check";
import { aclText, type AclEntry } from "#archive/acl.ts";
import { AttributeReader } from "#archive/attributes.ts";
import { ATTRIBUTES_BYTES_MAX } from "#archive/pax.ts";
import type { Stat } from "#archive/source.ts";
import type { SparseMap } from "#archive/sparse.ts";
import { blocks } from "#archive/tar-format.ts";
import { type TarEntry, type TarType, TarWriter } from "#archive/tar-writer.ts";
import { MiB } from "#base/units.ts";
import { patternBytes } from "./tree.ts";

export interface WrittenEntry {
  readonly entry: TarEntry;
  /** What follows the headers, without padding. */
  readonly data: Uint8Array;
}

const bytesOf = (latin1: string): Uint8Array => new Uint8Array(Buffer.from(latin1, "latin1"));

/** Lengths around the fields' borders, of all bytes, of UTF-8, with slashes and newlines. */
const names = fc
  .tuple(
    fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constantFrom(99, 100, 101, 155, 156, 255, 256, 257, 1000, 5000)),
    fc.constantFrom("ab/c", "x", "\xc3\xa9", "\xff\xfe", "\n ", "a/", "\x01=,"),
  )
  .map(([length, unit]) => bytesOf(`n${unit.repeat(length)}`.slice(0, length).replace(/\/+$/, "z")));

const seconds = fc.oneof(
  fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  fc.constantFrom(0, -1, 1, 0o77777777777, 0o77777777777 + 1, 2 ** 31, -(2 ** 31) - 1),
);
const ids = fc.oneof(fc.nat(70_000), fc.constantFrom(0o7777777, 0o7777777 + 1, 2 ** 32 - 2));
const permissions = fc.integer({ min: 0, max: 7 });

const acls: fc.Arbitrary<readonly AclEntry[]> = fc.array(
  fc.oneof(
    fc.record({
      tag: fc.constantFrom("user-owner" as const, "group-owner" as const, "mask" as const, "other" as const),
      permissions,
      id: fc.constant(undefined),
    }),
    fc.record({ tag: fc.constantFrom("user" as const, "group" as const), permissions, id: ids }),
  ),
  { minLength: 1, maxLength: 6 },
);

const xattrNames = fc
  .string({ unit: fc.constantFrom("a", "=", "%", "3", "D", "2", "5", "\xff", "\n", " "), minLength: 1, maxLength: 12 })
  .map((rest) => `user.${rest}`);
const xattrs = fc.dictionary(xattrNames, fc.uint8Array({ maxLength: 300 }), { maxKeys: 5 });

const stats: fc.Arbitrary<Stat> = fc.record({
  type: fc.constant("file" as const),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: ids,
  gid: ids,
  size: fc.constant(0),
  allocatedBytes: fc.constant(0),
  mtimeSeconds: seconds,
  mtimeNanos: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 })),
  ctimeSeconds: fc.constant(0),
  ctimeNanos: fc.constant(0),
  dev: fc.constant("1"),
  ino: fc.constant("1"),
  nlink: fc.constant(1),
  rdevMajor: fc.integer({ min: 0, max: 4095 }),
  rdevMinor: fc.integer({ min: 0, max: 1_048_575 }),
});

/** In small, what the writer makes of large files: whole blocks between holes, but for the end. */
const sparseMaps: fc.Arbitrary<SparseMap> = fc
  .tuple(
    fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 8 })), { maxLength: 40 }),
    fc.nat(30_000),
  )
  .map(([parts, tail]) => {
    let at = 0;
    const extents = parts.map(([hole, data]) => {
      const start = at + hole * 512;
      at = start + data * 512;
      return { start, end: at };
    });
    return { extents, realSize: at + tail, dataBytes: extents.reduce((sum, one) => sum + one.end - one.start, 0) };
  });

const types: readonly TarType[] = ["file", "hardlink", "symlink", "char", "block", "directory", "fifo"];

export const writtenEntries: fc.Arbitrary<WrittenEntry> = fc
  .record({
    type: fc.oneof(fc.constant("file" as const), fc.constantFrom(...types)),
    path: names,
    linkTarget: names,
    stat: stats,
    bytes: fc.oneof(fc.nat(2000), fc.constantFrom(0, 511, 512, 513)),
    sparse: fc.option(sparseMaps, { nil: undefined, freq: 4 }),
    xattrs,
    access: fc.option(acls, { nil: undefined, freq: 3 }),
    defaults: fc.option(acls, { nil: undefined, freq: 3 }),
  })
  .map(({ type, path, linkTarget, stat, bytes, sparse: anySparse, xattrs: values, access, defaults }) => {
    const sparse = type === "file" ? anySparse : undefined;
    const size = type === "file" ? (sparse?.dataBytes ?? bytes) : 0;
    const entry: TarEntry = {
      type,
      path: type === "directory" ? bytesOf(`${Buffer.from(path).toString("latin1")}/`) : path,
      linkTarget: type === "symlink" || type === "hardlink" ? linkTarget : undefined,
      stat,
      size,
      sparse,
      attributes: attributesOf(values, access, defaults),
    };
    return { entry, data: patternBytes(size, size + 1) };
  });

function attributesOf(
  values: Readonly<Record<string, Uint8Array>>,
  access: readonly AclEntry[] | undefined,
  defaults: readonly AclEntry[] | undefined,
): TarEntry["attributes"] {
  const from = {
    names: () =>
      bytesOf(
        Object.keys(values)
          .map((name) => `${name}\0`)
          .join(""),
      ),
    value: (name: Uint8Array) => values[Buffer.from(name).toString("latin1")],
  };
  const acl = (key: string, entries: readonly AclEntry[] | undefined): TarEntry["attributes"] =>
    entries === undefined ? [] : [{ key: bytesOf(`SCHILY.acl.${key}`), value: bytesOf(aclText(entries)) }];
  const fromXattrs = new AttributeReader(ATTRIBUTES_BYTES_MAX).read(from, (reason) => {
    throw new Error(reason);
  });
  return [...acl("access", access), ...acl("default", defaults), ...fromXattrs];
}

/** The archive of the entries, as the chunk reader would put it together. */
export function writeTar(written: readonly WrittenEntry[]): Uint8Array {
  const writer = new TarWriter({
    userName: (uid) => (uid % 2 === 0 ? `u${uid}` : undefined),
    groupName: (gid) => (gid % 2 === 0 ? `g${gid}` : undefined),
  });
  const headers = new Uint8Array(MiB);
  const parts: Uint8Array[] = [];
  for (const { entry, data } of written) {
    parts.push(
      headers.slice(0, writer.write(headers, 0, entry)),
      data,
      new Uint8Array(blocks(data.length) - data.length),
    );
  }
  return Buffer.concat([...parts, new Uint8Array(1024)]);
}
