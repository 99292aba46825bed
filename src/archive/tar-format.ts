/**
 * The fields of a tar header block (POSIX ustar) and of pax records, written into a buffer. Knows nothing of files; what goes
 * into which field is decided by tar-writer.ts.
 */

export const BLOCK_BYTES = 512;
/** The archive ends with two blocks of zeros. */
export const END_BYTES = 2 * BLOCK_BYTES;

/** Where the fields of a header block begin. */
export const FIELD = {
  name: 0,
  mode: 100,
  uid: 108,
  gid: 116,
  size: 124,
  mtime: 136,
  checksum: 148,
  type: 156,
  linkName: 157,
  magic: 257,
  userName: 265,
  groupName: 297,
  deviceMajor: 329,
  deviceMinor: 337,
  prefix: 345,
} as const;

export const NAME_BYTES = 100;
export const PREFIX_BYTES = 155;
/** A user or group name ends with a NUL. */
export const ID_NAME_BYTES_MAX = 31;

/** The largest numbers that fit in octal: 7 digits for ids, 11 for size and time. */
export const ID_MAX = 0o7777777;
export const SIZE_MAX = 0o77777777777;
export const TIME_MAX = 0o77777777777;

const ZERO = 0x30;

/** `length` rounded up to whole blocks. */
export function blocks(length: number): number {
  return Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;
}

/** `width - 1` octal digits and a NUL. `value` must fit. */
export function writeOctal(into: Uint8Array, at: number, width: number, value: number): void {
  let rest = value;
  for (let i = at + width - 2; i >= at; i -= 1) {
    const upper = Math.floor(rest / 8);
    into[i] = ZERO + (rest - upper * 8);
    rest = upper;
  }
}

/**
 * Two's complement, big-endian, with the first bit set to tell it from octal: GNU's way for numbers that octal cannot hold.
 * `value` may be negative and must be a safe integer.
 */
export function writeBase256(into: Uint8Array, at: number, width: number, value: number): void {
  let rest = value;
  for (let i = at + width - 1; i > at; i -= 1) {
    const upper = Math.floor(rest / 256);
    into[i] = rest - upper * 256;
    rest = upper;
  }
  into[at] = value < 0 ? 0xff : 0x80;
}

/** Writes the sum of the block's bytes in six octal digits, NUL, space. The field must hold spaces before, and the sum count them. */
export function writeChecksum(into: Uint8Array, block: number, sum: number): void {
  const at = block + FIELD.checksum;
  writeOctal(into, at, 7, sum);
  into[at + 6] = 0;
}

export function sumOfBytes(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  for (let i = start; i < end; i += 1) sum += bytes[i] ?? 0;
  return sum;
}

/** Decimal digits of a safe integer, with a minus where it is negative. Gives the offset behind them. */
export function writeDecimal(into: Uint8Array, at: number, value: number): number {
  let start = at;
  let rest = value;
  if (rest < 0) {
    into[start] = 0x2d;
    start += 1;
    rest = -rest;
  }
  const end = start + decimalDigits(rest);
  for (let i = end - 1; i >= start; i -= 1) {
    const upper = Math.floor(rest / 10);
    into[i] = ZERO + (rest - upper * 10);
    rest = upper;
  }
  return end;
}

/** Digits of a safe integer of 0 or more. */
export function decimalDigits(value: number): number {
  let digits = 1;
  for (let limit = 10; value >= limit; limit *= 10) digits += 1;
  return digits;
}

/** Length of the pax record `<length> <key>=<value>\n`, its own length included. */
export function paxRecordLength(keyLength: number, valueLength: number): number {
  const rest = keyLength + valueLength + 3;
  const length = rest + decimalDigits(rest);
  return rest + decimalDigits(length);
}
