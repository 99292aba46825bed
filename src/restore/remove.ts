/**
 * `--delete`: removes from one restored directory what the archive does not have in it. Never leaves the filesystem, follows no link,
 * and leaves alone whatever the policy says: what the backup would not have seen may not be taken for deleted.
 */
import {
  AT_SYMLINK_NOFOLLOW,
  type Libc,
  O_CLOEXEC,
  O_RDONLY,
  Scratch,
  STATX_BASIC_STATS,
} from "#archive/linux-libc.ts";
import { STATX_BYTES, StatReader } from "#archive/linux-stat.ts";
import { SLASH } from "#archive/bytes.ts";
import { KiB } from "#base/units.ts";
import type { Deletion } from "./deletion-policy.ts";
import type { NameSet } from "./name-set.ts";
import { AT_REMOVEDIR, ENAMETOOLONG, ENOENT, type WriteCalls } from "./write-calls.ts";
import { throwIfExhausted, WriteError } from "./write-error.ts";

/** What may go. Paths are those in the archive, valid during the call. */
export type DeletionPolicy = Pick<Deletion, "mayDelete" | "mayClear" | "isSource" | "marks">;

export interface Removal {
  readonly policy: DeletionPolicy;
  readonly dryRun: boolean;
  /** Called for each removed (or, in a dry run, to be removed) name, below the target. */
  readonly removed: (path: Uint8Array) => void;
  readonly failed: (path: Uint8Array, errno: string) => void;
}

/** A restored directory, open. */
export interface ToClear {
  readonly fd: number;
  /** In the archive, and below the target: nothing is stripped where something is deleted. */
  readonly path: Uint8Array;
  /** What the archive has in it. */
  readonly keep: NameSet;
}

const DOT = Uint8Array.of(0x2e);
const DOT_DOT = Uint8Array.of(0x2e, 0x2e);
const LISTING_BYTES = 64 * KiB;
const DIRENT_NAME = 19;
const DIRENT_LENGTH = 16;
const NAME_BYTES_MAX = 4095;
/** Deeper trees are left standing, and said to be: each level holds a descriptor. */
const DEPTH_MAX = 512;

export class Remover {
  readonly #w: WriteCalls;
  readonly #c: Libc;
  readonly #removal: Removal;
  readonly #name = new Scratch(NAME_BYTES_MAX + 1);
  readonly #statx = new Scratch(STATX_BYTES);
  readonly #stats = new StatReader(this.#statx.bytes.buffer);
  readonly #dot = new Scratch(2);

  constructor(w: WriteCalls, removal: Removal) {
    this.#w = w;
    this.#c = w.c;
    this.#removal = removal;
    this.#dot.bytes[0] = 0x2e;
  }

