/**
 * test/golden/index/small.hex was made from the words of index-format.ts without the code under test: it is read to what its comments say, and
 * written again to the same bytes. Another implementation can use it too.
 */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { crc32 } from "node:zlib";
import { IndexBuilder } from "#archive/index-builder.ts";
import type { IndexHeader, TableChunk } from "#archive/index-format.ts";
import { collect, expected, type MadeEntry, openIndex } from "#test/support/index-kit.ts";

function read(name: string): Uint8Array {
  const text = fs.readFileSync(path.join(import.meta.dir, "index", name), "utf8");
  return Uint8Array.fromHex(text.replaceAll(/#.*$/gm, "").replaceAll(/\s/g, ""));
}

const HEADER: IndexHeader = {
  rebuilt: false,
  session: "7c9e6679-7425-40de-944b-e07fc1f90ae7",
  agent: "web-1",
  backup: "home",
  archive: "web-1/home/2026-02-12T02-00-00-123Z.tar.gz",
  startedMs: 1_770_861_600_123,
  compression: { mode: "gzip", level: 6 },
  chunkBytes: 1_048_576,
  sources: ["/srv"],
  exclude: ["*.o"],
  oneFileSystem: false,
  excludeCaches: true,
  excludeIfPresent: [],
};

const OWNER = { uid: 1000, gid: 100, rdevMajor: 0, rdevMinor: 0 };
const CALM = { sparse: false, changed: false, short: false, racy: false };
const ENTRIES: readonly MadeEntry[] = [
  {
    entry: {
      ...{ path: Buffer.from("srv/"), type: "directory", linkTarget: undefined, mode: 0o755, size: 0 },
      ...{ mtimeSeconds: 1_700_000_000, mtimeNanos: 0, ...OWNER },
    },
    live: { ctimeSeconds: 1_700_000_001, ctimeNanos: 0, dev: "2049", ino: "2" },
    place: { headersAt: 0, dataAt: 512, storedBytes: 0, headersDigest: 0x0102030405060708n, ...CALM },
  },
  {
    entry: {
      ...{ path: Buffer.from("srv/a"), type: "file", linkTarget: undefined, mode: 0o644, size: 700 },
      ...{ mtimeSeconds: 1_699_999_995, mtimeNanos: 123_456_789, ...OWNER },
    },
    live: { ctimeSeconds: 1_699_999_995, ctimeNanos: 123_456_789, dev: "2049", ino: "12" },
    place: {
      ...{ headersAt: 512, dataAt: 2048, storedBytes: 700, headersDigest: 0xfffefdfcfbfaf9f8n },
      ...{ sparse: false, changed: true, short: true, racy: true },
    },
  },
  {
    entry: {
      ...{ path: Buffer.from("srv/b"), type: "symlink", linkTarget: Buffer.from("a/b"), mode: 0o777, size: 0 },
      ...{ mtimeSeconds: 1_699_999_995, mtimeNanos: 0, ...OWNER },
    },
    live: { ctimeSeconds: 1_700_000_001, ctimeNanos: 1, dev: "2049", ino: "18446744073709551615" },
    place: { headersAt: 4096, dataAt: 4608, storedBytes: 0, headersDigest: 0n, ...CALM },
  },
];

const sha256 = (text: string): Uint8Array => new Uint8Array(new Bun.CryptoHasher("sha256").update(text).digest());
const CHUNKS: readonly TableChunk[] = [
  {
    ...{ number: 0, kind: "entries", storedOffset: 0, storedLength: 300, rawOffset: 0, rawLength: 5120 },
    ...{ crc: 0xdeadbeef, digest: sha256("one") },
  },
  {
    ...{ number: 1, kind: "end", storedOffset: 300, storedLength: 29, rawOffset: 5120, rawLength: 1024 },
    ...{ crc: 1, digest: sha256("two") },
  },
];

/** A gzip member of one stored block. */
function storedMember(raw: Uint8Array): Uint8Array {
  const front = Buffer.from("1f8b08000000000000ff0100000000", "hex");
  front.writeUInt16LE(raw.length, 11);
  front.writeUInt16LE(raw.length ^ 0xffff, 13);
  const back = Buffer.alloc(8);
  back.writeUInt32LE(crc32(raw), 0);
  back.writeUInt32LE(raw.length, 4);
  return Buffer.concat([front, raw, back]);
}

describe("the index of the golden vector", () => {
  test("is read to what its comments say", async () => {
    const index = await openIndex(read("small.hex"));
    expect(index.header).toEqual(HEADER);
    expect(index.totals).toEqual({
      ...{ entries: 3, chunks: 2, rawBytes: 6144, storedBytes: 329, changed: 1, short: 1, sorted: true },
    });
    expect<unknown>(await collect(index.entries())).toEqual(
      ENTRIES.map((made, number) => ({ number, ...expected(made) })),
    );
    expect(await collect(index.chunks())).toEqual([...CHUNKS]);
  });
  test("is written to the same bytes", () => {
    const written: Uint8Array[] = [];
    const builder = new IndexBuilder({
      header: HEADER,
      compress: storedMember,
      write: (stored) => written.push(stored),
    });
    for (const { entry, live, place } of ENTRIES) builder.entry(entry, live, place);
    for (const { kind, rawLength, storedLength, crc, digest } of CHUNKS) {
      builder.chunk(kind, rawLength, { storedLength, crc, digest });
    }
    builder.finish();
    expect(Buffer.concat(written).toString("hex")).toBe(Buffer.from(read("small.hex")).toString("hex"));
  });
});
