/**
 * Walks the source roots in the order of the archive: component by component, bytes compared, a directory before its
 * contents. Bounded memory whatever the size of a directory (name-stack.ts). Opens and reads no files, follows no links,
 * and stays out of pseudo-filesystems that no source names. What cannot be looked at is reported by name and left out.
 */
import type { ProblemReason } from "#base/chunk.ts";
import { errnoName } from "#base/errors.ts";
import { keepLight } from "#base/light-code.ts";
import { KiB } from "#base/units.ts";
import { SLASH } from "./bytes.ts";
import type { Excludes } from "./exclude.ts";
import { type Lister, NameStack } from "./name-stack.ts";
import type { FileSource, Stat } from "./source.ts";
import { lstatRoot, type SourceRoot, unreadableRoot } from "./source-roots.ts";
import { DirectoryMarks, type WalkRules } from "./walk-rules.ts";

/**
 * Longer paths are reported as `unsupported` with ENAMETOOLONG and not entered. Sixteen times what any one system call takes: a
 * tree this deep was not made by people, and other tar readers restore nothing beyond 4096.
 */
export const PATH_BYTES_MAX = 64 * KiB;

/** Tells of a source path that is not archived as it is; of a socket, that it is one. `path` is only valid during the call. */
export type Report = (path: Uint8Array, reason: ProblemReason | "socket", errno?: string) => void;

/** Something to archive. Valid, with its views, until the next call of `next`. */
export interface ScanEntry {
  /** Absolute path. */
  readonly path: Uint8Array;
  /** Its name in the archive: without the leading slash, a directory with one at the end, the root directory as `./`. */
  readonly archivePath: Uint8Array;
  readonly stat: Stat;
}

export interface ScanOptions {
  readonly source: FileSource;
  /** Sorted, as sourceRoots gives them. */
  readonly roots: readonly SourceRoot[];
  readonly excludes: Excludes;
  readonly rules: WalkRules;
  readonly report: Report;
  /** Called with each path before anything is asked about it, so that a hanging disk can be named. */
  readonly onPath?: (path: Uint8Array) => void;
}

const ROOT_NAME = new TextEncoder().encode("./");

interface Directory {
  /** The directory is `path[0..end)`, its children begin at `childStart`. */
  readonly end: number;
  readonly childStart: number;
  readonly dev: string;
  /** Where the name that was handled last ends in the path. */
  lastEnd: number;
}

export class Scan {
  readonly #options: ScanOptions;
  readonly #names = new NameStack();
  readonly #marks: DirectoryMarks;
  readonly #directories: Directory[] = [];
  /** The path in hand. Room for the longest, and for the name that makes it too long. */
  readonly #path = new Uint8Array(2 * PATH_BYTES_MAX);
  #nextRoot = 0;
  /** The directory handed out last, to be entered by the next call. */
  #toEnter: Directory | undefined;

