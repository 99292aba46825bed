/**
 * Hard links whose first name is not restored, or cannot be linked to: their content has to be read once more, for another name. Kept
 * until a second pass over the archive, or a look into its index, brings it.
 */

/** Some 200 bytes each: a selection that needs more of them than this is better restored whole. */
const DEFERRED_LINKS_MAX = 250_000;

export interface DeferredLink {
  /** Path in the archive. */
  readonly path: Uint8Array;
  /** Where it goes, below the target. */
  readonly local: Uint8Array;
}

export class DeferredLinks {
  readonly #byTarget = new Map<string, DeferredLink[]>();
  #count = 0;

  /** `target`: the name in the archive of the entry that has the content. False when there are too many. */
  add(target: Uint8Array, link: DeferredLink): boolean {
    if (this.#count === DEFERRED_LINKS_MAX) return false;
    this.#count += 1;
    const key = Buffer.from(target).toString("latin1");
    const links = this.#byTarget.get(key);
    const own = { path: new Uint8Array(link.path), local: new Uint8Array(link.local) };
    if (links === undefined) this.#byTarget.set(key, [own]);
    else links.push(own);
    return true;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** What is to get the content of the entry of that name, which is then no longer waited for. */
  take(target: Uint8Array): readonly DeferredLink[] {
    if (this.#count === 0) return [];
    const key = Buffer.from(target).toString("latin1");
    const links = this.#byTarget.get(key) ?? [];
    this.#byTarget.delete(key);
    this.#count -= links.length;
    return links;
  }

  /** Names of the entries that are waited for. */
  targets(): readonly Uint8Array[] {
    return [...this.#byTarget.keys()].map((key) => Buffer.from(key, "latin1"));
  }

  /** Links whose content did not come. */
  rest(): readonly DeferredLink[] {
    return [...this.#byTarget.values()].flat();
  }
}
