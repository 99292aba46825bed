/** Work on one thing after another, by key: that on different things runs side by side. */
export class Turns {
  /** By key, the last work that was begun or waits. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** Rejects as `work` does. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const done = (this.#last.get(key) ?? Promise.resolve()).then(work);
    const forget = (): void => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    };
    const settled = done.then(forget, forget); // Whoever asked for the work hears how it went.
    this.#last.set(key, settled);
    return done;
  }

  /** Resolves when all that was asked for by now is done. Never rejects. */
  async idle(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
