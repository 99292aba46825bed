/** Which entries are restored: all, or given paths with everything below them. Pure. */
import { hasPrefix, SLASH } from "#archive/bytes.ts";
import { Failure } from "#base/errors.ts";
import { safePath } from "./safe-path.ts";

export class Selection {
  readonly #paths: readonly Uint8Array[];
  readonly #found: boolean[];

  /** Paths as a person writes them: a leading and a trailing slash do not matter. None select everything. */
  constructor(paths: readonly Uint8Array[]) {
    this.#paths = paths.map((path) => {
      const safe = safePath(path);
      if (safe === undefined) throw new Failure("E_USAGE", "a path to restore must not hold ..");
      return new Uint8Array(safe);
    });
    this.#found = this.#paths.map(() => false);
  }

  /** As safePath gives them. */
  get paths(): readonly Uint8Array[] {
    return this.#paths;
  }

  get isAll(): boolean {
    return this.#paths.length === 0 || this.#paths.some((path) => path.length === 0);
  }

  /** Whether the path (as safePath gives it) is selected; says nothing of whether there is such an entry. */
  covers(path: Uint8Array): boolean {
    return this.#paths.length === 0 || this.#paths.some((wanted) => isAtOrBelow(wanted, path));
  }

  /** Whether the entry of that path is selected; `missing` no longer names the path that selects it. */
  has(path: Uint8Array): boolean {
    if (this.#paths.length === 0) return true;
    let selected = false;
    for (const [i, wanted] of this.#paths.entries()) {
      if (!isAtOrBelow(wanted, path)) continue;
      this.#found[i] = true;
      selected = true;
    }
    return selected;
  }

  /** The given paths that no entry was found for. */
  missing(): readonly Uint8Array[] {
    return this.#paths.filter((_, i) => this.#found[i] !== true);
  }
}

/** Both without a slash at either end; the empty path is above all. */
export function isAtOrBelow(parent: Uint8Array, path: Uint8Array): boolean {
  if (parent.length === 0) return true;
  if (path.length < parent.length || !hasPrefix(parent, path, parent.length)) return false;
  return path.length === parent.length || path[parent.length] === SLASH;
}
