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
    const mended = Buffer.from(actual);
    for (const { offset, mask } of this.#byFile.get(file) ?? []) {
      const index = offset - at;
      const byte = mended[index];
      if (byte !== undefined && byte !== expected[index] && (byte ^ mask) === expected[index])
        mended[index] = byte ^ mask;
    }
    for (let index = 0; index < mended.length; index += 1) if (mended[index] !== expected[index]) return at + index;
    return undefined;
  }

  /** True when bytes of the file were changed. */
  has(file: number): boolean {
    return this.#byFile.has(file);
  }
}
