/** The stored bytes of an archive, wherever they are: a file of this machine, or (later) the server's by the agent's connection. */

export interface ArchiveAccess {
  /** Bytes. */
  readonly size: number;
  /**
   * Fills `into`, which may be shared memory, from `offset`; gives how many bytes that were: fewer only where the archive ends. Errors of
   * the disk have their errno in `code`.
   */
  read(into: Uint8Array, offset: number): Promise<number>;
  close(): Promise<void>;
}

/** The bytes of an archive read in order, a window of them in memory: for parsers that look at headers. */
export class AccessWindow {
  readonly #access: ArchiveAccess;
  readonly #buffer: Uint8Array;
  #offset = 0;
  #length = 0;

  constructor(access: ArchiveAccess, bytes: number) {
    this.#access = access;
    this.#buffer = new Uint8Array(bytes);
  }

  get size(): number {
    return this.#access.size;
  }

  /** `length` bytes from `offset`, fewer at the end of the archive; valid until the next call. At most the window's size. */
  async at(offset: number, length: number): Promise<Uint8Array> {
    const start = offset - this.#offset;
    if (start >= 0 && start + length <= this.#length) return this.#buffer.subarray(start, start + length);
    if (start >= 0 && offset + length > this.#access.size && this.#offset + this.#length >= this.#access.size) {
      return this.#buffer.subarray(Math.min(start, this.#length), this.#length);
    }
    this.#offset = offset;
    this.#length = await this.#access.read(this.#buffer, offset);
    return this.#buffer.subarray(0, Math.min(length, this.#length));
  }
}
