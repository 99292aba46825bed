/**
 * The maps of sparse files as a reader finds them: GNU.sparse 0.0 and 0.1 in pax records, 1.0 in front of the data, and the old GNU
 * form in the header and blocks behind it. A map is only believed when it is in order and is for the data there is.
 */
import { assert } from "#base/assert.ts";
import { numberField } from "./tar-reader-fields.ts";

/** Says what is wrong with a map. */
export class SparseProblem extends Error {
  constructor(what: string) {
    super(what);
    this.name = "SparseProblem";
  }
}

const INITIAL_LENGTH = 64;

/** Stretches of data, checked as they come. 16 bytes each. */
export class ExtentList {
  readonly #countMax: number;
  #numbers = new Float64Array(INITIAL_LENGTH);
  #count = 0;
  #end = 0;
  /** Sum of the lengths. */
  dataBytes = 0;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#count;
  }

  start(index: number): number {
    return this.#numbers[2 * index] ?? 0;
  }

  length(index: number): number {
    return this.#numbers[2 * index + 1] ?? 0;
  }

  add(start: number, length: number): void {
    if (start < this.#end) throw new SparseProblem("the map of a sparse file goes backwards");
    this.#end = start + length;
    if (!Number.isSafeInteger(this.#end)) throw new SparseProblem("the map of a sparse file has an impossible number");
    // Those at the end only say how long the file is.
    if (length === 0) return;
    if (this.#count === this.#countMax) {
      throw new SparseProblem(`a sparse file in more than ${this.#countMax} stretches of data`);
    }
    if (2 * this.#count === this.#numbers.length) {
      const longer = new Float64Array(this.#numbers.length * 2);
      longer.set(this.#numbers);
      this.#numbers = longer;
    }
    this.#numbers[2 * this.#count] = start;
    this.#numbers[2 * this.#count + 1] = length;
    this.#count += 1;
    this.dataBytes += length;
  }

  /** What must hold once all are there. */
  check(realSize: number, storedBytes: number): void {
    if (this.#end > realSize) throw new SparseProblem(`the map of a sparse file ends beyond its size of ${realSize}`);
    if (this.dataBytes !== storedBytes) {
      throw new SparseProblem(`the map of a sparse file is for ${this.dataBytes} bytes, and ${storedBytes} are stored`);
    }
  }
}

const BLOCK_BYTES = 512;
const NEWLINE = 0x0a;
const ZERO = 0x30;

/** A map of GNU.sparse 1.0, block by block: how many stretches, then offset and length of each, one number a line. */
export class MapReader {
  readonly #extents: ExtentList;
  #count: number | undefined;
  #seen = 0;
  #start: number | undefined;
  #value = 0;
  #digits = 0;

  constructor(extents: ExtentList) {
    this.#extents = extents;
  }

  /** Takes a block. True when it was the last one of the map. Throws SparseProblem. */
  block(bytes: Uint8Array, at: number): boolean {
    for (let i = at; i < at + BLOCK_BYTES; i += 1) {
      const byte = bytes[i] ?? 0;
      if (byte === NEWLINE && this.#digits > 0) {
        if (this.#line(this.#value)) return true;
        this.#value = 0;
        this.#digits = 0;
        continue;
      }
      const digit = byte - ZERO;
      if (digit < 0 || digit > 9) throw new SparseProblem("the map of a sparse file has something else than numbers");
      this.#value = this.#value * 10 + digit;
      this.#digits += 1;
      if (this.#digits > 16) throw new SparseProblem("the map of a sparse file has an impossible number");
    }
    return false;
  }

  #line(value: number): boolean {
    if (this.#count === undefined) {
      this.#count = value;
    } else if (this.#start === undefined) {
      this.#start = value;
    } else {
      this.#extents.add(this.#start, value);
      this.#start = undefined;
      this.#seen += 1;
    }
    return this.#seen === this.#count;
  }
}

/** Old GNU headers: where the first four stretches stand, whether blocks with more follow, and the size with the holes. */
const OLD_MAP_AT = 386;
const OLD_MAP_COUNT = 4;
const OLD_EXTENDED_AT = 482;
const OLD_REAL_SIZE_AT = 483;
const OLD_NUMBER_BYTES = 12;
/** Each of the blocks that follow. */
const OLD_BLOCK_COUNT = 21;
const OLD_BLOCK_EXTENDED_AT = 504;

export function oldRealSize(bytes: Uint8Array, at: number): number {
  return oldNumber(bytes, at + OLD_REAL_SIZE_AT);
}

/** Takes the stretches in the header. True when more blocks of them follow. */
export function addOldHeader(extents: ExtentList, bytes: Uint8Array, at: number): boolean {
  addOld(extents, bytes, at + OLD_MAP_AT, OLD_MAP_COUNT);
  return bytes[at + OLD_EXTENDED_AT] === 1;
}

/** The same for one of those blocks. */
export function addOldBlock(extents: ExtentList, bytes: Uint8Array, at: number): boolean {
  addOld(extents, bytes, at, OLD_BLOCK_COUNT);
  return bytes[at + OLD_BLOCK_EXTENDED_AT] === 1;
}

function addOld(extents: ExtentList, bytes: Uint8Array, at: number, count: number): void {
  for (let i = 0; i < count; i += 1) {
    const startAt = at + i * 2 * OLD_NUMBER_BYTES;
    // An empty place ends the list.
    if (bytes[startAt] === 0) return;
    extents.add(oldNumber(bytes, startAt), oldNumber(bytes, startAt + OLD_NUMBER_BYTES));
  }
}

function oldNumber(bytes: Uint8Array, at: number): number {
  const value = numberField(bytes, at, OLD_NUMBER_BYTES);
  if (value === undefined || value < 0) throw new SparseProblem("the map of a sparse file has an impossible number");
  return value;
}

/** Gives the pieces of stored data their places in the file, as they come. */
export class Placer {
  readonly #extents: ExtentList | undefined;
  #index = 0;
  /** Bytes taken of the stretch in hand; without a map, of the file. */
  #taken = 0;

  /** `extents` undefined: a file without holes. */
  constructor(extents: ExtentList | undefined) {
    this.#extents = extents;
  }

  /** Takes `length` stored bytes, more than none, calling `onPiece` with the offset in the file, the first byte and the length of each piece. */
  take(length: number, onPiece: (offset: number, start: number, length: number) => void): void {
    const extents = this.#extents;
    if (extents === undefined) {
      const offset = this.#taken;
      this.#taken += length;
      onPiece(offset, 0, length);
      return;
    }
    let start = 0;
    while (start < length) {
      assert(this.#index < extents.count, "stored data without a place");
      const whole = extents.length(this.#index);
      const piece = Math.min(length - start, whole - this.#taken);
      const offset = extents.start(this.#index) + this.#taken;
      this.#taken += piece;
      if (this.#taken === whole) {
        this.#index += 1;
        this.#taken = 0;
      }
      onPiece(offset, start, piece);
      start += piece;
    }
  }
}
