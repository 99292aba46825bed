/**
 * Which parts of a file are holes worth leaving out, and the map of what is left, as GNU.sparse 1.0 writes it in front of the data.
 * The same layout on disk gives the same map. Reads no data.
 */
import { assert, must } from "#base/assert.ts";
import { KiB, MiB } from "#base/units.ts";
import type { DataCut } from "./cutter.ts";
import type { OpenFile } from "./source.ts";
import { blocks, decimalDigits, writeDecimal } from "./tar-format.ts";

/** Smaller holes compress to nearly nothing, and some readers do not understand sparse members at all. */
const HOLE_BYTES_MIN = MiB;
/** Where filesystems begin a hole differs by their blocks; with this, copies on different ones make the same map. */
const HOLE_ALIGN_BYTES = 64 * KiB;
/** Beyond this, the smallest holes are stored as zeros. The map stays far below the room that headers have. */
export const EXTENTS_MAX = 8192;
/** Two numbers of up to 16 digits for each, one more for the end, and their count. */
export const SPARSE_MAP_BYTES_MAX = blocks((EXTENTS_MAX + 2) * 2 * 17);

const NEWLINE = 0x0a;

/** A stretch of the file that is stored. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

export interface SparseMap {
  /** In order, apart from each other, none empty. No data: none. */
  readonly extents: readonly Extent[];
  /** Size of the file as it will be restored. */
  readonly realSize: number;
  /** Sum of the extents. */
  readonly dataBytes: number;
}

/** The map of a file that is worth one; undefined for one that is to be stored whole. Throws nothing of its own. */
export function sparseMap(file: OpenFile): SparseMap | undefined {
  const { size, allocatedBytes } = file.stat;
  // Most files end here, without a system call.
  if (size < HOLE_BYTES_MIN || allocatedBytes >= size) return undefined;
  const holes = new HoleFinder(size);
  if (!file.dataRanges((start, end) => holes.data(start, end))) holes.dataToTheEnd();
  return holes.finish();
}

/** Gathers extents from the stretches of data that the filesystem tells. */
class HoleFinder {
  readonly #size: number;
  #holeBytesMin = HOLE_BYTES_MIN;
  /** The extent in hand is [#start, #end), not aligned yet; before any data both are 0. */
  #start = 0;
  #end = 0;
  #extents: Extent[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  data(start: number, end: number): void {
    const holeStart = alignUp(this.#end);
    const holeEnd = start - (start % HOLE_ALIGN_BYTES);
    if (holeEnd - holeStart >= this.#holeBytesMin) {
      this.#close(holeStart);
      this.#start = holeEnd;
    }
    this.#end = end;
  }

  dataToTheEnd(): void {
    this.#end = this.#size;
  }

  finish(): SparseMap | undefined {
    const holeStart = alignUp(this.#end);
    this.#close(this.#size - holeStart >= this.#holeBytesMin ? holeStart : this.#size);
    // The minimum may have grown since some of them were found.
    const extents = joined(this.#extents, this.#holeBytesMin);
    const dataBytes = extents.reduce((sum, { start, end }) => sum + end - start, 0);
    return dataBytes === this.#size ? undefined : { extents, realSize: this.#size, dataBytes };
  }

  #close(end: number): void {
    if (end === this.#start) return;
    this.#extents.push({ start: this.#start, end });
    while (this.#extents.length > EXTENTS_MAX) {
      this.#holeBytesMin *= 2;
      this.#extents = joined(this.#extents, this.#holeBytesMin);
    }
  }
}

function alignUp(offset: number): number {
  return Math.ceil(offset / HOLE_ALIGN_BYTES) * HOLE_ALIGN_BYTES;
}

/** Without the holes between them that are smaller than `holeBytesMin`. */
function joined(extents: readonly Extent[], holeBytesMin: number): Extent[] {
  const result: Extent[] = [];
  for (const extent of extents) {
    const last = result.at(-1);
    if (last !== undefined && extent.start - last.end < holeBytesMin) {
      result[result.length - 1] = { start: last.start, end: extent.end };
    } else {
      result.push(extent);
    }
  }
  return result;
}

/** Length of the map as it is written, in whole blocks. */
export function sparseMapBytes(map: SparseMap): number {
  let length = decimalDigits(map.extents.length + 1) + 1;
  for (const { start, end } of map.extents) length += decimalDigits(start) + decimalDigits(end - start) + 2;
  return blocks(length + decimalDigits(map.realSize) + 3);
}

/**
 * The number of stretches, then offset and length of each, every number on a line of its own, zeros up to a whole block. The last
 * stretch is (size, 0): without it GNU tar cuts the file after its last data and says nothing.
 */
export function writeSparseMap(into: Uint8Array, at: number, map: SparseMap): number {
  const end = at + sparseMapBytes(map);
  assert(end <= into.length && end - at <= SPARSE_MAP_BYTES_MAX, "no room for the map of a sparse file");
  let next = writeLine(into, at, map.extents.length + 1);
  for (const extent of map.extents) {
    next = writeLine(into, writeLine(into, next, extent.start), extent.end - extent.start);
  }
  next = writeLine(into, writeLine(into, next, map.realSize), 0);
  into.fill(0, next, end);
  return end;
}

function writeLine(into: Uint8Array, at: number, value: number): number {
  const end = writeDecimal(into, at, value);
  into[end] = NEWLINE;
  return end + 1;
}

/** What one chunk holds of a sparse file's data. */
export interface SparseCut extends DataCut {
  readonly pieces: readonly Extent[];
}

/** Gives the data chunk by chunk, cut at multiples of the chunk size of the file's own offset; holes make no chunks. */
export class SparseCutter {
  readonly #extents: readonly Extent[];
  readonly #chunkBytes: number;
  #next = 0;
  #dataBytes = 0;
  /** Where the extent in hand goes on. */
  #offset: number;

  constructor(map: SparseMap, chunkBytes: number) {
    assert(map.extents.length > 0, "a sparse file without data has no chunks of data");
    this.#extents = map.extents;
    this.#chunkBytes = chunkBytes;
    this.#offset = must(map.extents[0], "a first extent").start;
  }

  next(): SparseCut {
    const border = (Math.floor(this.#offset / this.#chunkBytes) + 1) * this.#chunkBytes;
    const pieces: Extent[] = [];
    let dataBytes = 0;
    for (let extent = this.#extents[this.#next]; extent !== undefined; extent = this.#extents[this.#next]) {
      const start = Math.max(this.#offset, extent.start);
      if (start >= border) break;
      const end = Math.min(extent.end, border);
      pieces.push({ start, end });
      dataBytes += end - start;
      this.#offset = end;
      if (end === extent.end) {
        this.#next += 1;
        this.#offset = this.#extents[this.#next]?.start ?? end;
      }
    }
    assert(dataBytes > 0 && dataBytes <= this.#chunkBytes, "a chunk of a sparse file without data");
    const last = this.#next === this.#extents.length;
    // The padding comes behind all of the data.
    this.#dataBytes += dataBytes;
    const rawBytes = last ? dataBytes + blocks(this.#dataBytes) - this.#dataBytes : dataBytes;
    return { pieces, dataBytes, rawBytes, last };
  }
}
