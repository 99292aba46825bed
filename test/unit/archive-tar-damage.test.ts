/** Where the tar reader says that an archive is damaged or cut, and how it goes on. */
import { describe, expect, test } from "bun:test";
import { TarReader } from "#archive/tar-reader.ts";
import { Failure } from "#base/errors.ts";
import { block, damage, END, latin1, padded, pax, read } from "#test/support/tar-blocks.ts";
import { CollectingSink, collectTar } from "#test/support/tar-collect.ts";

describe("the end", () => {
  test("is two blocks of zeros, and what comes behind them is ignored", () => {
    const sink = new CollectingSink();
    const reader = new TarReader({ sink });
    reader.push(Buffer.concat([block({}), END]));
    expect(reader.ended).toBe(true);
    reader.push(Buffer.from("anything"));
    reader.end();
    expect([sink.entries.length, sink.damages]).toEqual([1, []]);
  });
  test("may not be missing: an archive cut between two entries is damaged", () => {
    const message =
      "E_ARCHIVE_DAMAGED: the archive ends without its end blocks, so more is missing (byte 512 of the tar)";
    expect(damage(block({}))).toBe(message);
    expect(damage(Buffer.concat([block({}), END.subarray(512)]))).toContain("(byte 1024 of the tar)");
    expect(damage(new Uint8Array(0))).toContain("(byte 0 of the tar)");
  });
  test("is not one block of zeros, behind which other programs go on too", () => {
    expect(read(block({}), END.subarray(512), block({ 0: "g" })).entries.length).toBe(2);
  });
  test("in the middle of a file says what of it is lost", () => {
    const tar = Buffer.concat([block({ 124: "00000002000\0" }), Buffer.alloc(600, 1)]);
    const { entries, damages } = collectTar(tar, { lenient: true });
    expect(entries.map(({ lost, ended }) => `${lost.join()} ${ended}`)).toEqual(["600+424 true"]);
    expect(damages.length).toBe(1);
  });
  test("in the middle of headers loses the entry", () => {
    const tar = Buffer.concat([pax({ path: "p" }), block({}).subarray(0, 100)]);
    expect(collectTar(tar, { lenient: true })).toMatchObject({ entries: [], damages: [expect.any(String)] });
  });
});

describe("going on after damage", () => {
  const names = (sink: CollectingSink): string[] =>
    sink.entries.map(({ entry }) => `${latin1(entry.path)}${entry.headersMayBeLost ? " ?" : ""}`);
  test("finds the next header with a right checksum, and says what was skipped and what may be lost", () => {
    const broken = block({ 0: "broken" });
    broken[0] = 0x42;
    const tar = Buffer.concat([block({ 0: "a" }), broken, padded("data"), block({ 0: "b" }), block({ 0: "c" }), END]);
    const sink = collectTar(tar, { lenient: true });
    expect(names(sink)).toEqual(["a", "b ?", "c"]);
    expect(sink.skips).toEqual(["512-1536"]);
    expect(sink.damages).toEqual(["E_ARCHIVE_DAMAGED: a header has the wrong checksum (byte 512 of the tar)"]);
  });
  test("trusts an entry whose headers begin with one that says more about it", () => {
    const tar = Buffer.concat([padded("noise"), pax({ path: "long" }), block({}), END]);
    expect(names(collectTar(tar, { lenient: true }))).toEqual(["long"]);
  });
  test("may begin anywhere in a stream, with the offsets of the whole", () => {
    const tar = Buffer.concat([padded("data of a file"), block({ 0: "b" }), END]);
    const { entries, skips, damages } = collectTar(tar, { startAt: 4096, search: true, lenient: true });
    expect(entries[0]?.entry).toMatchObject({ headersAt: 4608, dataAt: 5120 });
    expect([skips, damages]).toEqual([["4096-4608"], []]);
  });
  test("takes no header without a magic for one, for checksums come up by chance", () => {
    const tar = Buffer.concat([padded("noise"), block({ 0: "v7" }, "\0"), END]);
    expect(names(collectTar(tar, { lenient: true }))).toEqual([]);
  });
  test("that nothing ends is told once more", () => {
    const { damages, skips } = collectTar(padded("noise"), { lenient: true });
    expect(damages.length).toBe(2);
    expect(skips).toEqual(["0-512"]);
  });
  test("over missing data of a file stays in step with what follows", () => {
    const data = Buffer.alloc(5000, 7);
    const tar = Buffer.concat([
      block({ 124: "00000011610\0" }),
      padded(data.toString("latin1")),
      block({ 0: "next" }),
      END,
    ]);
    const sink = new CollectingSink(true);
    const reader = new TarReader({ sink });
    reader.push(tar.subarray(0, 1000));
    reader.missing(2000);
    reader.push(tar.subarray(3000));
    reader.end();
    expect(names(sink)).toEqual(["f", "next"]);
    expect(sink.entries[0]?.lost).toEqual(["488+2000"]);
  });
  test("is not tried when the sink throws, and the reader takes nothing more", () => {
    const sink = new CollectingSink(true);
    const reader = new TarReader({ sink });
    expect(() => reader.push(padded("noise"))).toThrow(Failure);
    expect(() => reader.push(END)).toThrow("a closed tar reader was pushed to");
  });
});
