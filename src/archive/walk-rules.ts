/**
 * What of a source a backup does not go into, besides what patterns exclude: other filesystems, caches, and directories that
 * people marked. The directory itself and what marks it stay in the archive, so that a restored tree is treated the same. A
 * directory that a source names is gone into whatever it holds: who names it wants it.
 */
import { errnoName } from "#base/errors.ts";
import { equalBytes } from "./bytes.ts";
import type { FileSource } from "./source.ts";

/** As the configuration has it. */
export interface WalkRules {
  /** Stay on the filesystem of the source: a directory of another one is archived empty. */
  readonly oneFileSystem: boolean;
  /** Leave out what is in directories with a CACHEDIR.TAG. */
  readonly excludeCaches: boolean;
  /** Leave out what is in directories that hold one of these names. */
  readonly excludeIfPresent: readonly string[];
}

export const WALK_EVERYTHING: WalkRules = { oneFileSystem: false, excludeCaches: false, excludeIfPresent: [] };

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Of a directory that programs can fill again. */
export const CACHE_TAG = ascii("CACHEDIR.TAG");
/** https://bford.info/cachedir/: the tag counts only when it is a regular file that begins with this. */
const CACHE_SIGNATURE = ascii("Signature: 8a477f597d28d172789f06886806bc55");

/** The names that mark a directory, looked for while it is listed. One directory at a time. */
export class DirectoryMarks {
  readonly #source: FileSource;
  readonly #names: readonly Uint8Array[];
  readonly #caches: boolean;
  /** Any name but these lengths is passed over at once. */
  readonly #lengths: ReadonlySet<number>;
  #found: Uint8Array[] = [];
  #tagged = false;

  constructor(source: FileSource, rules: WalkRules) {
    this.#source = source;
    this.#names = rules.excludeIfPresent.map(ascii);
    this.#caches = rules.excludeCaches;
    const wanted = rules.excludeCaches ? [CACHE_TAG, ...this.#names] : this.#names;
    this.#lengths = new Set(wanted.map((name) => name.length));
  }

  /** False when no name can mark a directory: then nothing needs to be looked at. */
  get any(): boolean {
    return this.#lengths.size > 0;
  }

  begin(): void {
    this.#found = [];
    this.#tagged = false;
  }

  /** A name of the directory: `bytes[start..end)`. */
  look(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#lengths.has(end - start)) return;
    const name = bytes.slice(start, end);
    if (this.#names.some((mark) => equalBytes(mark, name))) this.#found.push(name);
    if (this.#caches && equalBytes(CACHE_TAG, name)) this.#tagged = true;
  }

  /** The names that mark the directory at `path`, now that all have been seen; empty when it is not marked. */
  marks(path: Uint8Array): readonly Uint8Array[] {
    const known = this.#found.some((name) => equalBytes(name, CACHE_TAG));
    if (this.#tagged && !known && this.#hasSignature(path)) this.#found.push(CACHE_TAG);
    return this.#found;
  }

  /** A tag that cannot be read marks nothing: what is in the directory is then backed up, which is the safe side. */
  #hasSignature(path: Uint8Array): boolean {
    const tagPath = new Uint8Array(path.length + 1 + CACHE_TAG.length);
    tagPath.set(path);
    tagPath[path.length] = 0x2f;
    tagPath.set(CACHE_TAG, path.length + 1);
    try {
      const file = this.#source.open(tagPath);
      try {
        const begin = new Uint8Array(CACHE_SIGNATURE.length);
        const length = file.stat.type === "file" ? file.read(begin, 0) : 0;
        return equalBytes(begin.subarray(0, length), CACHE_SIGNATURE);
      } finally {
        file.close();
      }
    } catch (error) {
      if (errnoName(error) === undefined) throw error;
      return false;
    }
  }
}
