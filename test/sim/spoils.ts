/** Bytes that the simulator changed on the disk behind the server's back: the only difference that an archive may show. */

interface Spoil {
  readonly offset: number;
  readonly mask: number;
}

export class Spoils {
  readonly #byFile = new Map<number, Spoil[]>();

  /** `file` is the file's id on the disk, the same under every name and after every crash. */
  add(file: number, offset: number, mask: number): void {
    const spoils = this.#byFile.get(file) ?? [];
    spoils.push({ offset, mask });
    this.#byFile.set(file, spoils);
  }

  /** Undefined when `actual` is what was expected, but for spoiled bytes; else the first offset at which it is not. */
  difference(file: number, actual: Uint8Array, expected: Uint8Array, at = 0): number | undefined {
    if (Buffer.compare(actual, expected) === 0) return undefined;
    if (actual.length !== expected.length) return at + Math.min(actual.length, expected.length);
    for (let index = 0; index < actual.length; index += 1) {
      const wrong = (actual[index] ?? 0) ^ (expected[index] ?? 0);
      if (wrong !== 0 && !this.#mayBe(file, at + index, wrong)) return at + index;
    }
    return undefined;
  }

  /** True when some of the changes at that byte, which may have been written over in between, make this difference. */
  #mayBe(file: number, offset: number, wrong: number): boolean {
    const masks = (this.#byFile.get(file) ?? []).filter((spoil) => spoil.offset === offset).map(({ mask }) => mask);
    let reachable = new Set([0]);
    for (const mask of masks) reachable = new Set([...reachable, ...[...reachable].map((each) => each ^ mask)]);
    return reachable.has(wrong);
  }

  /** True when bytes of the file were changed. */
  has(file: number): boolean {
    return this.#byFile.has(file);
  }
}
