/** Bytes of a stream that wait: appended behind, taken in front, each copied about once however often more of them come. */

export class HeldBytes {
  #buffer: Uint8Array = new Uint8Array(0);
  #from = 0;
  #to = 0;

  get length(): number {
    return this.#to - this.#from;
  }

  /** Of memory. */
  get capacity(): number {
    return this.#buffer.length;
  }

  append(bytes: Uint8Array): void {
    if (this.#to + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length);
    this.#buffer.set(bytes, this.#to);
    this.#to += bytes.length;
  }

  /** The first ones; valid until more is appended. */
  first(count: number): Uint8Array {
    return this.#buffer.subarray(this.#from, Math.min(this.#from + count, this.#to));
  }

  drop(count: number): void {
    this.#from = Math.min(this.#from + count, this.#to);
  }

  /** Moves what is held only when at least as much was dropped or is added: no byte is moved again and again. */
  #makeRoom(count: number): void {
    const { length } = this;
    const held = this.first(length);
    if (length <= this.#from && length + count <= this.#buffer.length) {
      this.#buffer.set(held);
    } else {
      const larger = new Uint8Array(length === 0 ? count : 2 * (length + count));
      larger.set(held);
      this.#buffer = larger;
    }
    this.#from = 0;
    this.#to = length;
  }
}
