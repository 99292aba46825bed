/**
 * Gathers the entries of an archive into the blocks of its index (index-format.ts, "ENTRIES"), in the thread that reads the tree and
 * without an object per entry. Compresses nothing, and does not know where in the index its blocks will stand.
 */
import { assert, must } from "#base/assert.ts";
import { keepLight } from "#base/light-code.ts";
import { SLASH } from "./bytes.ts";
import { ByteWriter, NumberList } from "./index-bytes.ts";
import {
  BLOCK,
  ENTRIES_BYTES,
  ENTRIES_HEAD_BYTES,
  ENTRY_NUMBERS_BYTES_MAX,
  ENTRY_NUMBERS_MAX,
  FLAG,
  KEY_BYTES_MAX,
  NAME_BYTES_MAX,
  SAME,
} from "./index-format.ts";
import { BLOCK_BYTES, blocks } from "./tar-format.ts";
import type { TarType } from "./tar-writer.ts";

/** What the writer needs of an entry. Views are copied. */
export interface NewEntry {
  /** Name in the archive, with or without the slash behind a directory. */
  readonly path: Uint8Array;
  readonly type: TarType;
  readonly linkTarget: Uint8Array | undefined;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  /** Of the file with its holes. */
  readonly size: number;
}

/** Decimal text, as Stat has it. */
export interface NewLiveFacts {
  readonly ctimeSeconds: number;
  readonly ctimeNanos: number;
  readonly dev: string;
  readonly ino: string;
}

export interface NewPlace {
  readonly headersAt: number;
  readonly dataAt: number;
  readonly storedBytes: number;
  readonly headersDigest: bigint;
  readonly sparse: boolean;
  readonly changed: boolean;
  readonly short: boolean;
  readonly racy: boolean;
}

/** What a page says of a block, as far as it is known before it is compressed. */
export interface EntryBlock {
  readonly rawLength: number;
  readonly count: number;
  readonly firstNumber: number;
  readonly rawOffset: number;
  readonly key: Uint8Array;
  readonly changed: number;
  readonly short: number;
  /** Every path in it is greater than the one before, the last one of the block before included. */
  readonly sorted: boolean;
}

interface Finished {
  readonly bytes: Uint8Array;
  readonly block: EntryBlock;
}

/** XXH64 of an entry's headers. */
export function headersDigest(headers: Uint8Array): bigint {
  // It takes views of shared memory, which its type does not say.
  return Bun.hash.xxHash64(headers as Uint8Array<ArrayBuffer>);
}

const TYPE_NUMBERS: Readonly<Record<TarType, number>> = {
  file: 0,
  hardlink: 1,
  symlink: 2,
  char: 3,
  block: 4,
  directory: 5,
  fifo: 6,
};

/** Times beyond a hundred million years would not fit; they are cut to that. */
const TIME_MAX = 2 ** 51;
/** Longer ones may not be exact as numbers. */
const INODE_DIGITS_MAX = 15;

/** Blocks differ in length by less than this, names of thousands of bytes aside. */
const SPARE_BYTES = 4096;

/** What is remembered of the entry before. */
interface Before {
  mtimeSeconds: number;
  ctimeSeconds: number;
  ino: number;
  dev: string;
  mode: number;
  uid: number;
  gid: number;
}

const NOTHING_BEFORE: Readonly<Before> = {
  mtimeSeconds: 0,
  ctimeSeconds: 0,
  ino: 0,
  dev: "0",
  mode: 0,
  uid: 0,
  gid: 0,
};

export class EntryBlocks {
  readonly #out = new ByteWriter(ENTRIES_BYTES + SPARE_BYTES);
  /** Of the entry in hand, as far as they stand behind one another. */
  readonly #numbers = new NumberList(ENTRY_NUMBERS_MAX);
  /** For numbers of 64 bits, in two halves. */
  readonly #wide = new DataView(new ArrayBuffer(8));
  readonly #finished: Finished[] = [];
  /** Memory of the last block that was taken: hardly ever more than one is full. */
  #spare: Uint8Array | undefined;
  readonly #before: Before = { ...NOTHING_BEFORE };
  /** The path before, also that of another block. */
  readonly #path = new Uint8Array(NAME_BYTES_MAX);
  #pathLength = 0;
  #total = 0;
  /** Where the last entry ended. */
  #rawEnd = 0;
  // Of the block in hand.
  #count = 0;
  #rawOffset = 0;
  #key = new Uint8Array(0);
  #changed = 0;
  #short = 0;
  #sorted = true;