  /** Removes from the directory all that the archive does not have in it, and that may go. Throws Failure E_EXHAUSTED. */
  clear({ fd, path, keep }: ToClear): void {
    try {
      const { dev } = this.#statMust(fd, DOT);
      const isMounted = path.length > 0 && this.#statMust(fd, DOT_DOT).dev !== dev;
      const { policy } = this.#removal;
      if (!policy.mayClear({ path, isMounted })) return;
      if (!policy.isSource(path) && this.#isMarked(fd, keep)) return;
      for (const name of this.#list(fd)) {
        if (!keep.has(name, 0, name.length)) this.#remove(fd, name, childPath(path, name), dev, 0);
      }
    } catch (error) {
      if (!(error instanceof WriteError)) throw error;
      throwIfExhausted(error);
      this.#removal.failed(path, error.code);
    }
  }

  /** The backup did not look into it, if it was the same then. `keep`: what is there soon, in a dry run. */
  #isMarked(fd: number, keep: NameSet | undefined): boolean {
    return this.#removal.policy.marks.some(
      (mark) => keep?.has(mark, 0, mark.length) === true || this.#stat(fd, mark) !== undefined,
    );
  }

  /** True when it is gone. */
  #remove(directory: number, name: Uint8Array, path: Uint8Array, dev: string, depth: number): boolean {
    if (!this.#removal.policy.mayDelete(path)) return false;
    try {
      const stat = this.#stat(directory, name);
      if (stat === undefined) return true;
      // Another filesystem mounted here was no part of the backup.
      if (stat.dev !== dev) return false;
      // No backup has these, so none can miss them.
      if (stat.type === "socket") return false;
      const isDirectory = stat.type === "directory";
      if (isDirectory && !this.#empty(directory, name, path, dev, depth)) return false;
      if (!this.#removal.dryRun) this.#unlink(directory, name, isDirectory ? AT_REMOVEDIR : 0);
      this.#removal.removed(path);
      return true;
    } catch (error) {
      if (!(error instanceof WriteError)) throw error;
      throwIfExhausted(error);
      this.#removal.failed(path, error.code);
      return false;
    }
  }

  /** Removes what is in the directory; true when nothing was left. */
  #empty(directory: number, name: Uint8Array, path: Uint8Array, dev: string, depth: number): boolean {
    if (depth === DEPTH_MAX) throw new WriteError(ENAMETOOLONG, "open");
    const fd = this.#open(directory, this.#setName(name));
    try {
      if (this.#isMarked(fd, undefined)) return false;
      let all = true;
      for (const child of this.#list(fd)) {
        if (!this.#remove(fd, child, childPath(path, child), dev, depth + 1)) all = false;
      }
      return all;
    } finally {
      this.#c.close(fd);
    }
  }

  #unlink(directory: number, name: Uint8Array, flags: number): void {
    if (this.#w.unlinkat(directory, this.#setName(name).pointer, flags) === 0) return;
    const errno = this.#c.errno();
    if (errno !== ENOENT) throw new WriteError(errno, "unlink");
  }

  /** The names in batches of what one call of the kernel gives; names that come while others go may be seen by the next run. */
  *#list(fd: number): Generator<Uint8Array> {
    // A descriptor of its own: the position in the listing is the descriptor's.
    const own = this.#open(fd, this.#dot);
    const listing = new Scratch(LISTING_BYTES);
    try {
      for (;;) {
        const length = this.#c.getdents64(this.#c.numbers.getdents64, own, listing.pointer, LISTING_BYTES);
        if (length < 0) throw new WriteError(this.#c.errno(), "getdents64");
        if (length === 0) return;
        yield* namesIn(listing.bytes, length);
      }
    } finally {
      this.#c.close(own);
    }
  }

  #open(directory: number, name: Scratch): number {
    const flags = O_RDONLY | O_CLOEXEC | this.#c.numbers.O_DIRECTORY | this.#c.numbers.O_NOFOLLOW;
    const fd = this.#c.openat(directory, name.pointer, flags, 0);
    if (fd < 0) throw new WriteError(this.#c.errno(), "open");
    return fd;
  }

  #stat(directory: number, name: Uint8Array): ReturnType<StatReader["read"]> | undefined {
    const { pointer } = this.#setName(name);
    const into = this.#statx.pointer;
    const { statx } = this.#c.numbers;
    if (this.#c.statx(statx, directory, pointer, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, into) === 0) {
      return this.#stats.read();
    }
    const errno = this.#c.errno();
    if (errno === ENOENT) return undefined;
    throw new WriteError(errno, "lstat");
  }

  #statMust(directory: number, name: Uint8Array): ReturnType<StatReader["read"]> {
    const stat = this.#stat(directory, name);
    if (stat === undefined) throw new WriteError(ENOENT, "lstat");
    return stat;
  }

  #setName(name: Uint8Array): Scratch {
    this.#name.bytes.set(name);
    this.#name.bytes[name.length] = 0;
    return this.#name;
  }
}

function* namesIn(bytes: Uint8Array, length: number): Generator<Uint8Array> {
  let at = 0;
  while (at < length) {
    const next = at + ((bytes[at + DIRENT_LENGTH] ?? 0) | ((bytes[at + DIRENT_LENGTH + 1] ?? 0) << 8));
    const name = bytes.slice(at + DIRENT_NAME, bytes.indexOf(0, at + DIRENT_NAME));
    const isDots = name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
    if (!isDots) yield name;
    at = next;
  }
}

function childPath(path: Uint8Array, name: Uint8Array): Uint8Array {
  if (path.length === 0) return name;
  const child = new Uint8Array(path.length + 1 + name.length);
  child.set(path);
  child[path.length] = SLASH;
  child.set(name, path.length + 1);
  return child;
}
