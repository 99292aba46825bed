/**
 * The directories of a restore: made or entered on the way to an entry, and given what the archive says of them when everything in
 * them is done. One that this run comes back to keeps the time it got before. `--delete` happens on leaving, too.
 */
import { errnoText, O_CLOEXEC, O_RDONLY, Scratch } from "#archive/linux-libc.ts";
import type { Stat } from "#archive/source.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { assert, must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { ABSENT, DirectoryStack, isBlocked, type Level, openTarget } from "./directory-stack.ts";
import type { MetadataWriter, Place } from "./metadata.ts";
import { NameSet } from "./name-set.ts";
import { keepsDirectory } from "./overwrite.ts";
import { type DeletionPolicy, Remover } from "./remove.ts";
import { nameStart } from "./safe-path.ts";
import type { TreeCounts, TreeOptions } from "./tree-options.ts";
import { EEXIST, ENOENT, type WriteCalls } from "./write-calls.ts";
import { throwIfExhausted, WriteError } from "./write-error.ts";

/** What is known of a directory that is being filled. */
export interface Duty {
  /** Its metadata is to become this. */
  entry?: ReadEntry;
  /** Path in the archive, for reports. */
  path?: Uint8Array;
  /** What it had, where this run has been before: to be put back. */
  before?: Stat;
  /** The mode was widened so that it can be written into. */
  widened?: boolean;
  /** What the archive has in it. */
  names?: NameSet;
}

/** The owner may list, write and pass. */
const WIDE = 0o700;

export class Directories {
  readonly #w: WriteCalls;
  readonly #options: TreeOptions;
  readonly #metadata: MetadataWriter;
  readonly #counts: TreeCounts;
  readonly #remover: Remover | undefined;
  readonly stack: DirectoryStack<Duty>;
  /** Something of the archive is missing, so what it does not have proves nothing. */
  #incomplete = false;
  /** The run has failed: what goes wrong on the way out changes nothing. */
  #abandoned = false;

