/** The part of the torture tree with holes: at the beginning, the end, between, everywhere, too small to count, under odd names. */
import fs from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import { patternBytes } from "#test/support/tree.ts";

interface SparseFile {
  readonly name: string;
  readonly size: number;
  /** Offset and length of what is written. */
  readonly data: readonly (readonly [number, number])[];
}

/** The one whose holes are stored as zeros. */
export const SMALL_HOLES = "holes too small";

const LONG = "s".repeat(180);

const FILES: readonly SparseFile[] = [
  { name: "all hole", size: 20 * MiB, data: [] },
  { name: "all hole, odd size", size: 3 * MiB + 12_345, data: [] },
  { name: "hole first", size: 6 * MiB, data: [[5 * MiB, MiB]] },
  { name: "hole last", size: 6 * MiB + 1, data: [[0, 100_000]] },
  { name: "one byte at the end", size: 8 * MiB + 77, data: [[8 * MiB + 76, 1]] },
  { name: "one byte in the middle", size: 16 * MiB, data: [[7 * MiB + 3, 1]] },
  {
    name: "across chunk borders",
    size: 10 * MiB,
    data: [
      [2 * MiB - 100_000, 200_000],
      [4 * MiB, 2 * MiB],
      [8 * MiB, 4096],
    ],
  },
  {
    name: SMALL_HOLES,
    size: 3 * MiB,
    data: [
      [0, 4096],
      [MiB - 8 * KiB, 4096],
      [2 * MiB - 70_000, 4096],
      [3 * MiB - 4096, 4096],
    ],
  },
  { name: "many", size: 128 * MiB, data: Array.from({ length: 60 }, (_, i) => [(2 * i + 1) * MiB, 5000] as const) },
  { name: `${LONG}`, size: 4 * MiB, data: [[2 * MiB, 10]] },
  { name: "\xff raw", size: 4 * MiB, data: [[0, 10]] },
  { name: `\xfe${LONG}`, size: 4 * MiB, data: [[0, 10]] },
  { name: "\xc3\xa9 utf-8", size: 4 * MiB, data: [[0, 10]] },
  { name: `\xc3\xa9${LONG}`, size: 4 * MiB, data: [[0, 10]] },
];

/** Makes the directory `sparse` in `directory`. */
export function makeSparse(directory: string): void {
  const at = (name: string): Buffer =>
    Buffer.concat([Buffer.from(`${directory}/sparse/`), Buffer.from(name, "latin1")]);
  fs.mkdirSync(path.join(directory, "sparse"));
  for (const { name, size, data } of FILES) {
    const fd = fs.openSync(at(name), "w");
    for (const [offset, length] of data) fs.writeSync(fd, patternBytes(length, offset + 1), 0, length, offset);
    fs.ftruncateSync(fd, size);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  }
  fs.linkSync(at("many"), at("many, linked"));
}
