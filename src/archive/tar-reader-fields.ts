/**
 * The fields of a header block as a reader finds them, in every dialect: V7, ustar, GNU, star. Numbers may be octal or base-256; what
 * is neither is undefined. Decides nothing about what follows the block.
 */
import { BLOCK_BYTES, FIELD, ID_NAME_BYTES_MAX, NAME_BYTES, PREFIX_BYTES } from "./tar-format.ts";
import { SLASH } from "./bytes.ts";

const SPACE = 0x20;
const ZERO = 0x30;
const SEVEN = 0x37;
const CHECKSUM_BYTES = 8;
/** The upper two bits of a base-256 number: it is one, and its sign. */
const BASE256 = 0x80;
const NEGATIVE = 0x40;
/** star and its kin keep times behind a shorter prefix, and say so here. */
const STAR_MAGIC_AT = 508;
const STAR_MAGIC = new TextEncoder().encode("tar\0");
const STAR_PREFIX_BYTES = 131;
const USTAR = new TextEncoder().encode("ustar");

/** `posix`: the prefix counts. `gnu`: other things stand in its place. `v7`: there is nothing behind the link's name. */
export type Dialect = "posix" | "gnu" | "v7";

export function isZeroBlock(bytes: Uint8Array, at: number): boolean {
  for (let i = at; i < at + BLOCK_BYTES; i += 1) if (bytes[i] !== 0) return false;
  return true;
}

/** True when the checksum is right; some old programs summed signed bytes. */
export function checksumFits(bytes: Uint8Array, at: number): boolean {
  const expected = numberField(bytes, at + FIELD.checksum, CHECKSUM_BYTES);
  if (expected === undefined) return false;
  let sum = CHECKSUM_BYTES * SPACE;
  let high = 0;
  for (let i = at; i < at + BLOCK_BYTES; i += 1) {
    const byte = bytes[i] ?? 0;
    sum += byte;
    high += byte >> 7;
  }
  for (let i = at + FIELD.checksum; i < at + FIELD.checksum + CHECKSUM_BYTES; i += 1) {
    const byte = bytes[i] ?? 0;
    sum -= byte;
    high -= byte >> 7;
  }
  return sum === expected || sum - 256 * high === expected;
}

export function dialectOf(bytes: Uint8Array, at: number): Dialect {
  for (const [i, byte] of USTAR.entries()) if (bytes[at + FIELD.magic + i] !== byte) return "v7";
  return bytes[at + FIELD.magic + USTAR.length] === 0 ? "posix" : "gnu";
}

/**
 * The number in a field; undefined when it is none or cannot be held exactly. Nothing but blanks is 0. Spaces may stand in front,
 * a space or NUL ends it.
 */
export function numberField(bytes: Uint8Array, at: number, width: number): number | undefined {
  const end = at + width;
  if ((bytes[at] ?? 0) >= BASE256) return base256(bytes, at, end);
  let i = at;
  while (i < end && bytes[i] === SPACE) i += 1;
  let value = 0;
  for (; i < end; i += 1) {
    const byte = bytes[i] ?? 0;
    if (byte === 0 || byte === SPACE) break;
    if (byte < ZERO || byte > SEVEN) return undefined;
    value = value * 8 + byte - ZERO;
  }
  // Behind the end only more of what ends it.
  for (; i < end; i += 1) if (bytes[i] !== 0 && bytes[i] !== SPACE) return undefined;
  return value;
}

/** Two's complement of all bits but the first. */
function base256(bytes: Uint8Array, at: number, end: number): number | undefined {
  const first = bytes[at] ?? 0;
  const negative = (first & NEGATIVE) !== 0;
  let value = (first & 0x3f) - (negative ? 0x40 : 0);
  for (let i = at + 1; i < end; i += 1) {
    value = value * 256 + (bytes[i] ?? 0);
    if (!Number.isSafeInteger(value)) return undefined;
  }
  return value;
}

/** A copy of the field up to its first NUL. */
export function textField(bytes: Uint8Array, at: number, width: number): Uint8Array {
  let end = at;
  while (end < at + width && bytes[end] !== 0) end += 1;
  return new Uint8Array(bytes.subarray(at, end));
}

/** The name with its prefix, as the block has it. */
export function nameField(bytes: Uint8Array, at: number, dialect: Dialect): Uint8Array {
  const name = textField(bytes, at + FIELD.name, NAME_BYTES);
  if (dialect !== "posix") return name;
  const prefix = textField(bytes, at + FIELD.prefix, isStar(bytes, at) ? STAR_PREFIX_BYTES : PREFIX_BYTES);
  if (prefix.length === 0) return name;
  const path = new Uint8Array(prefix.length + 1 + name.length);
  path.set(prefix);
  path[prefix.length] = SLASH;
  path.set(name, prefix.length + 1);
  return path;
}

/** The name of a user or a group; V7 knows none. */
export function idNameField(bytes: Uint8Array, at: number, dialect: Dialect): Uint8Array {
  return dialect === "v7" ? new Uint8Array(0) : textField(bytes, at, ID_NAME_BYTES_MAX + 1);
}

function isStar(bytes: Uint8Array, at: number): boolean {
  return STAR_MAGIC.every((byte, i) => bytes[at + STAR_MAGIC_AT + i] === byte);
}
