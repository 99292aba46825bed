/**
 * Pax records as a reader finds them: `<length> <key>=<value>\n`, values in raw bytes, later ones winning, an empty one taking back
 * what a global header said. Records that say nothing about what can be restored are passed over.
 */
import { type AclEntry, parseAclText } from "./acl.ts";
import {
  ACL_ACCESS_KEY,
  ACL_ACCESS_NAME,
  ACL_DEFAULT_KEY,
  ACL_DEFAULT_NAME,
  XATTR_KEY,
  xattrName,
} from "./attributes.ts";

/** What the records said. Absent: nothing. */
export interface PaxFields {
  path?: Uint8Array;
  linkPath?: Uint8Array;
  size?: number;
  uid?: number;
  gid?: number;
  userName?: Uint8Array;
  groupName?: Uint8Array;
  mtime?: { readonly seconds: number; readonly nanos: number };
  aclAccess?: readonly AclEntry[];
  aclDefault?: readonly AclEntry[];
  aclUnreadable?: boolean;
  /** The kernel's form, which GNU tar writes beside the text: where there is no text it counts. */
  aclAccessValue?: Uint8Array;
  aclDefaultValue?: Uint8Array;
  /** By name as latin1 text, one character per byte. */
  xattrs?: Map<string, Uint8Array>;
  sparse?: PaxSparse;
}

/** GNU.sparse.*: 0.0 repeats offset and length, 0.1 has them in one map, 1.0 (with a major number) in front of the data. */
export interface PaxSparse {
  major?: number;
  minor?: number;
  name?: Uint8Array;
  realSize?: number;
  /** Offset, length, offset, length … */
  readonly numbers: number[];
}

/** Says what is wrong with the records; a reader must not go on with half of them. */
export class PaxProblem extends Error {
  constructor(what: string) {
    super(what);
    this.name = "PaxProblem";
  }
}

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;
const LENGTH_DIGITS_MAX = 10;
const FRACTION_DIGITS_MAX = 9;
/** GNU tar's own record for the label of SELinux. */
const SELINUX_KEY = "RHT.security.selinux";
const SELINUX_NAME = "security.selinux";

/** Puts what the records say into `fields`. At most `extentsMax` stretches of a sparse file. Throws PaxProblem. */
export function applyPax(fields: PaxFields, records: Uint8Array, extentsMax: number): void {
  let at = 0;
  while (at < records.length) {
    const { length, keyAt } = recordLength(records, at);
    const end = at + length;
    const equals = records.indexOf(EQUALS, keyAt);
    if (end > records.length || records[end - 1] !== NEWLINE) throw new PaxProblem("a record is cut short");
    if (equals < 0 || equals >= end) throw new PaxProblem("a record has no =");
    const key = Buffer.from(records.subarray(keyAt, equals)).toString("latin1");
    apply(fields, key, new Uint8Array(records.subarray(equals + 1, end - 1)), extentsMax);
    at = end;
  }
}

