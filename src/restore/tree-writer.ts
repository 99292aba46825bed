/**
 * Restores entries of an archive into a directory: a sink for the tar reader. An interrupted run leaves of each file the old one or
 * the new one and can be run again; what stands in the way is replaced or kept as the options say; nothing outside the target is
 * touched, whatever the archive says. Synchronous, for a thread of its own. What cannot be restored is reported by name.
 */
import { errnoText } from "#archive/linux-libc.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { assert, must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { type DeferredLink, DeferredLinks } from "./deferred-links.ts";
import { Directories, type Duty } from "./directories.ts";
import { ABSENT, type Level } from "./directory-stack.ts";
import { FileMaker, type OpenedFile } from "./file-maker.ts";
import { MetadataWriter } from "./metadata.ts";
import { MadeNames } from "./made-names.ts";
import { keeps, looksLinked } from "./overwrite.ts";
import { nameStart, safePath, stripComponents } from "./safe-path.ts";
import { reportWriteError, type TreeCounts, type TreeOptions } from "./tree-options.ts";
import { ENOENT, writeCalls } from "./write-calls.ts";
import { WriteError } from "./write-error.ts";

type Also = readonly DeferredLink[];

/** `in-hand`: its data comes now. `there`: its name holds what the archive has. */
type Made = "in-hand" | "there" | "not";

export class TreeWriter {
  readonly #w = writeCalls();
  readonly #options: TreeOptions;
  readonly #metadata: MetadataWriter;
  readonly #directories: Directories;
  readonly #files: FileMaker;
  readonly #deferred = new DeferredLinks();
  readonly #made = new MadeNames();
  /** The second pass, which brings the content of deferred links, has begun. */
  #linksOnly = false;
  #file: OpenedFile | undefined;
  /** Further names for the content of the file in hand. */
  #also: Also = [];
  readonly counts: TreeCounts = { restored: 0, kept: 0, bytes: 0, deleted: 0 };

  /** Throws Failure E_TARGET when the target cannot be opened. */
  constructor(options: TreeOptions) {
    this.#options = options;
    this.#metadata = new MetadataWriter(this.#w, options.metadata);
    this.#directories = new Directories(this.#w, options, this.#metadata, this.counts);
    this.#files = new FileMaker(this.#w, options, this.#directories, this.#metadata, this.counts);
  }

  /** Links that wait for a second pass over the entries of these names. */
  get deferred(): DeferredLinks {
    return this.#deferred;
  }

  /** From now on only the content that deferred links wait for is taken. */
  beginLinks(): void {
    this.#directories.stack.leaveAll();
    this.#linksOnly = true;
  }

  /** Some entries cannot be had: nothing is deleted from here on. */
  incomplete(): void {
    this.#directories.incomplete();
  }