  constructor(options: ScanOptions) {
    this.#options = options;
    this.#marks = new DirectoryMarks(options.source, options.rules);
    keepLight(this.next, this.#child, this.#look, this.#entry);
  }

  /** The next entry; undefined after the last. Throws Failure E_SOURCE_MISSING when a root is gone. */
  next(): ScanEntry | undefined {
    if (this.#toEnter !== undefined) this.#enter(this.#toEnter);
    for (;;) {
      const directory = this.#directories.at(-1);
      const entry = directory === undefined ? this.#root() : this.#child(directory);
      if (entry !== undefined) return entry;
      if (this.#directories.length === 0 && this.#nextRoot === this.#options.roots.length) return undefined;
    }
  }

  /** The next root that is there; undefined when that one is missing and optional. */
  #root(): ScanEntry | undefined {
    const root = this.#options.roots[this.#nextRoot];
    if (root === undefined) return undefined;
    this.#nextRoot += 1;
    this.#path.set(root.path);
    this.#options.onPath?.(root.path);
    const stat = lstatRoot(this.#options.source, root);
    return stat === undefined ? undefined : this.#entry(this.#path.subarray(0, root.path.length), stat, true);
  }

  /** The next child of the deepest directory; undefined when there was none, or it is left out. */
  #child(directory: Directory): ScanEntry | undefined {
    const found = this.#names.next();
    if (found === "again") {
      const after = this.#path.slice(directory.childStart, directory.lastEnd);
      this.#list(directory, (list) => this.#names.refill(list, after));
      return undefined;
    }
    if (found === "end") {
      this.#names.pop();
      this.#directories.pop();
      return undefined;
    }
    const { nameStart, nameEnd } = this.#names;
    const end = directory.childStart + nameEnd - nameStart;
    this.#path[directory.childStart - 1] = SLASH;
    for (let i = nameStart; i < nameEnd; i += 1) {
      this.#path[directory.childStart + i - nameStart] = this.#names.bytes[i] ?? 0;
    }
    directory.lastEnd = end;
    if (end <= PATH_BYTES_MAX) return this.#look(directory, end);
    this.#options.report(this.#path.subarray(0, end), "unsupported", "ENAMETOOLONG");
    return undefined;
  }

  /** The entry of the path in hand, if it is not excluded and can be looked at. */
  #look(directory: Directory, end: number): ScanEntry | undefined {
    const { source, excludes, report, onPath } = this.#options;
    const exclusion = excludes.match(this.#path, directory.childStart, end);
    if (exclusion === "yes") return undefined;
    const path = this.#path.subarray(0, end);
    onPath?.(path);
    let stat: Stat;
    try {
      stat = source.lstat(path);
    } catch (error) {
      report(path, ...lookProblem(error));
      return undefined;
    }
    if (exclusion === (stat.type === "directory" ? "if-directory" : "unless-directory")) return undefined;
    return this.#entry(path, stat, stat.type !== "directory" || this.#mayEnter(directory, path, stat));
  }

  /** The boundary between two filesystems is crossed only into one of files, and only if the rules say so. */
  #mayEnter(parent: Directory, path: Uint8Array, stat: Stat): boolean {
    return stat.dev === parent.dev || (!this.#options.rules.oneFileSystem && !this.#isPseudo(path));
  }

  #isPseudo(path: Uint8Array): boolean {
    try {
      return this.#options.source.isPseudo(path);
    } catch (error) {
      this.#options.report(path, ...lookProblem(error));
      return true;
    }
  }

  #entry(path: Uint8Array, stat: Stat, enter: boolean): ScanEntry {
    const end = path.length;
    if (stat.type !== "directory") return { path, archivePath: this.#path.subarray(1, end), stat };
    // The root directory is its own slash.
    const childStart = end === 1 ? 1 : end + 1;
    this.#path[childStart - 1] = SLASH;
    if (enter) this.#toEnter = { end, childStart, dev: stat.dev, lastEnd: childStart };
    return { path, archivePath: end === 1 ? ROOT_NAME : this.#path.subarray(1, end + 1), stat };
  }

  #enter(directory: Directory): void {
    this.#toEnter = undefined;
    this.#directories.push(directory);
    this.#marks.begin();
    this.#list(directory, (list) => this.#names.push(list));
    // A directory that is a source is gone into whatever marks it.
    if (this.#directories.length === 1 || !this.#marks.any) return;
    const marks = this.#marks.marks(this.#path.subarray(0, directory.end));
    if (marks.length === 0) return;
    this.#names.pop();
    this.#names.push((onName) => {
      for (const name of marks) onName(name, 0, name.length);
    });
  }

  /**
   * Collects names; a directory that cannot be listed (to its end) is reported, and what was listed is archived. A source root
   * is not let off so lightly when nothing was listed of it: a backup of nothing must not take the place of a good one.
   */
  #list(directory: Directory, collect: (list: Lister) => void): void {
    const path = this.#path.subarray(0, directory.end);
    const marks = this.#marks.any ? this.#marks : undefined;
    let listed = false;
    try {
      collect((onName) =>
        this.#options.source.names(path, (bytes, start, end) => {
          listed = true;
          marks?.look(bytes, start, end);
          onName(bytes, start, end);
        }),
      );
    } catch (error) {
      if (this.#directories.length === 1 && !listed) throw unreadableRoot(path, error);
      this.#options.report(path, ...lookProblem(error));
    }
  }
}

const GONE: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ESTALE"]);
/** What opening gives for a symbolic link (O_NOFOLLOW) and for a socket. */
const OF_ANOTHER_TYPE: ReadonlySet<string> = new Set(["ELOOP", "ENXIO"]);

/** Why a path that the source refused is left out. Errors that are not the system's are thrown on. */
export function lookProblem(error: unknown): [ProblemReason, string] {
  const errno = errnoName(error);
  if (errno === undefined) throw error;
  if (GONE.has(errno)) return ["vanished", errno];
  return [OF_ANOTHER_TYPE.has(errno) ? "type-changed" : "unreadable", errno];
}