  /** Throws Failure E_TARGET when the target cannot be opened. */
  constructor(w: WriteCalls, options: TreeOptions, metadata: MetadataWriter, counts: TreeCounts) {
    this.#w = w;
    this.#options = options;
    this.#metadata = metadata;
    this.#counts = counts;
    this.#remover = options.deletion && makeRemover(w, options, options.deletion, counts);
    const fd = openRoot(w, options);
    const hooks = {
      entered: (level: Level<Duty>): void => this.#entered(level),
      leave: (level: Level<Duty>, path: Uint8Array): void => this.#leave(level, path),
      gone: (path: Uint8Array, error: WriteError): void => {
        if (!this.#abandoned) throwIfExhausted(error);
        options.problem(path, "not-created", error.code);
      },
    };
    this.stack = new DirectoryStack(w, fd, hooks, options.dryRun);
    if (fd >= 0) this.stack.root.inherits = metadata.inherits(fd);
  }

  /** Nothing is deleted from here on. */
  incomplete(): void {
    this.#incomplete = true;
  }

  /** Leaves all and closes it, without deleting or failing. */
  abandon(): void {
    this.#incomplete = true;
    this.#abandoned = true;
    this.stack.close();
  }

  /** The directory that the entry goes into; its name is in `stack.name`. */
  locate(local: Uint8Array): Level<Duty> {
    const level = this.stack.locate(local);
    level.duty?.names?.add(local, nameStart(local), local.length);
    return level;
  }

  /** Restores a directory of the archive: what follows goes into it, what is due to it is done on leaving it. */
  restore(entry: ReadEntry, path: Uint8Array, local: Uint8Array): void {
    if (local.length === 0) {
      this.stack.leaveAll();
      this.#enter(this.stack.root, entry, path);
      return;
    }
    const above = this.locate(local);
    const { fd, fresh } = above.fd === ABSENT ? { fd: ABSENT, fresh: true } : this.#open(above, path);
    this.#enter(this.stack.push(local, fd, fresh), entry, path);
  }

  #open(above: Level<Duty>, path: Uint8Array): { readonly fd: number; readonly fresh: boolean } {
    const { dryRun, overwrite } = this.#options;
    let fresh = !dryRun && this.#mkdir(above);
    let fd = this.stack.openDirectory(above.fd);
    const blocked = fd < 0 && isBlocked(-fd) && overwrite !== "never";
    if (blocked && this.stack.statName(above.fd)?.type === "symlink") this.#options.linkReplaced?.(path);
    if (dryRun && (fd === -ENOENT || blocked)) return { fd: ABSENT, fresh: true };
    if (blocked) {
      if (this.#w.unlinkat(above.fd, this.stack.name.pointer, 0) < 0) throw new WriteError(this.#w.c.errno(), "unlink");
      fresh = this.#mkdir(above);
      fd = this.stack.openDirectory(above.fd);
    }
    if (fd < 0) throw new WriteError(-fd, "open");
    if (fresh && above.inherits) this.#metadata.removeAcls(fd, true);
    return { fd, fresh };
  }

  /** True when it was made; false when there is something of that name. */
  #mkdir(above: Level<Duty>): boolean {
    if (this.#w.mkdirat(above.fd, this.stack.name.pointer, WIDE) === 0) return true;
    const errno = this.#w.c.errno();
    if (errno !== EEXIST) throw new WriteError(errno, "mkdir");
    return false;
  }

  #enter(level: Level<Duty>, entry: ReadEntry, path: Uint8Array): void {
    const duty: Duty = level.duty ?? {};
    level.duty = duty;
    if (this.#remover !== undefined && this.#options.selection.covers(path)) duty.names = new NameSet();
    duty.path = path;
    const there = level.fresh || level.fd < 0 ? undefined : this.stack.statOpen(level.fd);
    if (there !== undefined && keepsDirectory(this.#options.overwrite, entry, there)) {
      this.#counts.kept += 1;
      return;
    }
    duty.entry = entry;
    this.#counts.restored += 1;
    if (there !== undefined && !this.#options.dryRun) this.#widen(level, duty, there);
  }

  /** A directory that was there. If this run has written into it before, its time is put back again afterwards. */
  #entered(level: Level<Duty>): void {
    if (this.#options.dryRun) return;
    level.inherits = this.#metadata.inherits(level.fd);
    const stat = this.stack.statOpen(level.fd);
    if (stat.ctimeSeconds < this.#options.startedSeconds) return;
    level.duty = { before: stat };
    this.#widen(level, level.duty, stat);
  }

  /** An ordinary user cannot write into a directory without w and x, also where it is his own. */
  #widen(level: Level<Duty>, duty: Duty, there: Stat): void {
    const { privileged, uid } = this.#options.metadata;
    if (privileged || there.uid !== uid || (there.mode & WIDE) === WIDE) return;
    if (this.#metadata.chmod({ kind: "path", fd: level.fd }, there.mode | WIDE) < 0) return;
    duty.before ??= there;
    duty.widened = true;
    // It may have been opened to pass through only.
    const flags = O_RDONLY | O_CLOEXEC | this.#w.c.numbers.O_DIRECTORY;
    const again = this.#w.c.openat(level.fd, DOT.pointer, flags, 0);
    if (again < 0) return;
    this.#w.c.close(level.fd);
    level.fd = again;
  }

  #leave(level: Level<Duty>, local: Uint8Array): void {
    const { duty, fd } = level;
    if (duty === undefined || fd < 0) return;
    const { dryRun, problem } = this.#options;
    if (duty.names !== undefined && !level.fresh && !this.#incomplete) {
      this.#remover?.clear({ fd, path: local, keep: duty.names });
    }
    if (dryRun) return;
    const place: Place = { kind: "open", fd };
    if (duty.entry !== undefined) {
      const path = duty.path ?? local;
      this.#metadata.apply(place, duty.entry, false, (reason, errno) => problem(path, reason, errno));
    } else if (duty.before !== undefined) {
      if (duty.widened === true) this.#metadata.chmod(place, duty.before.mode);
      // A directory that is somebody else's does not let its time be set, and nobody has asked for it.
      this.#metadata.time(place, duty.before, () => undefined);
    }
  }
}

function makeRemover(w: WriteCalls, options: TreeOptions, policy: DeletionPolicy, counts: TreeCounts): Remover {
  // Two directories of the archive may become one then, and each lack what the other has.
  assert(options.stripComponents === 0, "something is deleted where names are stripped");
  return new Remover(w, {
    policy,
    dryRun: options.dryRun,
    removed: (path) => {
      counts.deleted += 1;
      options.removed?.(path);
    },
    failed: (path, errno) => options.problem(path, "not-deleted", errno),
  });
}

function openRoot(w: WriteCalls, { target, dryRun }: TreeOptions): number {
  const fd = openTarget(w, target);
  if (fd === -ENOENT && dryRun) return ABSENT;
  if (fd < 0) {
    throwIfExhausted(new WriteError(-fd, "open"));
    throw new Failure("E_TARGET", `the target directory cannot be opened: ${errnoText(-fd)}`);
  }
  return fd;
}

const DOT = dot();

function dot(): Scratch {
  const name = new Scratch(2);
  name.bytes[0] = must(".".codePointAt(0), "a dot");
  return name;
}
