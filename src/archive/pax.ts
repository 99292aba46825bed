/** The pax records of one entry, gathered in memory that is used again for the next. Their order is the caller's. */
import { assert } from "#base/assert.ts";
import { CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import { keepLight } from "#base/light-code.ts";
import { KiB } from "#base/units.ts";
import type { Attribute } from "./attributes.ts";
import { decimalDigits, paxRecordLength, writeDecimal } from "./tar-format.ts";

/**
 * All headers of one entry together, with the map of a sparse file: other readers refuse longer pax records, and a chunk may be
 * this much longer because of them.
 */
const HEADER_BYTES_MAX = CHUNK_RECORDS_BYTES_MAX;

/**
 * What xattrs and access control lists may take of that. What is left is enough for the longest map (SPARSE_MAP_BYTES_MAX), the
 * longest path and link target (PATH_BYTES_MAX each), and all numbers.
 */
export const ATTRIBUTES_BYTES_MAX = HEADER_BYTES_MAX - 448 * KiB;

const INITIAL_BYTES = 4096;
const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;
const DOT = 0x2e;

/** The nanoseconds that an archive keeps of a time: none before 1970, because readers disagree about negative fractions. */
export function keptNanos(seconds: number, nanos: number): number {
  return seconds < 0 ? 0 : nanos;
}

/** Keys are ASCII. */
export class PaxRecords {
  #buffer = new Uint8Array(INITIAL_BYTES);
  #length = 0;

  constructor() {
    keepLight(this.attribute, this.bytes, this.number, this.time, this.#begin, this.#end);
  }

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
  }

  /** The records, valid until the next change. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** A record whose key is bytes too. */
  attribute({ key, value }: Attribute): void {
    const length = paxRecordLength(key.length, value.length);
    this.#grow(this.#length + length);
    let at = writeDecimal(this.#buffer, this.#length, length);
    this.#buffer[at] = SPACE;
    this.#buffer.set(key, at + 1);
    at += 1 + key.length;
    this.#buffer[at] = EQUALS;
    this.#buffer.set(value, at + 1);
    this.#end(at + 1 + value.length);
  }

  bytes(key: string, value: Uint8Array): void {
    const at = this.#begin(key, value.length);
    this.#buffer.set(value, at);
    this.#end(at + value.length);
  }

  /** A safe integer of 0 or more. */
  number(key: string, value: number): void {
    const at = this.#begin(key, decimalDigits(value));
    this.#end(writeDecimal(this.#buffer, at, value));
  }

  /** A time, if the header cannot hold it, with those nanoseconds that are kept, without zeros at the end. */
  time(key: string, seconds: number, exactNanos: number): void {
    const nanos = keptNanos(seconds, exactNanos);
    if (seconds < 0) {
      const at = this.#begin(key, 1 + decimalDigits(-seconds));
      this.#end(writeDecimal(this.#buffer, at, seconds));
      return;
    }
    if (nanos === 0) {
      if (seconds > 0o77777777777) this.number(key, seconds);
      return;
    }
    let digits = 9;
    let fraction = nanos;
    while (fraction % 10 === 0) {
      fraction /= 10;
      digits -= 1;
    }
    let at = writeDecimal(this.#buffer, this.#begin(key, decimalDigits(seconds) + 1 + digits), seconds);
    this.#buffer[at] = DOT;
    at += 1;
    for (let i = at + digits - 1; i >= at; i -= 1) {
      this.#buffer[i] = 0x30 + (fraction % 10);
      fraction = Math.floor(fraction / 10);
    }
    this.#end(at + digits);
  }

  /** Writes the record up to its value and gives the value's place. */
  #begin(key: string, valueLength: number): number {
    const length = paxRecordLength(key.length, valueLength);
    this.#grow(this.#length + length);
    let at = writeDecimal(this.#buffer, this.#length, length);
    this.#buffer[at] = SPACE;
    at += 1;
    for (let i = 0; i < key.length; i += 1) this.#buffer[at + i] = key.charCodeAt(i);
    at += key.length;
    this.#buffer[at] = EQUALS;
    return at + 1;
  }

  #end(at: number): void {
    this.#buffer[at] = NEWLINE;
    this.#length = at + 1;
  }

  #grow(length: number): void {
    assert(length < HEADER_BYTES_MAX, "the pax records of an entry are too long");
    if (length <= this.#buffer.length) return;
    const longer = new Uint8Array(Math.max(length, this.#buffer.length * 2));
    longer.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = longer;
  }
}
