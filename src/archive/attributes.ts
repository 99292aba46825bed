/**
 * The extended attributes and access control lists of an entry, as the pax records that keep them: SCHILY.xattr.<name> with the raw
 * value, SCHILY.acl.access and .default as text. What does not fit into the room there is stays out, the largest first. Makes no
 * system calls (linux-xattrs.ts does).
 */
import { assert } from "#base/assert.ts";
import { errnoName } from "#base/errors.ts";
import { aclText, parseAclValue } from "./acl.ts";
import type { Xattrs } from "./source.ts";
import { paxRecordLength } from "./tar-format.ts";

/** A pax record: key and value in raw bytes. */
export interface Attribute {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Tells what was not kept: `xattrs-unreadable` with an errno, or `xattrs-too-large`. */
export type AttributeReport = (reason: "xattrs-unreadable" | "xattrs-too-large", errno?: string) => void;

export const XATTR_KEY = "SCHILY.xattr.";
export const ACL_ACCESS_KEY = "SCHILY.acl.access";
export const ACL_DEFAULT_KEY = "SCHILY.acl.default";
/** Where the kernel has them. */
export const ACL_ACCESS_NAME = "system.posix_acl_access";
export const ACL_DEFAULT_NAME = "system.posix_acl_default";

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const XATTR_PREFIX = ascii(XATTR_KEY);
const ACLS: ReadonlyMap<string, Uint8Array> = new Map([
  [ACL_ACCESS_NAME, ascii(ACL_ACCESS_KEY)],
  [ACL_DEFAULT_NAME, ascii(ACL_DEFAULT_KEY)],
]);

const EQUALS = 0x3d;
const PERCENT = 0x25;
const ESCAPED_EQUALS = ascii("%3D");
const ESCAPED_PERCENT = ascii("%25");
const NONE: readonly Attribute[] = [];

interface Wanted {
  readonly name: Uint8Array;
  readonly key: Uint8Array;
  readonly acl: boolean;
}

/**
 * The records of a file, sorted by the bytes of their keys, together at most `bytesMax` long, which must be room enough for
 * two access control lists (ATTRIBUTES_BYTES_MAX in pax.ts is).
 */
export function readAttributes(from: Xattrs, bytesMax: number, report: AttributeReport): readonly Attribute[] {
  try {
    const names = from.names();
    if (names.length === 0) return NONE;
    return collect(from, wanted(names), bytesMax, report);
  } catch (error) {
    reportErrno(error, report);
    return NONE;
  }
}

function wanted(names: Uint8Array): Wanted[] {
  const all: Wanted[] = [];
  for (let start = 0; start < names.length;) {
    const found = names.indexOf(0, start);
    const end = found < 0 ? names.length : found;
    const name = names.slice(start, end);
    const aclKey = ACLS.get(Buffer.from(name).toString("latin1"));
    if (name.length > 0) all.push({ name, key: aclKey ?? xattrKey(name), acl: aclKey !== undefined });
    start = end + 1;
  }
  return all.sort((a, b) => Buffer.compare(a.key, b.key));
}

function collect(
  from: Xattrs,
  all: readonly Wanted[],
  bytesMax: number,
  report: AttributeReport,
): readonly Attribute[] {
  const kept: (Attribute & { readonly acl: boolean })[] = [];
  let length = 0;
  let dropped = false;
  let failed = false;
  for (const { name, key, acl } of all) {
    let value: Uint8Array | undefined;
    try {
      value = from.value(name);
    } catch (error) {
      // One sentence for an entry is enough, however many of its attributes are refused.
      if (!failed) reportErrno(error, report);
      failed = true;
      continue;
    }
    if (value === undefined) continue;
    const text = acl ? aclRecord(value) : new Uint8Array(value);
    if (text === undefined) {
      if (!failed) report("xattrs-unreadable", "EINVAL");
      failed = true;
      continue;
    }
    kept.push({ key, value: text, acl });
    length += paxRecordLength(key.length, text.length);
    while (length > bytesMax) {
      length -= dropLargest(kept);
      dropped = true;
    }
  }
  if (dropped) report("xattrs-too-large");
  return kept;
}

/**
 * Takes the longest out, the last of equals, and gives its length. Doing so while they come leaves the same ones as doing it at the end:
 * the shortest that fit together.
 */
function dropLargest(kept: (Attribute & { readonly acl: boolean })[]): number {
  let largest = -1;
  let length = 0;
  for (const [i, { key, value, acl }] of kept.entries()) {
    const record = paxRecordLength(key.length, value.length);
    if (acl || record < length) continue;
    largest = i;
    length = record;
  }
  assert(largest >= 0, "there is no room for the access control lists of an entry");
  kept.splice(largest, 1);
  return length;
}

function reportErrno(error: unknown, report: AttributeReport): void {
  const errno = errnoName(error);
  if (errno === undefined) throw error;
  report("xattrs-unreadable", errno);
}

function aclRecord(value: Uint8Array): Uint8Array | undefined {
  const entries = parseAclValue(value);
  return entries === undefined ? undefined : ascii(aclText(entries));
}

/** GNU tar ends a key at the first `=`, and reads `%3D` and `%25`: so those are written, and only where they are needed. */
function xattrKey(name: Uint8Array): Uint8Array {
  const key: number[] = [...XATTR_PREFIX];
  for (const [i, byte] of name.entries()) {
    if (byte === EQUALS) key.push(...ESCAPED_EQUALS);
    else if (byte === PERCENT && isEscape(name, i)) key.push(...ESCAPED_PERCENT);
    else key.push(byte);
  }
  return Uint8Array.from(key);
}

/** The name of the attribute that a key's part behind SCHILY.xattr. stands for. */
export function xattrName(escaped: Uint8Array): Uint8Array {
  const name: number[] = [];
  for (let i = 0; i < escaped.length; i += 1) {
    const isOne = escaped[i] === PERCENT && isEscape(escaped, i);
    if (isOne) name.push(escaped[i + 1] === ESCAPED_EQUALS[1] ? EQUALS : PERCENT);
    else name.push(escaped[i] ?? 0);
    if (isOne) i += 2;
  }
  return Uint8Array.from(name);
}

/** True when a reader would take what stands at `at` for `%3D` or `%25`. */
function isEscape(name: Uint8Array, at: number): boolean {
  const isAt = (text: Uint8Array): boolean => name[at + 1] === text[1] && name[at + 2] === text[2];
  return isAt(ESCAPED_EQUALS) || isAt(ESCAPED_PERCENT);
}
