/**
 * Compares two directory trees, name by name and byte by byte: what the quickstart's verdict rests on. It shares no code
 * with what made the archive; extended attributes and access control lists it leaves to getfattr and getfacl.
 */
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type BigIntStats,
} from "node:fs";
import { readAttributes } from "./tree-attributes.ts";

export interface CompareOptions {
  /** Absolute paths below the first tree that are left out, and so must be missing in the second. */
  readonly skip: readonly string[];
  /** Owners are only restored by root. */
  readonly owners: boolean;
  /** Compare extended attributes and access control lists; getfattr and getfacl must be there. */
  readonly attributes?: boolean;
  /** Compare the room that files take: large holes must not have become zeros. */
  readonly holes?: boolean;
  readonly signal?: AbortSignal;
}

export interface Difference {
  /** Relative to the roots; bytes that are not UTF-8 are shown as U+FFFD. */
  readonly path: string;
  readonly what: string;
  /** Last change of the source entry or, if it is gone, undefined. Milliseconds since 1970. */
  readonly sourceChangedMs: number | undefined;
}

export interface Comparison {
  readonly entries: number;
  readonly bytes: number;
  /** Sockets are not backed up. */
  readonly sockets: number;
  readonly differences: readonly Difference[];
}

const PIECE_BYTES = 1 << 20;
const TYPE_MASK = BigInt(constants.S_IFMT);
const MODE_MASK = 0o7777n;

function typeOf(stat: BigIntStats): string {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symbolic link";
  if (stat.isSocket()) return "socket";
  if (stat.isFIFO()) return "fifo";
  return "device";
}

function join(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from("/"), name]);
}

function namesIn(directory: Buffer): readonly Buffer[] {
  return readdirSync(directory, { encoding: "buffer" }).sort(Buffer.compare);
}

/** What stat counts blocks in, whatever the filesystem's own are. */
const STAT_BLOCK_BYTES = 512n;
const HOLE_BYTES = 1n << 20n;
const HOLE_SHARE = 16n;
const SECOND_NS = 1_000_000_000n;

/** Archives keep times before 1970 in whole seconds, because readers disagree about negative fractions. */
function wholeBefore1970(ns: bigint): bigint {
  return ns >= 0n ? ns : ((ns - SECOND_NS + 1n) / SECOND_NS) * SECOND_NS;
}

/** One comparison's state: both sides' hard links seen so far, and what was found. */
class TreeComparison {
  readonly #options: CompareOptions;
  readonly #skip: ReadonlySet<string>;
  readonly #left = Buffer.alloc(PIECE_BYTES);
  readonly #right = Buffer.alloc(PIECE_BYTES);
  /** First path seen of each inode with several names, on either side. */
  readonly #linksLeft = new Map<string, string>();
  readonly #linksRight = new Map<string, string>();
  readonly #differences: Difference[] = [];
  #entries = 0;
  #bytes = 0;
  #sockets = 0;

  constructor(options: CompareOptions) {
    this.#options = options;
    this.#skip = new Set(options.skip);
  }

