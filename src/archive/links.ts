/**
 * Which inodes with several names are already in the archive, and under which name: the others become hard links to it.
 * Compact, because a tree can hold millions of them: an index of numbers, and names packed behind one another with the
 * directory stored once for the files that follow each other in it. An inode whose names were all seen is forgotten.
 *
 * An inode number alone does not prove that it is the same file: on a live system a file can go and its number come back
 * for another. Size and mtime must still be equal; else the file is stored in full, which is never wrong.
 */
import { assert } from "#base/assert.ts";
import { MiB } from "#base/units.ts";
import { SLASH } from "./bytes.ts";
import type { Stat } from "./source.ts";

/** About 70 MB with usual names. Beyond it the names of further inodes are stored as files of their own. */
const LINK_INODES_MAX = 1_000_000;
const LINK_NAMES_BYTES_MAX = 64 * MiB;

export interface LinkLimits {
  readonly inodesMax: number;
  readonly namesBytesMax: number;
}

const ENTRIES_INITIAL = 1024;
const NAMES_BYTES_INITIAL = 64 * 1024;
const NONE = -1;

/** One number per entry and column; `remaining` 0 marks an entry that is forgotten. */
interface Columns {
  readonly inodeLower: Uint32Array;
  readonly inodeUpper: Uint32Array;
  readonly device: Uint16Array;
  readonly check: Uint32Array;
  readonly remaining: Uint32Array;
  /** Offsets in the names: of the directory (its slash included) and of the last component; each ends with a NUL. */
  readonly directoryAt: Uint32Array;
  readonly nameAt: Uint32Array;
  /** Next entry of the same bucket. */
  readonly next: Int32Array;
}

export class LinkTable {
  readonly #limits: LinkLimits;
  readonly #devices = new Map<string, number>();
  #columns = makeColumns(ENTRIES_INITIAL);
  #buckets = new Int32Array(ENTRIES_INITIAL).fill(NONE);
  #entryCount = 0;
  #liveCount = 0;
  #names = new Uint8Array(NAMES_BYTES_INITIAL);
  #namesLength = 0;
  /** Where the directory of the last entry is stored. */
  #lastDirectoryAt = NONE;

  constructor(limits: LinkLimits = { inodesMax: LINK_INODES_MAX, namesBytesMax: LINK_NAMES_BYTES_MAX }) {
    this.#limits = limits;
  }

  /** Inodes remembered now. */
  get size(): number {
    return this.#liveCount;
  }

  /**
   * The archive name of the entry that holds the data of this inode, if there is one; counts this name as seen. `stat` is
   * of anything but a directory, with nlink above 1.
   */
  take(stat: Stat): Uint8Array | undefined {
    const entry = this.#find(stat);
    if (entry === NONE) return undefined;
    if (this.#columns.check[entry] !== checkOf(stat)) {
      this.#forget(entry);
      return undefined;
    }
    const path = this.#path(entry);
    const remaining = (this.#columns.remaining[entry] ?? 0) - 1;
    if (remaining === 0) this.#forget(entry);
    else this.#columns.remaining[entry] = remaining;
    return path;
  }

  /** Remembers that `archivePath` holds the data of this inode. False when a limit is reached: nothing was remembered. */
  add(stat: Stat, archivePath: Uint8Array): boolean {
    assert(stat.nlink > 1, "an inode with one name needs no link");
    const device = this.#device(stat.dev);
    if (device === undefined || !this.#makeRoom(archivePath.length + 2)) return false;
    const slash = archivePath.lastIndexOf(SLASH) + 1;
    const c = this.#columns;
    const entry = this.#entryCount;
    const inode = BigInt(stat.ino);
    c.inodeLower[entry] = Number(inode & 0xffffffffn);
    c.inodeUpper[entry] = Number(inode >> 32n);
    c.device[entry] = device;
    c.check[entry] = checkOf(stat);
    c.remaining[entry] = stat.nlink - 1;
    c.directoryAt[entry] = this.#storeDirectory(archivePath.subarray(0, slash));
    c.nameAt[entry] = this.#store(archivePath.subarray(slash));
    this.#entryCount += 1;
    this.#liveCount += 1;
    this.#link(entry);
    return true;
  }

  #device(dev: string): number | undefined {
    const known = this.#devices.get(dev);
    if (known !== undefined || this.#devices.size > 0xffff) return known;
    this.#devices.set(dev, this.#devices.size);
    return this.#devices.size - 1;
  }

  #find(stat: Stat): number {
    const device = this.#devices.get(stat.dev);
    if (device === undefined) return NONE;
    const c = this.#columns;
    const inode = BigInt(stat.ino);
    const lower = Number(inode & 0xffffffffn);
    const upper = Number(inode >> 32n);
    let entry = this.#buckets[this.#bucket(lower, upper, device)] ?? NONE;
    while (entry !== NONE) {
      const same = c.inodeLower[entry] === lower && c.inodeUpper[entry] === upper && c.device[entry] === device;
      if (same && c.remaining[entry] !== 0) return entry;
      entry = c.next[entry] ?? NONE;
    }
    return NONE;
  }

  #bucket(lower: number, upper: number, device: number): number {
    const mixed = Math.imul(lower ^ Math.imul(upper ^ (device << 16), 0x85ebca6b), 0x9e3779b1);
    return (mixed ^ (mixed >>> 15)) & (this.#buckets.length - 1);
  }

  #link(entry: number): void {
    const c = this.#columns;
    const bucket = this.#bucket(c.inodeLower[entry] ?? 0, c.inodeUpper[entry] ?? 0, c.device[entry] ?? 0);
    c.next[entry] = this.#buckets[bucket] ?? NONE;
    this.#buckets[bucket] = entry;
  }

