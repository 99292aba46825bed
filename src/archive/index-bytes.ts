/** The numbers of an index (index-format.ts), written into memory that grows, and read with every bound checked. Knows no records. */
import { AssertionError } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";

/** What a damaged, foreign or impossible index is refused with; who gets it reads the archive instead. */
export function indexDamaged(what: string): Failure {
  return new Failure("E_INDEX_DAMAGED", what);
}

export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  length = 0;

  constructor(capacityBytes: number) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** What was written. Valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  /** Makes sure that `bytes` more can be written. The other methods grow by themselves; those of numbers do not. */
  reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.#bytes.length) return;
    const longer = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    longer.set(this.view());
    this.#bytes = longer;
    this.#view = new DataView(longer.buffer);
  }

  u8(value: number): void {
    this.#bytes[this.length] = value;
    this.length += 1;
  }

  u32(value: number): void {
    this.#view.setUint32(this.length, value);
    this.length += 4;
  }

  /** A safe integer. */
  u64(value: number): void {
    this.#view.setUint32(this.length, Math.floor(value / 2 ** 32));
    this.#view.setUint32(this.length + 4, value % 2 ** 32);
    this.length += 8;
  }

  big(value: bigint): void {
    this.#view.setBigUint64(this.length, value);
    this.length += 8;
  }

  v(value: number): void {
    this.length = writeV(this.#bytes, this.length, value);
  }

  z(value: number): void {
    this.v(zigzag(value));
  }

  /** Does not grow. */
  numbers(list: NumberList): void {
    const { values, length } = list;
    let at = this.length;
    for (let i = 0; i < length; i += 1) {
      const value = values[i] ?? 0;
      if (value >= 0) {
        at = writeV(this.#bytes, at, value);
      } else {
        this.#view.setUint32(at, -1 - value);
        at += 4;
      }
    }
    this.length = at;
  }

  bytes(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** `from[start..end)`: without a view, which costs more than a short copy. Does not grow. */
  part(from: Uint8Array, start: number, end: number): void {
    const to = this.length - start;
    for (let i = start; i < end; i += 1) this.#bytes[to + i] = from[i] ?? 0;
    this.length = to + end;
  }

  /** Overwrites what stands at `at`. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value);
  }
}

/**
 * Numbers to be written in one go. Where each of them is a call, the compiler puts the loops of `v` into its caller that many times, and
 * to make that machine code costs a backup of some ten thousand files more than to run it.
 */
export class NumberList {
  /** Those of 0 and more are `v`; a `u32` stands there as -1 minus itself. */
  readonly values: Float64Array;
  length = 0;

  constructor(capacity: number) {
    this.values = new Float64Array(capacity);
  }

  clear(): void {
    this.length = 0;
  }

  v(value: number): void {
    this.values[this.length] = value;
    this.length += 1;
  }

  z(value: number): void {
    this.v(zigzag(value));
  }

  u32(value: number): void {
    this.v(-1 - value);
  }
}

/** Gives the offset behind it. */
function writeV(into: Uint8Array, start: number, value: number): number {
  let rest = value;
  let at = start;
  while (rest > 0x7fff_ffff) {
    const upper = Math.floor(rest / 128);
    into[at] = 0x80 | (rest - upper * 128);
    at += 1;
    rest = upper;
  }
  while (rest > 0x7f) {
    into[at] = 0x80 | (rest & 0x7f);
    at += 1;
    rest >>>= 7;
  }
  into[at] = rest;
  return at + 1;
}

function zigzag(value: number): number {
  const doubled = value < 0 ? -2 * value - 1 : 2 * value;
  // Not assert(): the text would be made for every number.
  if (doubled > Number.MAX_SAFE_INTEGER) throw new AssertionError(`${value} cannot be written as a difference`);
  return doubled;
}

/** Reads a block from its beginning to its end; everything throws Failure E_INDEX_DAMAGED where the block does not have it. */
export class ByteCursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #at = 0;

  /** `what` names the block in failures. */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  u64(): number {
    const at = this.#take(8);
    const value = this.#view.getUint32(at) * 2 ** 32 + this.#view.getUint32(at + 4);
    if (!Number.isSafeInteger(value)) throw this.damaged("has a number that is too large");
    return value;
  }

  big(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  v(): number {
    let at = this.#at;
    let byte = this.#bytes[at] ?? 0x80;
    at += 1;
    let value = byte & 0x7f;
    for (let factor = 128; byte > 0x7f; factor *= 128) {
      if (at >= this.#bytes.length) throw this.damaged("ends within a number");
      byte = this.#bytes[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * factor;
      if (value > Number.MAX_SAFE_INTEGER) throw this.damaged("has a number that is too large");
      if (byte === 0) throw this.damaged("has a number with zeros in front");
    }
    this.#at = at;
    return value;
  }

  z(): number {
    const doubled = this.v();
    return doubled % 2 === 0 ? doubled / 2 : -(doubled + 1) / 2;
  }

  /** A view. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Fills `into` from `start` to its end. */
  copy(into: Uint8Array, start: number): void {
    const from = this.#take(into.length - start) - start;
    for (let i = start; i < into.length; i += 1) into[i] = this.#bytes[from + i] ?? 0;
  }

  zeros(count: number): void {
    for (let i = 0; i < count; i += 1) if (this.u8() !== 0) throw this.damaged("has something where zeros belong");
  }

  /** All was read. */
  end(): void {
    if (this.left !== 0) throw this.damaged(`has ${this.left} bytes too many`);
  }

  damaged(what: string): Failure {
    return indexDamaged(`${this.#what} ${what}`);
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) throw this.damaged(`is too short`);
    this.#at = at + length;
    return at;
  }
}