  async compare(left: Buffer, right: Buffer): Promise<Comparison> {
    await this.#entry(left, right, ".");
    if (this.#options.attributes === true) await this.#attributes(left.toString(), right.toString());
    const found = { entries: this.#entries, bytes: this.#bytes, sockets: this.#sockets };
    return { ...found, differences: this.#differences };
  }

  #differ(path: string, what: string, stat: BigIntStats | undefined): void {
    this.#differences.push({ path, what, sourceChangedMs: stat === undefined ? undefined : Number(stat.ctimeMs) });
  }

  async #entry(left: Buffer, right: Buffer, path: string): Promise<void> {
    const a = lstatSync(left, { bigint: true, throwIfNoEntry: false });
    const b = lstatSync(right, { bigint: true, throwIfNoEntry: false });
    if (a?.isSocket() === true && b === undefined) {
      this.#sockets += 1;
      return;
    }
    if (a === undefined || b === undefined) {
      this.#differ(path, a === undefined ? "only in the restored tree" : "not restored", a);
      return;
    }
    this.#entries += 1;
    if ((a.mode & TYPE_MASK) !== (b.mode & TYPE_MASK)) {
      this.#differ(path, `a ${typeOf(a)} became a ${typeOf(b)}`, a);
      return;
    }
    this.#metadata(a, b, path);
    if (a.isSymbolicLink()) this.#linkTarget(left, right, a, path);
    else if (a.isFile()) this.#contents(left, right, a, b, path);
    else if (a.isDirectory()) await this.#directory(left, right, path);
  }

  #metadata(a: BigIntStats, b: BigIntStats, path: string): void {
    const octal = (mode: bigint): string => (mode & MODE_MASK).toString(8);
    // A symbolic link's mode means nothing on Linux.
    if (!a.isSymbolicLink() && octal(a.mode) !== octal(b.mode)) {
      this.#differ(path, `mode ${octal(a.mode)} became ${octal(b.mode)}`, a);
    }
    if (wholeBefore1970(a.mtimeNs) !== b.mtimeNs)
      this.#differ(path, `modification time ${a.mtimeNs} ns became ${b.mtimeNs} ns`, a);
    if (this.#options.owners && (a.uid !== b.uid || a.gid !== b.gid)) {
      this.#differ(path, `owner ${a.uid}:${a.gid} became ${b.uid}:${b.gid}`, a);
    }
    if (a.rdev !== b.rdev) this.#differ(path, `device number ${a.rdev} became ${b.rdev}`, a);
    const more = (b.blocks - a.blocks) * STAT_BLOCK_BYTES;
    // Each hole may have lost as much at its edges as a filesystem's large blocks take.
    if (this.#options.holes === true && a.isFile() && more >= HOLE_BYTES + a.size / HOLE_SHARE) {
      this.#differ(path, `takes ${more} bytes more on the disk`, a);
    }
    if (a.isDirectory()) return;
    const first = (links: Map<string, string>, stat: BigIntStats): string => {
      const key = `${stat.dev}:${stat.ino}`;
      const known = stat.nlink === 1n ? path : (links.get(key) ?? path);
      links.set(key, known);
      return known;
    };
    const [linkA, linkB] = [first(this.#linksLeft, a), first(this.#linksRight, b)];
    if (linkA !== linkB) this.#differ(path, `a hard link to ${linkA} became one to ${linkB}`, a);
  }

  #linkTarget(left: Buffer, right: Buffer, a: BigIntStats, path: string): void {
    const same = readlinkSync(left, { encoding: "buffer" }).equals(readlinkSync(right, { encoding: "buffer" }));
    if (!same) this.#differ(path, "the link's target differs", a);
  }

  #contents(left: Buffer, right: Buffer, a: BigIntStats, b: BigIntStats, path: string): void {
    if (a.size !== b.size) {
      this.#differ(path, `${a.size} bytes became ${b.size}`, a);
      return;
    }
    const [fdA, fdB] = [openSync(left, "r"), openSync(right, "r")];
    try {
      for (;;) {
        const [readA, readB] = [readSync(fdA, this.#left), readSync(fdB, this.#right)];
        if (readA !== readB || this.#left.compare(this.#right, 0, readB, 0, readA) !== 0) {
          this.#differ(path, "the contents differ", a);
          return;
        }
        if (readA === 0) return;
        this.#bytes += readA;
      }
    } finally {
      closeSync(fdA);
      closeSync(fdB);
    }
  }

  async #attributes(left: string, right: string): Promise<void> {
    const [a, b] = [await readAttributes(left), await readAttributes(right)];
    for (const path of new Set([...a.keys(), ...b.keys()])) {
      const [before, after] = [a.get(path) ?? "none", b.get(path) ?? "none"];
      if (before !== after) this.#differ(path, `attributes ${before} became ${after}`, undefined);
    }
  }

  async #directory(left: Buffer, right: Buffer, path: string): Promise<void> {
    // Lets signals in between two directories; the calls above are synchronous.
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#options.signal?.throwIfAborted();
    const names = new Map<string, Buffer>();
    for (const name of [...namesIn(left), ...namesIn(right)]) names.set(name.toString("latin1"), name);
    for (const name of names.values()) {
      const inLeft = join(left, name);
      if (this.#skip.has(inLeft.toString())) continue;
      await this.#entry(inLeft, join(right, name), path === "." ? name.toString() : `${path}/${name.toString()}`);
    }
  }
}

/** Compares the tree (or file) at `left`, the source, with the one at `right`, the restored one. */
export async function compareTrees(left: string, right: string, options: CompareOptions): Promise<Comparison> {
  return await new TreeComparison(options).compare(Buffer.from(left), Buffer.from(right));
}
