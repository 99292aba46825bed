/** What `--delete` may remove by the rules that deletion.ts found: asked by who deletes, in the thread that restores. Does no I/O. */
import { equalBytes, SLASH } from "#archive/bytes.ts";
import { Excludes } from "#archive/exclude.ts";
import { nameStart } from "./safe-path.ts";
import { isAtOrBelow } from "./selection.ts";

/** Plain values, to be posted to a thread. Paths are those of entries. */
export interface DeletionRules {
  readonly sources: readonly Uint8Array[];
  readonly exclude: readonly string[];
  /** Names that keep a backup from going into the directory that has one of them. */
  readonly marks: readonly Uint8Array[];
  readonly oneFileSystem: boolean;
  /** Directories of another filesystem than the one above them, of which the archive has nothing but themselves. */
  readonly mountPoints: readonly Uint8Array[];
  /** What the backup could not read: the archive may lack what was there or below it. */
  readonly unread: readonly Uint8Array[];
}

/** A directory that was restored, and could be cleared of what the archive does not have in it. */
export interface RestoredDirectory {
  /** In the archive. */
  readonly path: Uint8Array;
  /** At the target it is of another filesystem than the directory above it. */
  readonly isMounted: boolean;
}

/** The rules, as who deletes asks for them. */
export class Deletion {
  readonly #rules: DeletionRules;
  readonly #excludes: Excludes;
  readonly #mountPoints: ReadonlySet<string>;

  constructor(rules: DeletionRules) {
    this.#rules = rules;
    this.#excludes = new Excludes(rules.exclude);
    this.#mountPoints = new Set(rules.mountPoints.map(keyOf));
  }

  /** Whether something at this path, which the archive does not have, may go. */
  mayDelete(path: Uint8Array): boolean {
    if (this.#rules.unread.some((unread) => isAtOrBelow(unread, path))) return false;
    const absolute = new Uint8Array(path.length + 1);
    absolute[0] = SLASH;
    absolute.set(path, 1);
    return this.#excludes.match(absolute, nameStart(path) + 1, absolute.length) === "no";
  }

  mayClear({ path, isMounted }: RestoredDirectory): boolean {
    if (this.isSource(path)) return true;
    return !(isMounted && this.#rules.oneFileSystem) && !this.#mountPoints.has(keyOf(path));
  }

  /** A directory that is a source is gone into whatever it holds. */
  isSource(path: Uint8Array): boolean {
    return this.#rules.sources.some((source) => equalBytes(source, path));
  }

  get marks(): readonly Uint8Array[] {
    return this.#rules.marks;
  }
}

function keyOf(path: Uint8Array): string {
  return Buffer.from(path).toString("latin1");
}
