/**
 * Names that hold what the archive has, because this run put it there: a hard link may be made to them. In 4 MiB whatever their number:
 * among millions an older one is forgotten, and then its metadata must speak for it. A name is never remembered by mistake but by one
 * chance in four billion.
 */
const SLOT_BITS = 20;

export class MadeNames {
  /** Of each name one hash is its slot, and another, never 0, stands there. */
  readonly #slots = new Uint32Array(2 ** SLOT_BITS);
  #slot = 0;
  #mark = 0;

  add(name: Uint8Array): void {
    this.#hash(name);
    this.#slots[this.#slot] = this.#mark;
  }

  has(name: Uint8Array): boolean {
    this.#hash(name);
    return this.#slots[this.#slot] === this.#mark;
  }

  /** FNV-1a, and another round of it with a different beginning. */
  #hash(name: Uint8Array): void {
    let a = 0x811c9dc5;
    let b = 0x1234_5679;
    for (const byte of name) {
      a = Math.imul(a ^ byte, 0x0100_0193);
      b = Math.imul(b ^ (byte + 0x9d), 0x0100_0193);
      b ^= b >>> 15;
    }
    this.#slot = (a ^ (a >>> 15)) & (2 ** SLOT_BITS - 1);
    this.#mark = b >>> 0 || 1;
  }
}
