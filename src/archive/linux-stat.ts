/** Reads `struct statx` (little-endian, the same on x86-64 and arm64) into a Stat. */
import { keepLight } from "#base/light-code.ts";
import { type EntryType, SourceError, type Stat } from "./source.ts";

/** sizeof(struct statx). */
export const STATX_BYTES = 256;

/** By the upper four bits of the mode. */
const TYPES: ReadonlyMap<number, EntryType> = new Map([
  [0o01, "fifo"],
  [0o02, "char"],
  [0o04, "directory"],
  [0o06, "block"],
  [0o10, "file"],
  [0o12, "symlink"],
  [0o14, "socket"],
]);

/** Offsets in 32-bit words. */
const NLINK = 4;
const UID = 5;
const GID = 6;
const MODE = 7;
const INO = 8;
const SIZE = 10;
const BLOCKS = 12;
const CTIME = 24;
const MTIME = 28;
const RDEV_MAJOR = 32;
const RDEV_MINOR = 33;
const DEV_MAJOR = 34;
const DEV_MINOR = 35;

const WORD = 2 ** 32;
/** What statx counts the allocated blocks in, whatever the filesystem's own are. */
const STAT_BLOCK_BYTES = 512;
/** The upper words from which on a 64-bit number does not fit into a double. */
const UPPER_EXACT_MAX = 2 ** 21;

/** Turns the words of a statx buffer into Stats; keeps the last texts. */
export class StatReader {
  readonly #words: Uint32Array;
  #devMajor = -1;
  #devMinor = -1;
  #dev = "";
  #inoLower = -1;
  #inoUpper = -1;
  #ino = "";

  constructor(buffer: ArrayBufferLike) {
    this.#words = new Uint32Array(buffer, 0, STATX_BYTES / 4);
    keepLight(this.read, this.#inode, this.#device);
  }

  read(): Stat {
    const w = this.#words;
    const mode = (w[MODE] ?? 0) & 0xffff;
    const type = TYPES.get(mode >> 12);
    // Damaged and invented filesystems: one file's fault is not to end the backup of all others.
    if (type === undefined) throw new SourceError("EUCLEAN", "stat");
    return {
      type,
      mode: mode & 0o7777,
      uid: w[UID] ?? 0,
      gid: w[GID] ?? 0,
      size: (w[SIZE] ?? 0) + (w[SIZE + 1] ?? 0) * WORD,
      allocatedBytes: ((w[BLOCKS] ?? 0) + (w[BLOCKS + 1] ?? 0) * WORD) * STAT_BLOCK_BYTES,
      mtimeSeconds: seconds(w, MTIME),
      mtimeNanos: w[MTIME + 2] ?? 0,
      ctimeSeconds: seconds(w, CTIME),
      ctimeNanos: w[CTIME + 2] ?? 0,
      dev: this.#device(w[DEV_MAJOR] ?? 0, w[DEV_MINOR] ?? 0),
      ino: this.#inode(w[INO] ?? 0, w[INO + 1] ?? 0),
      nlink: w[NLINK] ?? 0,
      rdevMajor: w[RDEV_MAJOR] ?? 0,
      rdevMinor: w[RDEV_MINOR] ?? 0,
    };
  }

  /** A file is looked at before and after it is opened: the text is made once. */
  #inode(lower: number, upper: number): string {
    if (lower !== this.#inoLower || upper !== this.#inoUpper) {
      this.#inoLower = lower;
      this.#inoUpper = upper;
      this.#ino = unsigned64Text(lower, upper);
    }
    return this.#ino;
  }

  #device(major: number, minor: number): string {
    if (major !== this.#devMajor || minor !== this.#devMinor) {
      this.#devMajor = major;
      this.#devMinor = minor;
      this.#dev = deviceText(major, minor);
    }
    return this.#dev;
  }
}

/** As the `st_dev` of stat: the index shows it beside the inode. */
function deviceText(major: number, minor: number): string {
  const lower = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xf_ff00) << 12);
  return unsigned64Text(lower >>> 0, ((major & 0xffff_f000) | (minor >>> 20)) >>> 0);
}

/** Signed 64-bit seconds as a double: exact for 285 million years either way. */
function seconds(words: Uint32Array, at: number): number {
  return ((words[at + 1] ?? 0) | 0) * WORD + (words[at] ?? 0);
}

function unsigned64Text(lower: number, upper: number): string {
  if (upper === 0) return String(lower);
  if (upper < UPPER_EXACT_MAX) return String(upper * WORD + lower);
  return String((BigInt(upper) << 32n) | BigInt(lower));
}
