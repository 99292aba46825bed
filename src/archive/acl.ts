/**
 * POSIX access control lists in the two forms they have: the kernel's, the value of system.posix_acl_access and _default, and
 * the text that archives hold (SCHILY.acl.access). Ids are written as numbers: a name that the machine of the restore does not know
 * would make GNU tar drop the whole list. Both forms are read, names too; who looks them up is the caller's business.
 */
import { assert } from "#base/assert.ts";

/** Whom an entry is about. `user` and `group` name somebody; the others are the file's own user, group, mask and all the rest. */
export type AclTag = "user-owner" | "user" | "group-owner" | "group" | "mask" | "other";

export interface AclEntry {
  readonly tag: AclTag;
  /** Three bits, as in a mode. */
  readonly permissions: number;
  /** Of `user` and `group`: the number, or a name when the text has one. */
  readonly id: number | string | undefined;
}

/** The kernel takes no value longer than 64 KiB, which is this many entries of 8 bytes behind the version. */
const ACL_ENTRIES_MAX = 8191;

const VERSION = 2;
const VERSION_BYTES = 4;
const ENTRY_BYTES = 8;
const NO_ID = 0xffff_ffff;
const NUMBERS: readonly (readonly [AclTag, number])[] = [
  ["user-owner", 0x01],
  ["user", 0x02],
  ["group-owner", 0x04],
  ["group", 0x08],
  ["mask", 0x10],
  ["other", 0x20],
];
const TAG_OF_NUMBER: ReadonlyMap<number, AclTag> = new Map(NUMBERS.map(([tag, number]) => [number, tag]));
const NUMBER_OF_TAG: ReadonlyMap<AclTag, number> = new Map(NUMBERS);
const PERMISSIONS = ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"] as const;
const PREFIX: Readonly<Record<AclTag, string>> = {
  "user-owner": "user:",
  user: "user:",
  "group-owner": "group:",
  group: "group:",
  mask: "mask:",
  other: "other:",
};

/** The entries of the kernel's form, in its order; undefined when it is not one that this version knows. */
export function parseAclValue(value: Uint8Array): readonly AclEntry[] | undefined {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (value.length < VERSION_BYTES || (value.length - VERSION_BYTES) % ENTRY_BYTES !== 0) return undefined;
  if (view.getUint32(0, true) !== VERSION) return undefined;
  const entries: AclEntry[] = [];
  for (let at = VERSION_BYTES; at < value.length; at += ENTRY_BYTES) {
    const tag = TAG_OF_NUMBER.get(view.getUint16(at, true));
    const permissions = view.getUint16(at + 2, true);
    if (tag === undefined || permissions > 7) return undefined;
    entries.push({ tag, permissions, id: named(tag) ? view.getUint32(at + 4, true) : undefined });
  }
  return entries;
}

/** The kernel's form. Names must have become numbers before. */
export function aclValue(entries: readonly AclEntry[]): Uint8Array {
  assert(entries.length <= ACL_ENTRIES_MAX, "an access control list is too long");
  const value = new Uint8Array(VERSION_BYTES + entries.length * ENTRY_BYTES);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  for (const [i, { tag, permissions, id }] of entries.entries()) {
    assert(typeof id !== "string", "a name in an access control list was not looked up");
    const at = VERSION_BYTES + i * ENTRY_BYTES;
    view.setUint16(at, NUMBER_OF_TAG.get(tag) ?? 0, true);
    view.setUint16(at + 2, permissions, true);
    view.setUint32(at + 4, id ?? NO_ID, true);
  }
  return value;
}

/** `user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---` */
export function aclText(entries: readonly AclEntry[]): string {
  return entries
    .map(({ tag, permissions, id }) => `${PREFIX[tag]}${id ?? ""}:${PERMISSIONS[permissions] ?? "---"}`)
    .join(",");
}

/**
 * The entries of a text as GNU tar (one per line), bsdtar and star (commas; star with the number as a fourth field, which
 * counts) write it; undefined when it is none.
 */
export function parseAclText(text: string): readonly AclEntry[] | undefined {
  const entries: AclEntry[] = [];
  for (const part of text.split(/[\n,]/)) {
    // GNU tar's own output has comments: `#effective:r--`.
    const plain = part.replace(/#.*/, "").trim();
    if (plain === "") continue;
    if (entries.length === ACL_ENTRIES_MAX) return undefined;
    const entry = parseEntry(plain.split(":"));
    if (entry === undefined) return undefined;
    entries.push(entry);
  }
  return entries;
}

function parseEntry(fields: readonly string[]): AclEntry | undefined {
  const [kind, first = "", second, fourth] = fields;
  // `mask:rwx` and `other:rwx` are allowed too.
  const short = (kind === "mask" || kind === "other" || kind === "m" || kind === "o") && second === undefined;
  const permissions = parsePermissions(short ? first : second);
  const tag = parseTag(kind, short ? "" : first);
  if (permissions === undefined || tag === undefined || fields.length > 4) return undefined;
  if (!named(tag)) return { tag, permissions, id: undefined };
  return { tag, permissions, id: parseId(fourth ?? "") ?? parseId(first) ?? first };
}

function parseTag(kind: string | undefined, qualifier: string): AclTag | undefined {
  if (kind === "user" || kind === "u") return qualifier === "" ? "user-owner" : "user";
  if (kind === "group" || kind === "g") return qualifier === "" ? "group-owner" : "group";
  if (qualifier !== "") return undefined;
  if (kind === "mask" || kind === "m") return "mask";
  return kind === "other" || kind === "o" ? "other" : undefined;
}

function parsePermissions(text: string | undefined): number | undefined {
  const match = /^([r-])([w-])([x-])$/.exec(text ?? "");
  if (match === null) return undefined;
  return (match[1] === "r" ? 4 : 0) + (match[2] === "w" ? 2 : 0) + (match[3] === "x" ? 1 : 0);
}

function parseId(text: string): number | undefined {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : NO_ID;
  return id < NO_ID ? id : undefined;
}

function named(tag: AclTag): boolean {
  return tag === "user" || tag === "group";
}
