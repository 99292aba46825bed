/**
 * Writes the headers of one tar entry: ustar, with pax records for what it cannot hold, and GNU long names where a name is
 * not UTF-8 (INTEROP: raw bytes in a pax path break other readers). Only what the file is goes in, nothing of the run: the
 * same file gives the same bytes. Writes no file data and decides no chunk borders.
 */
import { isUtf8 } from "node:buffer";
import { assert } from "#base/assert.ts";
import type { Attribute } from "./attributes.ts";
import { SLASH } from "./bytes.ts";
import { PaxRecords } from "./pax.ts";
import { type SparseMap, sparseMapBytes, writeSparseMap } from "./sparse.ts";
import type { Stat } from "./source.ts";
import {
  BLOCK_BYTES,
  blocks,
  FIELD,
  ID_MAX,
  ID_NAME_BYTES_MAX,
  NAME_BYTES,
  PREFIX_BYTES,
  SIZE_MAX,
  TIME_MAX,
  writeBase256,
  writeChecksum,
  writeOctal,
} from "./tar-format.ts";

export type TarType = "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo";

/** What is written of a file. */
export interface TarEntry {
  /** Name in the archive, raw bytes, not empty; a directory's ends with a slash. */
  readonly path: Uint8Array;
  readonly type: TarType;
  readonly stat: Stat;
  /** Bytes of data that follow the headers (without padding): 0 for all but files, and without the holes of a sparse one. */
  readonly size: number;
  /** Of a file that is stored without its holes. */
  readonly sparse: SparseMap | undefined;
  /** Extended attributes and access control lists, sorted by the bytes of their keys. */
  readonly attributes: readonly Attribute[];
  /** Of a symbolic link its target, of a hard link the name in the archive of the entry with the data; else undefined. */
  readonly linkTarget: Uint8Array | undefined;
}

/** Names of ids, as FileSource has them. */
export interface IdNames {
  userName(uid: number): string | undefined;
  groupName(gid: number): string | undefined;
}

const TYPE_FLAGS: Readonly<Record<TarType | "pax" | "long-name" | "long-link", number>> = {
  file: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36,
  pax: 0x78,
  "long-name": 0x4c,
  "long-link": 0x4b,
};

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const MAGIC_USTAR = ascii("ustar\u000000");
const MAGIC_GNU = ascii("ustar  \0");
/** The names other writers give these headers too; readers skip them. */
const PAX_NAME = ascii("././@PaxHeader");
const LONG_LINK_NAME = ascii("././@LongLink");
const NO_NAME = new Uint8Array(0);
/** The directory that a reader without an idea of sparse files puts their data in, beside the place of the file. */
const SPARSE_DIRECTORY = ascii("GNUSparseFile.0/");

/** What the block itself says of name and size. */
interface Shown {
  readonly path: Uint8Array;
  /** Bytes of the path that go into the prefix; 0: none. */
  readonly prefix: number;
  readonly size: number;
}

export class TarWriter {
  readonly #names: IdNames;
  readonly #users = new Map<number, Uint8Array>();
  readonly #groups = new Map<number, Uint8Array>();
  readonly #pax = new PaxRecords();

  constructor(names: IdNames) {
    this.#names = names;
  }

  /**
   * Writes the headers of `entry` at `at`, with the map of a sparse file, and gives the offset behind them, a multiple of 512
   * from `at`. `into` must have room for HEADER_BYTES_MAX (pax.ts).
   */
  write(into: Uint8Array, at: number, entry: TarEntry): number {
    const { linkTarget, stat, sparse } = entry;
    assert(entry.path.length > 0, "a tar entry without a name");
    // The map counts as data for readers that know no sparse files, and the name in the block is for them.
    const size = sparse === undefined ? entry.size : sparseMapBytes(sparse) + entry.size;
    const utf8Sparse = sparse !== undefined && isUtf8(entry.path);
    const path = utf8Sparse ? sparsePath(entry.path) : entry.path;
    const prefix = path.length <= NAME_BYTES ? 0 : prefixLength(path);
    const longPath = prefix < 0 && !utf8Sparse;
    const longLink = linkTarget !== undefined && linkTarget.length > NAME_BYTES;
    const utf8Path = longPath && isUtf8(path);
    const utf8Link = longLink && isUtf8(linkTarget);

    const pax = this.#pax;
    pax.clear();
    // In the order of their keys, by bytes.
    if (sparse !== undefined) {
      pax.number("GNU.sparse.major", 1);
      pax.number("GNU.sparse.minor", 0);
      if (utf8Sparse) pax.bytes("GNU.sparse.name", entry.path);
      pax.number("GNU.sparse.realsize", sparse.realSize);
    }
    for (const attribute of entry.attributes) pax.attribute(attribute);
    if (stat.gid > ID_MAX) pax.number("gid", stat.gid);
    if (utf8Link) pax.bytes("linkpath", linkTarget);
    pax.time("mtime", stat.mtimeSeconds, stat.mtimeNanos);
    if (utf8Path) pax.bytes("path", path);
    if (size > SIZE_MAX) pax.number("size", size);
    if (stat.uid > ID_MAX) pax.number("uid", stat.uid);

    let next = at;
    if (pax.length > 0) next = writeExtension(into, next, "pax", pax.view());
    if (longLink && !utf8Link) next = writeExtension(into, next, "long-link", linkTarget);
    if (longPath && !utf8Path) next = writeExtension(into, next, "long-name", path);
    this.#writeHeader(into, next, entry, { path, prefix: Math.max(0, prefix), size });
    next += BLOCK_BYTES;
    return sparse === undefined ? next : writeSparseMap(into, next, sparse);
  }