  constructor() {
    keepLight(this.add, this.#write, this.#live, this.#u64, this.#begin, this.#common, this.#follows);
  }

  /** Blocks that are full. */
  get finishedCount(): number {
    return this.#finished.length;
  }

  /** Where the last entry ended, padding included. */
  get rawEnd(): number {
    return this.#rawEnd;
  }

  /** Appends an entry, which lies behind the last one in the archive. `live` is undefined in a rebuilt index, for all of them. */
  add(entry: NewEntry, live: NewLiveFacts | undefined, place: NewPlace): void {
    const pathLength = nameEnd(entry.path);
    const target = entry.linkTarget;
    assert(pathLength <= NAME_BYTES_MAX && (target?.length ?? 0) <= NAME_BYTES_MAX, "a name is too long for the index");
    assert(place.headersAt >= this.#rawEnd && place.dataAt > place.headersAt, "an entry lies before the last one");
    const common = this.#common(entry.path, pathLength);
    if (this.#total > 0 && !this.#follows(entry.path, pathLength, common)) this.#sorted = false;
    if (this.#count === 0) this.#begin(entry.path.subarray(0, Math.min(pathLength, common + 1, KEY_BYTES_MAX)));
    this.#write(entry, live, place, pathLength, this.#count === 0 ? 0 : common);
    for (let i = common; i < pathLength; i += 1) this.#path[i] = entry.path[i] ?? 0;
    this.#pathLength = pathLength;
    this.#rawEnd = place.dataAt + blocks(place.storedBytes);
    this.#count += 1;
    this.#total += 1;
    if (place.changed) this.#changed += 1;
    if (place.short) this.#short += 1;
    if (this.#out.length >= ENTRIES_BYTES) this.finish();
  }

  /** Ends the block in hand, if there is anything in it. */
  finish(): void {
    if (this.#count === 0) return;
    const out = this.#out;
    out.patchU32(4, this.#count);
    const spare = this.#spare?.length ?? 0;
    const bytes = spare >= out.length ? must(this.#spare, "spare memory") : new Uint8Array(out.length + SPARE_BYTES);
    this.#spare = undefined;
    bytes.set(out.view());
    this.#finished.push({
      bytes,
      block: {
        rawLength: out.length,
        count: this.#count,
        firstNumber: this.#total - this.#count,
        rawOffset: this.#rawOffset,
        key: this.#key,
        changed: this.#changed,
        short: this.#short,
        sorted: this.#sorted,
      },
    });
    out.clear();
    this.#count = 0;
    this.#changed = 0;
    this.#short = 0;
    this.#sorted = true;
    Object.assign(this.#before, NOTHING_BEFORE);
  }

  /** Copies the oldest full block into `into`; there must be one. */
  take(into: Uint8Array): EntryBlock {
    const { bytes, block } = must(this.#finished.shift(), "a full block of entries");
    into.set(bytes.subarray(0, block.rawLength));
    this.#spare = bytes;
    return block;
  }

  #begin(key: Uint8Array): void {
    this.#key = new Uint8Array(key);
    this.#rawOffset = this.#rawEnd;
    const out = this.#out;
    out.u8(BLOCK.entries);
    for (let i = 1; i < 8; i += 1) out.u8(0);
    out.u64(this.#total);
    out.u64(this.#rawOffset);
    assert(out.length === ENTRIES_HEAD_BYTES, "the head of a block of entries");
  }

  /** How much of the path is that of the entry before. */
  #common(path: Uint8Array, length: number): number {
    const shorter = Math.min(length, this.#pathLength);
    let common = 0;
    while (common < shorter && path[common] === this.#path[common]) common += 1;
    return common;
  }

  /** Whether the path comes behind that of the entry before, in the order of comparePaths. */
  #follows(path: Uint8Array, length: number, common: number): boolean {
    if (common === length || common === this.#pathLength) return length > this.#pathLength;
    const here = path[common] ?? 0;
    const there = this.#path[common] ?? 0;
    return here !== SLASH && (there === SLASH || here > there);
  }

  #write(entry: NewEntry, live: NewLiveFacts | undefined, place: NewPlace, pathLength: number, shared: number): void {
    const out = this.#out;
    const before = this.#before;
    const target = entry.linkTarget;
    const numbers = this.#numbers;
    out.reserve(ENTRY_NUMBERS_BYTES_MAX + pathLength - shared + (target?.length ?? 0));
    const gap = place.headersAt - this.#rawEnd;
    const mtimeSeconds = cutTime(entry.mtimeSeconds);
    out.u8(flagsOf(entry, place));
    out.u8(sameAsBefore(before, entry, live) | (gap > 0 ? SAME.gap : 0));
    numbers.clear();
    numbers.v(shared);
    numbers.v(pathLength - shared);
    out.numbers(numbers);
    out.part(entry.path, shared, pathLength);
    numbers.clear();
    if (entry.type === "file") numbers.v(entry.size);
    if (place.sparse) numbers.v(place.storedBytes);
    if (gap > 0) numbers.v(gap / BLOCK_BYTES);
    numbers.v((place.dataAt - place.headersAt) / BLOCK_BYTES);
    this.#u64(place.headersDigest);
    numbers.z(mtimeSeconds - before.mtimeSeconds);
    if (entry.mtimeNanos !== 0) numbers.u32(entry.mtimeNanos);
    before.mtimeSeconds = mtimeSeconds;
    if (live !== undefined) this.#live(entry, live);
    if (before.mode !== entry.mode) numbers.v(entry.mode);
    if (before.uid !== entry.uid || before.gid !== entry.gid) {
      numbers.v(entry.uid);
      numbers.v(entry.gid);
    }
    before.mode = entry.mode;
    before.uid = entry.uid;
    before.gid = entry.gid;
    if (target !== undefined) {
      numbers.v(target.length);
      out.numbers(numbers);
      numbers.clear();
      out.bytes(target);
    }
    if (entry.type === "char" || entry.type === "block") {
      numbers.v(entry.rdevMajor);
      numbers.v(entry.rdevMinor);
    }
    out.numbers(numbers);
  }

  #live(entry: NewEntry, live: NewLiveFacts): void {
    const numbers = this.#numbers;
    const before = this.#before;
    const ctimeSeconds = cutTime(live.ctimeSeconds);
    if (!sameTime(entry, live)) {
      numbers.z(ctimeSeconds - before.ctimeSeconds);
      if (live.ctimeNanos !== 0) numbers.u32(live.ctimeNanos);
    }
    before.ctimeSeconds = ctimeSeconds;
    if (live.ino.length > INODE_DIGITS_MAX) {
      this.#u64(BigInt(live.ino));
    } else {
      const ino = Number(live.ino);
      numbers.z(ino - before.ino);
      before.ino = ino;
    }
    if (live.dev !== before.dev) this.#u64(BigInt(live.dev));
    before.dev = live.dev;
  }

  #u64(value: bigint): void {
    this.#wide.setBigUint64(0, value);
    this.#numbers.u32(this.#wide.getUint32(0));
    this.#numbers.u32(this.#wide.getUint32(4));
  }
}

function flagsOf(entry: NewEntry, place: NewPlace): number {
  return (
    TYPE_NUMBERS[entry.type] |
    (place.changed ? FLAG.changed : 0) |
    (place.short ? FLAG.short : 0) |
    (place.racy ? FLAG.racy : 0) |
    (place.sparse ? FLAG.sparse : 0)
  );
}

function sameAsBefore(before: Before, entry: NewEntry, live: NewLiveFacts | undefined): number {
  const same =
    (entry.mode === before.mode ? SAME.mode : 0) |
    (entry.uid === before.uid && entry.gid === before.gid ? SAME.owner : 0) |
    (entry.mtimeNanos === 0 ? SAME.mtimeWhole : 0);
  if (live === undefined) return same;
  const equalTimes = sameTime(entry, live);
  return (
    same |
    (live.dev === before.dev ? SAME.device : 0) |
    (live.ino.length > INODE_DIGITS_MAX ? SAME.wideInode : 0) |
    (equalTimes ? SAME.ctimeIsMtime : 0) |
    (!equalTimes && live.ctimeNanos === 0 ? SAME.ctimeWhole : 0)
  );
}

function sameTime(entry: NewEntry, live: NewLiveFacts): boolean {
  return live.ctimeSeconds === entry.mtimeSeconds && live.ctimeNanos === entry.mtimeNanos;
}

/** Seconds as an index has them. */
export function cutTime(seconds: number): number {
  return Math.min(TIME_MAX, Math.max(-TIME_MAX, seconds));
}

/** Length of a path without the slash behind it; 0 for the root directory, which the archive calls `./`. */
function nameEnd(path: Uint8Array): number {
  const end = path[path.length - 1] === SLASH ? path.length - 1 : path.length;
  return end === 1 && path[0] === DOT ? 0 : end;
}

const DOT = 0x2e;
