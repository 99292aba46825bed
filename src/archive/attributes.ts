/**
 * The extended attributes and access control lists of an entry, as the pax records that keep them: SCHILY.xattr.<name> with the raw
 * value, SCHILY.acl.access and .default as text. What does not fit into the room there is stays out, the largest first. Makes no
 * system calls (linux-xattrs.ts does).
 */
import { assert } from "#base/assert.ts";
import { errnoName } from "#base/errors.ts";
import { keepLight } from "#base/light-code.ts";
import { aclText, parseAclValue } from "./acl.ts";
import { equalBytes } from "./bytes.ts";
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
  /** The last value of that name, as the kernel gave it, and what became of it: labels repeat from file to file. */
  lastValue: Uint8Array;
  last: Kept | undefined;
}

interface Kept extends Attribute {
  readonly acl: boolean;
}

/** Lists of names that files had: on a machine with labels nearly all have the same one. */
const LISTS_MAX = 64;

/** Reads the attributes of one file after another. */
export class AttributeReader {
  readonly #bytesMax: number;
  /** By the list as the kernel gave it, in latin1 text. */
  readonly #lists = new Map<string, readonly Wanted[]>();
  /** The list of the last file, which is most often that of the next one too. */
  #lastNames: Uint8Array = new Uint8Array(0);
  #lastWanted: readonly Wanted[] = [];

  /** All records of a file together are at most `bytesMax` long, which must be room enough for two access control lists. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    keepLight(this.read, this.#wanted, this.#collect);
  }

  /** The records of a file, sorted by the bytes of their keys. */
  read(from: Xattrs, report: AttributeReport): readonly Attribute[] {
    try {
      const names = from.names();
      if (names.length === 0) return NONE;
      return this.#collect(from, this.#wanted(names), report);
    } catch (error) {
      reportErrno(error, report);
      return NONE;
    }
  }

  #wanted(names: Uint8Array): readonly Wanted[] {
    if (equalBytes(names, this.#lastNames)) return this.#lastWanted;
    this.#lastNames = new Uint8Array(names);
    this.#lastWanted = this.#find(names);
    return this.#lastWanted;
  }

  #find(names: Uint8Array): readonly Wanted[] {
    const text = Buffer.from(names.buffer, names.byteOffset, names.length).toString("latin1");
    const known = this.#lists.get(text);
    if (known !== undefined) return known;
    if (this.#lists.size === LISTS_MAX) this.#lists.clear();
    const wanted = sortedNames(text);
    this.#lists.set(text, wanted);
    return wanted;
  }

  #collect(from: Xattrs, all: readonly Wanted[], report: AttributeReport): readonly Attribute[] {
    const kept: Kept[] = [];
    let length = 0;
    let dropped = false;
    let failed = false;
    for (const wanted of all) {
      let value: Uint8Array | undefined;
      try {
        value = from.value(wanted.name);
      } catch (error) {
        // One sentence for an entry is enough, however many of its attributes are refused.
        if (!failed) reportErrno(error, report);
        failed = true;
        continue;
      }
      if (value === undefined) continue;
      const record = keep(wanted, value);
      if (record === undefined) {
        if (!failed) report("xattrs-unreadable", "EINVAL");
        failed = true;
        continue;
      }
      kept.push(record);
      length += paxRecordLength(record.key.length, record.value.length);
      while (length > this.#bytesMax) {
        length -= dropLargest(kept);
        dropped = true;
      }
    }
    if (dropped) report("xattrs-too-large");
    return kept;
  }
}

function sortedNames(text: string): Wanted[] {
  const names = text.split("\0").filter((name) => name !== "");
  const all = names.map((text) => {
    const name = new Uint8Array(Buffer.from(text, "latin1"));
    const aclKey = ACLS.get(text);
    const key = aclKey ?? xattrKey(name);
    return { name, key, acl: aclKey !== undefined, lastValue: new Uint8Array(0), last: undefined };
  });
  return all.sort((a, b) => Buffer.compare(a.key, b.key));
}

/** The record of a value; undefined when it is no access control list although it should be. */
function keep(wanted: Wanted, value: Uint8Array): Kept | undefined {
  if (wanted.last !== undefined && equalBytes(value, wanted.lastValue)) return wanted.last;
  const { key, acl } = wanted;
  const copy = new Uint8Array(value);
  const text = acl ? aclRecord(copy) : copy;
  wanted.lastValue = copy;
  wanted.last = text === undefined ? undefined : { key, value: text, acl };
  return wanted.last;
}

/**
 * Takes the longest out, the last of equals, and gives its length. Doing so while they come leaves the same ones as doing it at the end:
 * the shortest that fit together.
 */
function dropLargest(kept: Kept[]): number {
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
