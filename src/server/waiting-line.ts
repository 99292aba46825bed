/**
 * The line of those who wait for a session, in order of arrival. Pure: who is let in and when is told is decided by
 * the caller.
 */

export class WaitingLine<T> {
  /** In order of arrival: a Set keeps it, and leaving from the middle costs nothing. */
  readonly #waiting = new Set<T>();

  get length(): number {
    return this.#waiting.size;
  }

  has(one: T): boolean {
    return this.#waiting.has(one);
  }

  /** The answer is the position, from 1. */
  join(one: T): number {
    this.#waiting.add(one);
    return this.#waiting.size;
  }

  /** True if it stood in the line. */
  leave(one: T): boolean {
    return this.#waiting.delete(one);
  }

  first(): T | undefined {
    for (const one of this.#waiting) return one;
    return undefined;
  }

  /** Everyone with the position, from 1. */
  *positions(): Generator<readonly [T, number]> {
    let position = 0;
    for (const one of this.#waiting) {
      position += 1;
      yield [one, position];
    }
  }
}
