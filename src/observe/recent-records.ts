/** The newest records in bounded memory, by number and by bytes. No I/O. */

interface Held<T> {
  readonly record: T;
  /** About what it takes: the length of its line. */
  readonly bytes: number;
}

export class RecentRecords<T> {
  readonly #countMax: number;
  readonly #bytesMax: number;
  /** Oldest first; those before `#first` do not count any more. They are cut off now and then instead of shifted each time. */
  #held: (Held<T> | undefined)[] = [];
  #first = 0;
  #bytes = 0;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  add(record: T, bytes: number): void {
    this.#held.push({ record, bytes });
    this.#bytes += bytes;
    // The newest one stays, however long it is.
    while (this.#count > this.#countMax || (this.#bytes > this.#bytesMax && this.#count > 1)) this.#dropOldest();
    if (this.#first < this.#countMax) return;
    this.#held = this.#held.slice(this.#first);
    this.#first = 0;
  }

  /** The newest first, at most `limit` of those that `wanted` takes. */
  newest(limit: number, wanted: (record: T) => boolean): T[] {
    const found: T[] = [];
    for (let i = this.#held.length - 1; i >= this.#first && found.length < limit; i -= 1) {
      const held = this.#held[i];
      if (held !== undefined && wanted(held.record)) found.push(held.record);
    }
    return found;
  }

  /** All of it, as newer than what is there. */
  moveTo(other: RecentRecords<T>): void {
    for (const held of this.#held.slice(this.#first)) if (held !== undefined) other.add(held.record, held.bytes);
  }

  get #count(): number {
    return this.#held.length - this.#first;
  }

  #dropOldest(): void {
    this.#bytes -= this.#held[this.#first]?.bytes ?? 0;
    this.#held[this.#first] = undefined;
    this.#first += 1;
  }
}
