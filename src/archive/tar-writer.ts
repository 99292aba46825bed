/**
 * Writes the headers of one tar entry: ustar, with pax records for what it cannot hold, and GNU long names where a name is
 * not UTF-8 (INTEROP: raw bytes in a pax path break other readers). Only what the file is goes in, nothing of the run: the
 * same file gives the same bytes. Writes no file data and decides no chunk borders.
 */
import { isUtf8 } from "node:buffer";
import { assert } from "#base/assert.ts";
import { keepLight } from "#base/light-code.ts";
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
  sumOfBytes,
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

const TYPE_FLAGS: Readonly<Record<TarType, number>> = {
  file: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36,
};

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const CHECKSUM_BYTES = 8;
const DEVICE_BYTES = 16;
const MAGIC_USTAR = ascii("ustar\u000000");
const MAGIC_GNU = ascii("ustar  \0");
/** The names other writers give these headers too; readers skip them. */
const PAX_NAME = ascii("././@PaxHeader");
const LONG_LINK_NAME = ascii("././@LongLink");
const NO_NAME = new Uint8Array(0);
const SPACE = 0x20;
/** The directory that a reader without an idea of sparse files puts their data in, beside the place of the file. */
const SPARSE_DIRECTORY = ascii("GNUSparseFile.0/");

/** A header block without what differs from entry to entry: copied, and its sum known, it saves most of the work on each. */
class Template {
  readonly bytes = new Uint8Array(BLOCK_BYTES);
  sum = 0;

  fill(write: (bytes: Uint8Array) => void): void {
    this.bytes.fill(0);
    this.bytes.fill(SPACE, FIELD.checksum, FIELD.checksum + CHECKSUM_BYTES);
    write(this.bytes);
    this.sum = sumOfBytes(this.bytes, 0, BLOCK_BYTES);
  }
}

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
  /** Of the owner of the last entry, who is most often that of the next one too. */
  readonly #template = new Template();
  #uid = -1;
  #gid = -1;

  constructor(names: IdNames) {
    this.#names = names;
    keepLight(this.write, this.#writeHeader, writeExtension);
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
    if (entry.attributes.length > 0) for (const attribute of entry.attributes) pax.attribute(attribute);
    if (stat.gid > ID_MAX) pax.number("gid", stat.gid);
    if (utf8Link) pax.bytes("linkpath", linkTarget);
    pax.time("mtime", stat.mtimeSeconds, stat.mtimeNanos);
    if (utf8Path) pax.bytes("path", path);
    if (size > SIZE_MAX) pax.number("size", size);
    if (stat.uid > ID_MAX) pax.number("uid", stat.uid);

    let next = at;
    if (pax.length > 0) next = writeExtension(into, next, PAX, pax.view());
    if (longLink && !utf8Link) next = writeExtension(into, next, LONG_LINK, linkTarget);
    if (longPath && !utf8Path) next = writeExtension(into, next, LONG_NAME, path);
    this.#writeHeader(into, next, entry, { path, prefix: Math.max(0, prefix), size });
    next += BLOCK_BYTES;
    return sparse === undefined ? next : writeSparseMap(into, next, sparse);
  }

  #writeHeader(into: Uint8Array, at: number, entry: TarEntry, shown: Shown): void {
    const { stat, type, linkTarget } = entry;
    const { path, prefix, size } = shown;
    if (stat.uid !== this.#uid || stat.gid !== this.#gid) this.#setOwner(stat.uid, stat.gid);
    into.set(this.#template.bytes, at);
    let sum = this.#template.sum;
    if (prefix > 0) {
      sum += put(into, at + FIELD.prefix, path, 0, prefix);
      sum += put(into, at + FIELD.name, path, prefix + 1, path.length);
    } else {
      // A long name is cut here, for readers that know neither way of long names.
      sum += put(into, at + FIELD.name, path, 0, Math.min(path.length, NAME_BYTES));
    }
    writeOctal(into, at + FIELD.mode, 8, stat.mode);
    sum += sumOfBytes(into, at + FIELD.mode, at + FIELD.uid);
    writeNumber(into, at + FIELD.size, 12, size, SIZE_MAX);
    writeNumber(into, at + FIELD.mtime, 12, stat.mtimeSeconds, TIME_MAX);
    sum += sumOfBytes(into, at + FIELD.size, at + FIELD.checksum);
    const flag = TYPE_FLAGS[type];
    into[at + FIELD.type] = flag;
    sum += flag;
    if (linkTarget !== undefined) {
      sum += put(into, at + FIELD.linkName, linkTarget, 0, Math.min(linkTarget.length, NAME_BYTES));
    }
    if (type === "char" || type === "block") {
      const devices = at + FIELD.deviceMajor;
      sum -= sumOfBytes(into, devices, devices + DEVICE_BYTES);
      writeOctal(into, devices, 8, stat.rdevMajor);
      writeOctal(into, at + FIELD.deviceMinor, 8, stat.rdevMinor);
      sum += sumOfBytes(into, devices, devices + DEVICE_BYTES);
    }
    writeChecksum(into, at, sum);
  }

  #setOwner(uid: number, gid: number): void {
    this.#template.fill((bytes) => {
      writeNumber(bytes, FIELD.uid, 8, uid, ID_MAX);
      writeNumber(bytes, FIELD.gid, 8, gid, ID_MAX);
      bytes.set(MAGIC_USTAR, FIELD.magic);
      bytes.set(this.#userName(uid), FIELD.userName);
      bytes.set(this.#groupName(gid), FIELD.groupName);
      writeOctal(bytes, FIELD.deviceMajor, 8, 0);
      writeOctal(bytes, FIELD.deviceMinor, 8, 0);
    });
    this.#uid = uid;
    this.#gid = gid;
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

function extension(flag: number, name: Uint8Array, magic: Uint8Array): Template {
  const template = new Template();
  template.fill((bytes) => {
    bytes.set(name, FIELD.name);
    writeOctal(bytes, FIELD.mode, 8, 0o644);
    writeOctal(bytes, FIELD.uid, 8, 0);
    writeOctal(bytes, FIELD.gid, 8, 0);
    writeOctal(bytes, FIELD.mtime, 12, 0);
    bytes[FIELD.type] = flag;
    bytes.set(magic, FIELD.magic);
  });
  return template;
}

const PAX = extension(0x78, PAX_NAME, MAGIC_USTAR);
const LONG_NAME = extension(0x4c, LONG_LINK_NAME, MAGIC_GNU);
const LONG_LINK = extension(0x4b, LONG_LINK_NAME, MAGIC_GNU);

/** A header block and the blocks of its data, which describe the next header. */
function writeExtension(into: Uint8Array, at: number, template: Template, data: Uint8Array): number {
  // GNU's long names count and store the NUL behind them.
  const length = template === PAX ? data.length : data.length + 1;
  const end = at + BLOCK_BYTES + blocks(length);
  assert(end <= into.length, "no room for a tar header");
  into.set(template.bytes, at);
  writeOctal(into, at + FIELD.size, 12, length);
  writeChecksum(into, at, template.sum + sumOfBytes(into, at + FIELD.size, at + FIELD.mtime));
  into.set(data, at + BLOCK_BYTES);
  into.fill(0, at + BLOCK_BYTES + data.length, end);
  return end;
}

/** Gives the sum of the bytes. */
function put(into: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  let sum = 0;
  for (let i = start; i < end; i += 1) {
    const byte = from[i] ?? 0;
    into[at + i - start] = byte;
    sum += byte;
  }
  return sum;
}