  entry(entry: ReadEntry): void {
    assert(this.#file === undefined, "an entry inside another");
    const path = safePath(entry.path);
    if (this.#linksOnly) {
      if (path !== undefined && entry.type !== "hardlink") this.#placeLinks(entry, this.#deferred.take(path));
      return;
    }
    if (path === undefined) {
      this.#options.problem(entry.path, "outside");
      return;
    }
    if (!this.#options.selection.has(path)) return;
    const { stripComponents: count } = this.#options;
    const local = count === 0 ? path : stripComponents(path, count);
    if (local !== undefined) this.#place(entry, path, local);
  }

  data(bytes: Uint8Array, offset: number): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#guard(file.path, () => {
      let done = false;
      try {
        this.#files.write(file, bytes, offset);
        done = true;
      } finally {
        if (!done) this.#discard();
      }
    });
  }

  lost(_offset: number, length: number): void {
    this.incomplete();
    if (this.#file !== undefined) this.#file.lostBytes += length;
  }

  entryEnd(): void {
    const file = this.#file;
    const also = this.#also;
    this.#also = [];
    let placed = false;
    if (file !== undefined) {
      this.#guard(file.path, () => {
        placed = this.#files.finish(file);
      });
      if (!placed) this.#discard();
    }
    this.#file = undefined;
    if (file !== undefined && placed) {
      this.#made.add(file.local);
      for (const link of also) this.#linkAlso(file.entry, file.local, link);
    } else for (const link of also) this.#options.problem(link.path, "link-without-target");
  }

  /** Everything has come: directories get what is due to them, and all is on its way to the disk when this returns. */
  finish(): void {
    assert(this.#file === undefined, "the last entry has not ended");
    for (const link of this.#deferred.rest()) this.#options.problem(link.path, "link-without-target");
    const { stack } = this.#directories;
    stack.leaveAll();
    const { fd } = stack.root;
    const failed = fd >= 0 && !this.#options.dryRun && this.#w.syncfs(fd) < 0 ? this.#w.c.errno() : 0;
    stack.close();
    if (failed !== 0) {
      throw new Failure("E_TARGET", `what was written could not be brought to the disk: ${errnoText(failed)}`);
    }
  }

  /** Ends early: no temporary file is left, and directories are as they should be as far as they are filled. */
  abort(): void {
    this.#discard();
    this.#directories.abandon();
  }

  #place(entry: ReadEntry, path: Uint8Array, local: Uint8Array): void {
    this.#guard(path, () => {
      if (entry.type === "unsupported") this.#options.problem(path, "unsupported");
      else if (entry.type === "directory") this.#directories.restore(entry, path, local);
      else if (local.length === 0) this.#options.problem(path, "blocked");
      else if (entry.type === "hardlink") this.#hardLink(entry, path, local);
      else this.#make(entry, path, local);
    });
  }

  /** Gives the content of the entry to the first of the links that takes it, and links the others behind that one to it. */
  #placeLinks(entry: ReadEntry, links: Also): void {
    let first: Uint8Array | undefined;
    for (const [i, link] of links.entries()) {
      if (first !== undefined) {
        this.#linkAlso(entry, first, link);
        continue;
      }
      const made = this.#placeLink(entry, link);
      if (made === "there") first = link.local;
      if (made !== "in-hand") continue;
      this.#also = links.slice(i + 1);
      return;
    }
  }

  #placeLink(entry: ReadEntry, { path, local }: DeferredLink): Made {
    const made = { how: "not" as Made };
    this.#guard(path, () => {
      if (entry.type === "unsupported") this.#options.problem(path, "unsupported");
      else if (entry.type === "directory") this.#options.problem(path, "link-without-target");
      else made.how = this.#make(entry, path, local);
    });
    return made.how;
  }

  #make(entry: ReadEntry, path: Uint8Array, local: Uint8Array): Made {
    const level = this.#directories.locate(local);
    const isDevice = entry.type === "char" || entry.type === "block";
    let made: Made = "not";
    if (this.#keeps(level, entry)) {
      this.counts.kept += 1;
      // That is kept because it is what the archive has.
      if (this.#options.overwrite === "if-changed") made = "there";
    } else if (isDevice && !this.#options.metadata.privileged) {
      this.#options.problem(path, "device-needs-root");
    } else if (this.#options.dryRun) {
      this.counts.restored += 1;
    } else if (entry.type === "file") {
      this.#file = this.#files.open(entry, path, local, level);
      made = "in-hand";
    } else if (this.#files.special(entry, path, local, level)) {
      made = "there";
    }
    if (made === "there") this.#made.add(local);
    return made;
  }

  /** True when what is there stays. */
  #keeps(level: Level<Duty>, entry: ReadEntry): boolean {
    const { overwrite } = this.#options;
    if (level.fresh || level.fd === ABSENT || overwrite === "always") return false;
    const there = this.#directories.stack.statName(level.fd);
    return there !== undefined && keeps(overwrite, entry, this.#metadata.wanted(entry), there);
  }

  #hardLink(entry: ReadEntry, path: Uint8Array, local: Uint8Array): void {
    const target = safePath(must(entry.linkTarget, "a link's target"));
    if (target === undefined) {
      this.#options.problem(path, "outside");
      return;
    }
    const { selection, stripComponents: count, dryRun } = this.#options;
    const first = count === 0 ? target : stripComponents(target, count);
    const linkable = selection.covers(target) && first !== undefined && first.length > 0;
    // An archive that was given the same file twice calls it a link to itself.
    if (linkable && Buffer.compare(first, local) === 0) return;
    // Whenever its content comes, the archive has this name: what is there is not deleted before.
    const level = this.#directories.locate(local);
    if (this.#keepsFromLink(level, entry)) {
      this.counts.kept += 1;
      return;
    }
    if (linkable && this.#linkTo(entry, first, path, local)) return;
    if (dryRun) {
      this.counts.restored += 1;
    } else if (!this.#deferred.add(target, { path, local })) {
      this.#options.problem(path, "link-without-target", "E2BIG");
    }
  }

  /** True when what is there stays, whatever the link leads to. What looks the same may have to become a link all the same. */
  #keepsFromLink(level: Level<Duty>, entry: ReadEntry): boolean {
    return this.#options.overwrite !== "if-changed" && this.#keeps(level, entry);
  }

  /** Gives what is called `first` below the target another name. False when the content has to come another way. */
  #linkTo(entry: ReadEntry, first: Uint8Array, path: Uint8Array, local: Uint8Array): boolean {
    const { stack } = this.#directories;
    const level = this.#directories.locate(local);
    const { overwrite, dryRun } = this.#options;
    if (dryRun) return false;
    const there = level.fresh || overwrite === "always" ? undefined : stack.statName(level.fd);
    const from = this.#openParent(first);
    if (from === undefined) return false;
    try {
      if (!this.#isOfArchive(entry, first, from)) return false;
      const other = there === undefined ? undefined : stack.statName(from);
      if (there !== undefined && other?.ino === there.ino && other.dev === there.dev) {
        this.#made.add(local);
        this.counts.kept += 1;
        return true;
      }
      // Not there, on another filesystem, too many names, or not allowed: a file of its own has the same content.
      if (this.#w.linkat(from, stack.name.pointer, level.fd, this.#files.temp.pointer, 0) < 0) return false;
    } finally {
      this.#w.c.close(from);
    }
    try {
      stack.setName(local, nameStart(local), local.length);
      if (this.#files.replace(level, path)) this.#made.add(local);
    } finally {
      // Where both names are the same file already, rename does nothing and says that all is well.
      this.#files.removeTemp(level, local);
    }
    return true;
  }

  /** Something else may have the name in hand: what was kept, or what stayed because the archive's is damaged. */
  #isOfArchive(entry: ReadEntry, first: Uint8Array, from: number): boolean {
    if (this.#made.has(first)) return true;
    const there = this.#directories.stack.statName(from);
    return there !== undefined && looksLinked(entry, this.#metadata.wanted(entry), there);
  }

  #openParent(path: Uint8Array): number | undefined {
    try {
      return this.#directories.stack.openParent(path);
    } catch (error) {
      if (error instanceof WriteError && error.errno === ENOENT) return undefined;
      throw error;
    }
  }

  /** `first` was made of the entry just now. */
  #linkAlso(entry: ReadEntry, first: Uint8Array, { path, local }: DeferredLink): void {
    this.#guard(path, () => {
      const level = this.#directories.locate(local);
      if (this.#keepsFromLink(level, entry)) this.counts.kept += 1;
      else if (!this.#linkTo(entry, first, path, local)) this.#options.problem(path, "link-without-target");
    });
  }

  #guard(path: Uint8Array, act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof WriteError)) throw error;
      reportWriteError(path, error, this.#options.problem);
    }
  }

  /** Closes and removes the file that is being written, if there is one. */
  #discard(): void {
    if (this.#file !== undefined) this.#files.discard(this.#file);
    this.#file = undefined;
  }
}