  #forget(entry: number): void {
    this.#columns.remaining[entry] = 0;
    this.#liveCount -= 1;
    if (this.#liveCount > 0) return;
    this.#entryCount = 0;
    this.#namesLength = 0;
    this.#lastDirectoryAt = NONE;
    this.#buckets.fill(NONE);
  }

  #path(entry: number): Uint8Array {
    const directory = this.#columns.directoryAt[entry] ?? 0;
    const name = this.#columns.nameAt[entry] ?? 0;
    const directoryEnd = this.#names.indexOf(0, directory);
    const nameEnd = this.#names.indexOf(0, name);
    const path = new Uint8Array(directoryEnd - directory + nameEnd - name);
    path.set(this.#names.subarray(directory, directoryEnd));
    path.set(this.#names.subarray(name, nameEnd), directoryEnd - directory);
    return path;
  }

  #storeDirectory(directory: Uint8Array): number {
    const last = this.#lastDirectoryAt;
    if (last !== NONE && this.#names[last + directory.length] === 0) {
      if (Buffer.compare(directory, this.#names.subarray(last, last + directory.length)) === 0) return last;
    }
    this.#lastDirectoryAt = this.#store(directory);
    return this.#lastDirectoryAt;
  }

  #store(bytes: Uint8Array): number {
    const at = this.#namesLength;
    this.#names.set(bytes, at);
    this.#names[at + bytes.length] = 0;
    this.#namesLength = at + bytes.length + 1;
    return at;
  }

  /** Room for one more entry and `bytes` of names: first by dropping what is forgotten, if that is half, then by growing. */
  #makeRoom(bytes: number): boolean {
    const { inodesMax, namesBytesMax } = this.#limits;
    if (this.#liveCount >= inodesMax) return false;
    const entriesFull = this.#entryCount === this.#columns.next.length;
    const namesFull = this.#namesLength + bytes > this.#names.length;
    if (!entriesFull && !namesFull) return true;
    if (this.#liveCount <= this.#entryCount / 2) {
      this.#rebuild(this.#columns.next.length, this.#names.length);
      // What is alive can have the longest names: then there is nothing more to drop, and the names must grow.
      if (this.#namesLength + bytes <= this.#names.length) return true;
    }
    const entries = this.#columns.next.length * (this.#entryCount === this.#columns.next.length ? 2 : 1);
    let names = this.#names.length;
    if (this.#namesLength + bytes > names) {
      names = Math.min(namesBytesMax, Math.max(names * 2, this.#namesLength + bytes));
      // Refused without the work of a rebuild that wins nothing.
      if (this.#namesLength + bytes > names) return false;
    }
    this.#rebuild(entries, names);
    return true;
  }

  /** Copies what is alive, in its order, into fresh memory. */
  #rebuild(entries: number, namesBytes: number): void {
    const old = this.#columns;
    const oldNames = this.#names;
    const oldCount = this.#entryCount;
    this.#columns = makeColumns(entries);
    this.#names = new Uint8Array(namesBytes);
    this.#buckets = new Int32Array(entries).fill(NONE);
    this.#entryCount = 0;
    this.#namesLength = 0;
    this.#lastDirectoryAt = NONE;
    const c = this.#columns;
    for (let i = 0; i < oldCount; i += 1) {
      if (old.remaining[i] === 0) continue;
      const entry = this.#entryCount;
      c.inodeLower[entry] = old.inodeLower[i] ?? 0;
      c.inodeUpper[entry] = old.inodeUpper[i] ?? 0;
      c.device[entry] = old.device[i] ?? 0;
      c.check[entry] = old.check[i] ?? 0;
      c.remaining[entry] = old.remaining[i] ?? 0;
      c.directoryAt[entry] = this.#storeDirectory(textAt(oldNames, old.directoryAt[i] ?? 0));
      c.nameAt[entry] = this.#store(textAt(oldNames, old.nameAt[i] ?? 0));
      this.#entryCount += 1;
      this.#link(entry);
    }
  }
}

function textAt(names: Uint8Array, at: number): Uint8Array {
  return names.subarray(at, names.indexOf(0, at));
}

/** What must still be equal for a second name to be the same file. */
function checkOf(stat: Stat): number {
  const sizes = Math.imul(stat.size | 0, 0x9e3779b1) ^ Math.floor(stat.size / 2 ** 32);
  const times = Math.imul(stat.mtimeSeconds | 0, 0x85ebca6b) ^ Math.imul(stat.mtimeNanos, 0xc2b2ae35);
  return (sizes ^ (times << 7) ^ (times >>> 25)) >>> 0;
}

function makeColumns(length: number): Columns {
  return {
    inodeLower: new Uint32Array(length),
    inodeUpper: new Uint32Array(length),
    device: new Uint16Array(length),
    check: new Uint32Array(length),
    remaining: new Uint32Array(length),
    directoryAt: new Uint32Array(length),
    nameAt: new Uint32Array(length),
    next: new Int32Array(length),
  };
}