  #writeHeader(into: Uint8Array, at: number, entry: TarEntry, shown: Shown): void {
    const { stat, type, linkTarget } = entry;
    const { path, prefix, size } = shown;
    into.fill(0, at, at + BLOCK_BYTES);
    if (prefix > 0) {
      put(into, at + FIELD.prefix, path, 0, prefix);
      put(into, at + FIELD.name, path, prefix + 1, path.length);
    } else {
      // A long name is cut here, for readers that know neither way of long names.
      put(into, at + FIELD.name, path, 0, Math.min(path.length, NAME_BYTES));
    }
    writeOctal(into, at + FIELD.mode, 8, stat.mode);
    writeNumber(into, at + FIELD.uid, 8, stat.uid, ID_MAX);
    writeNumber(into, at + FIELD.gid, 8, stat.gid, ID_MAX);
    writeNumber(into, at + FIELD.size, 12, size, SIZE_MAX);
    writeNumber(into, at + FIELD.mtime, 12, stat.mtimeSeconds, TIME_MAX);
    into[at + FIELD.type] = TYPE_FLAGS[type];
    if (linkTarget !== undefined) {
      put(into, at + FIELD.linkName, linkTarget, 0, Math.min(linkTarget.length, NAME_BYTES));
    }
    into.set(MAGIC_USTAR, at + FIELD.magic);
    into.set(this.#userName(stat.uid), at + FIELD.userName);
    into.set(this.#groupName(stat.gid), at + FIELD.groupName);
    const device = type === "char" || type === "block";
    writeOctal(into, at + FIELD.deviceMajor, 8, device ? stat.rdevMajor : 0);
    writeOctal(into, at + FIELD.deviceMinor, 8, device ? stat.rdevMinor : 0);
    writeChecksum(into, at);
  }

  #userName(uid: number): Uint8Array {
    let name = this.#users.get(uid);
    if (name === undefined) {
      name = idName(this.#names.userName(uid));
      this.#users.set(uid, name);
    }
    return name;
  }

  #groupName(gid: number): Uint8Array {
    let name = this.#groups.get(gid);
    if (name === undefined) {
      name = idName(this.#names.groupName(gid));
      this.#groups.set(gid, name);
    }
    return name;
  }
}

/** A name that does not fit is left out: the number counts then. */
function idName(name: string | undefined): Uint8Array {
  const bytes = name === undefined ? NO_NAME : new TextEncoder().encode(name);
  return bytes.length <= ID_NAME_BYTES_MAX ? bytes : NO_NAME;
}

/**
 * Where to split a path of more than 100 bytes into prefix and name, at a slash that is stored in neither: -1 when it cannot be.
 * The name must not be empty, so the slash at the end of a directory does not count.
 */
function prefixLength(path: Uint8Array): number {
  if (path.length > PREFIX_BYTES + 1 + NAME_BYTES) return -1;
  for (let i = Math.max(1, path.length - NAME_BYTES - 1); i <= PREFIX_BYTES && i < path.length - 1; i += 1) {
    if (path[i] === SLASH) return i;
  }
  return -1;
}

/** `d/GNUSparseFile.0/f` of `d/f`: GNU tar's own name, with 0 where it has the number of its process. */
function sparsePath(path: Uint8Array): Uint8Array {
  const nameAt = path.lastIndexOf(SLASH) + 1;
  const result = new Uint8Array(path.length + SPARSE_DIRECTORY.length);
  result.set(path.subarray(0, nameAt));
  result.set(SPARSE_DIRECTORY, nameAt);
  result.set(path.subarray(nameAt), nameAt + SPARSE_DIRECTORY.length);
  return result;
}

function writeNumber(into: Uint8Array, at: number, width: number, value: number, max: number): void {
  if (value >= 0 && value <= max) writeOctal(into, at, width, value);
  else writeBase256(into, at, width, value);
}

/** A header block and the blocks of its data, which describe the next header. */
function writeExtension(
  into: Uint8Array,
  at: number,
  kind: "pax" | "long-name" | "long-link",
  data: Uint8Array,
): number {
  // GNU's long names count and store the NUL behind them.
  const length = kind === "pax" ? data.length : data.length + 1;
  const end = at + BLOCK_BYTES + blocks(length);
  assert(end <= into.length, "no room for a tar header");
  into.fill(0, at, at + BLOCK_BYTES);
  into.set(kind === "pax" ? PAX_NAME : LONG_LINK_NAME, at + FIELD.name);
  writeOctal(into, at + FIELD.mode, 8, 0o644);
  writeOctal(into, at + FIELD.uid, 8, 0);
  writeOctal(into, at + FIELD.gid, 8, 0);
  writeOctal(into, at + FIELD.size, 12, length);
  writeOctal(into, at + FIELD.mtime, 12, 0);
  into[at + FIELD.type] = TYPE_FLAGS[kind];
  into.set(kind === "pax" ? MAGIC_USTAR : MAGIC_GNU, at + FIELD.magic);
  writeChecksum(into, at);
  into.set(data, at + BLOCK_BYTES);
  into.fill(0, at + BLOCK_BYTES + data.length, end);
  return end;
}

function put(into: Uint8Array, at: number, from: Uint8Array, start: number, end: number): void {
  for (let i = start; i < end; i += 1) into[at + i - start] = from[i] ?? 0;
}
