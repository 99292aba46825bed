/** Ranges of a tar stream: where one ends is no damage, what is wrong in one is. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { must } from "#base/assert.ts";
import { type PieceInfo, TarFeed } from "#restore/tar-feed.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

interface Place {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

let dir: string;
let tar: Buffer;
let places: Place[];

/** Takes a tar by ranges, and notes what comes. */
class Taken {
  readonly names: string[] = [];
  readonly places: Place[] = [];
  incomplete = 0;
  readonly feed = new TarFeed({
    entry: ({ path: name, headersAt, dataAt, storedBytes }) => {
      this.names.push(path.basename(Buffer.from(name).toString()));
      const to = dataAt + Math.ceil(storedBytes / 512) * 512;
      this.places.push({ name: must(this.names.at(-1), "a name"), from: headersAt, to });
    },
    data: () => undefined,
    lost: () => undefined,
    entryEnd: () => undefined,
    incomplete: () => (this.incomplete += 1),
  });

  range(enterAt: number, leaveAt: number): void {
    const piece: PieceInfo = { index: 0, offset: 0, length: tar.length, rawOffset: 0, enterAt, leaveAt };
    this.feed.push(tar, piece);
  }
}

const placeOf = (name: string): Place =>
  must(
    places.find((place) => place.name === name),
    name,
  );

beforeEach(() => {
  dir = makeTempDir(memoryDir());
  for (const name of ["a", "b", "c", "d"]) fs.writeFileSync(path.join(dir, name), name.repeat(2000));
  tar = Buffer.from(readFiles([dir]).tar);
  const whole = new Taken();
  whole.feed.push(tar, undefined);
  whole.feed.endPass(false);
  expect(whole.feed.damageCount).toBe(0);
  places = whole.places;
});
afterEach(() => removeTree(dir));

describe("a range of a tar", () => {
  test("with a header that is wrong is damaged, once, however often it is read", () => {
    const { from, to } = placeOf("b");
    tar.fill(0x55, from, to - 2048);
    const taken = new Taken();
    for (const _ of [1, 2]) {
      taken.range(placeOf("a").from, placeOf("c").to);
      taken.feed.endPass(true);
    }
    expect(taken.names).toEqual(["a", "c", "a", "c"]);
    expect([taken.feed.damageCount, taken.incomplete]).toEqual([1, 2]);
    const [damage] = taken.feed.damages;
    expect([damage?.fault, Buffer.from(damage?.before ?? []).toString()]).toEqual([
      "tar",
      path.join(dir, "c").slice(1),
    ]);
  });
  test("may end anywhere, and the next begin anywhere, without damage", () => {
    const taken = new Taken();
    // The first is left within the data of its entry, which is what an index may say of a file that nobody wants to the end.
    taken.range(placeOf("a").from, placeOf("a").to - 1024);
    taken.range(placeOf("c").from, placeOf("c").to);
    taken.feed.endPass(true);
    expect([taken.names, taken.feed.damageCount, taken.incomplete]).toEqual([["a", "c"], 0, 0]);
  });
  test("that is all there is, and lacks the end, is damaged", () => {
    const taken = new Taken();
    taken.range(0, placeOf("c").to);
    taken.feed.endPass(false);
    expect(taken.feed.damages.map(({ message }) => message?.includes("without its end blocks"))).toEqual([true]);
  });
});
