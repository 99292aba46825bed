/**
 * The names that the archive has in one directory, kept as numbers: a million of them take some 30 MB. Two names may share a number, once
 * in billions of directories: then a name passes for one that the archive has, and is left alone.
 */
export class NameSet {
  readonly #hashes = new Set<number>();

  /** The name in `bytes[start..end)`. */
  add(bytes: Uint8Array, start: number, end: number): void {
    this.#hashes.add(hash(bytes, start, end));
  }

  has(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#hashes.has(hash(bytes, start, end));
  }
}

/** 53 bits out of two rounds of FNV-1a with different beginnings. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let a = 0x811c9dc5;
  let b = 0x1234_5679;
  for (let i = start; i < end; i += 1) {
    const byte = bytes[i] ?? 0;
    a = Math.imul(a ^ byte, 0x0100_0193);
    b = Math.imul(b ^ (byte + 0x9d), 0x0100_0193);
    b ^= b >>> 15;
  }
  return (b & 0x1f_ffff) * 2 ** 32 + (a >>> 0);
}