function recordLength(records: Uint8Array, at: number): { length: number; keyAt: number } {
  let length = 0;
  let i = at;
  for (; records[i] !== SPACE; i += 1) {
    const digit = (records[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 9 || i - at === LENGTH_DIGITS_MAX) throw new PaxProblem("a record has no length");
    length = length * 10 + digit;
  }
  // Key, equals sign and newline follow the length.
  if (length < i - at + 4) throw new PaxProblem("a record has an impossible length");
  return { length, keyAt: i + 1 };
}

function apply(fields: PaxFields, key: string, value: Uint8Array, extentsMax: number): void {
  if (key.startsWith(XATTR_KEY)) {
    const name = latin1(xattrName(Buffer.from(key.slice(XATTR_KEY.length), "latin1")));
    if (name.length === 0 || name.includes("\0")) throw new PaxProblem("an extended attribute has no name");
    applyXattr(fields, name, value);
  } else if (key.startsWith("GNU.sparse.")) {
    fields.sparse ??= { numbers: [] };
    applySparse(fields.sparse, key.slice("GNU.sparse.".length), value, extentsMax);
  } else if (value.length === 0) {
    takeBack(fields, key);
  } else {
    applyPlain(fields, key, value);
  }
}

function applyPlain(fields: PaxFields, key: string, value: Uint8Array): void {
  if (key === "path") fields.path = withoutNul(key, value);
  else if (key === "linkpath") fields.linkPath = withoutNul(key, value);
  else if (key === "size") fields.size = wholeNumber(key, value);
  else if (key === "uid") fields.uid = wholeNumber(key, value);
  else if (key === "gid") fields.gid = wholeNumber(key, value);
  else if (key === "uname") fields.userName = withoutNul(key, value);
  else if (key === "gname") fields.groupName = withoutNul(key, value);
  else if (key === "mtime") fields.mtime = parseTime(value);
  else if (key === ACL_ACCESS_KEY || key === ACL_DEFAULT_KEY) applyAcl(fields, key, value);
  else if (key === SELINUX_KEY && fields.xattrs?.has(SELINUX_NAME) !== true) applyXattr(fields, SELINUX_NAME, value);
}

function applyXattr(fields: PaxFields, name: string, value: Uint8Array): void {
  if (name === ACL_ACCESS_NAME) fields.aclAccessValue = value;
  else if (name === ACL_DEFAULT_NAME) fields.aclDefaultValue = value;
  else {
    fields.xattrs ??= new Map();
    fields.xattrs.set(name, value);
  }
}

function applyAcl(fields: PaxFields, key: string, value: Uint8Array): void {
  const entries = parseAclText(Buffer.from(value).toString("latin1"));
  if (entries === undefined) fields.aclUnreadable = true;
  else if (key === ACL_ACCESS_KEY) fields.aclAccess = entries;
  else fields.aclDefault = entries;
}

function takeBack(fields: PaxFields, key: string): void {
  if (key === "path") delete fields.path;
  else if (key === "linkpath") delete fields.linkPath;
  else if (key === "size") delete fields.size;
  else if (key === "uid") delete fields.uid;
  else if (key === "gid") delete fields.gid;
  else if (key === "uname") delete fields.userName;
  else if (key === "gname") delete fields.groupName;
  else if (key === "mtime") delete fields.mtime;
  else if (key === ACL_ACCESS_KEY) delete fields.aclAccess;
  else if (key === ACL_DEFAULT_KEY) delete fields.aclDefault;
}

function applySparse(sparse: PaxSparse, key: string, value: Uint8Array, extentsMax: number): void {
  const room = (): void => {
    if (sparse.numbers.length >= 2 * extentsMax) throw new PaxProblem(`more than ${extentsMax} stretches of data`);
  };
  if (key === "major") sparse.major = wholeNumber(key, value);
  else if (key === "minor") sparse.minor = wholeNumber(key, value);
  else if (key === "name") sparse.name = withoutNul(key, value);
  else if (key === "realsize" || key === "size") sparse.realSize = wholeNumber(key, value);
  else if (key === "offset" || key === "numbytes") {
    room();
    if ((sparse.numbers.length % 2 === 0) !== (key === "offset")) throw new PaxProblem("a map out of order");
    sparse.numbers.push(wholeNumber(key, value));
  } else if (key === "map") {
    sparse.numbers.length = 0;
    // Of a file that is one hole.
    if (value.length === 0) return;
    for (const text of latin1(value).split(",", 2 * extentsMax + 1)) {
      room();
      sparse.numbers.push(decimal(key, text));
    }
  }
}

function latin1(value: Uint8Array): string {
  return Buffer.from(value).toString("latin1");
}

function withoutNul(key: string, value: Uint8Array): Uint8Array {
  if (value.includes(0)) throw new PaxProblem(`a NUL in ${key}`);
  return value;
}

function wholeNumber(key: string, value: Uint8Array): number {
  return decimal(key, latin1(value.subarray(0, 20)));
}

function decimal(key: string, text: string): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw new PaxProblem(`${key} is not a number`);
  return number;
}

/** Seconds with any number of decimals, of which nine count. The nanoseconds go up from whole seconds, before 1970 too. */
function parseTime(value: Uint8Array): { seconds: number; nanos: number } {
  const match = /^(-?)(\d{1,16})(?:\.(\d*))?$/.exec(latin1(value.subarray(0, 64)));
  const whole = Number(match?.[2] ?? Number.NaN);
  if (!Number.isSafeInteger(whole)) throw new PaxProblem("mtime is not a time");
  const fraction = (match?.[3] ?? "").slice(0, FRACTION_DIGITS_MAX).padEnd(FRACTION_DIGITS_MAX, "0");
  const nanos = Number(fraction);
  if (match?.[1] !== "-") return { seconds: whole, nanos };
  return nanos === 0 ? { seconds: 0 - whole, nanos } : { seconds: -whole - 1, nanos: 1_000_000_000 - nanos };
}
