/**
 * Which start of the server, and which generation of the session, is the newest: its Welcomes say so. What a Sack of an
 * older one says to have been received is void. PROTOCOL.md "Acknowledgement".
 */

export class ServerStarts {
  /** Of the newest Welcome, or of a Sack of the same boot that came before it. */
  #boot: string | undefined;
  #generation = 0;
  /** What the last Sack that counted was of. */
  #saidBoot: string | undefined;
  #saidGeneration = 0;
  /** Starts of the server that a later one followed. */
  readonly #past = new Set<string>();

  /**
   * The server introduced itself on a new connection. `restarted`: it is another start of it than before. `late`: it is an
   * earlier start, which is no more.
   */
  welcome(boot: string, generation: number): "same" | "restarted" | "late" {
    if (this.#past.has(boot)) return "late";
    const before = this.#boot;
    if (before === boot) {
      this.#generation = Math.max(this.#generation, generation);
      return "same";
    }
    if (before !== undefined) this.#past.add(before);
    this.#boot = boot;
    this.#generation = generation;
    return before === undefined ? "same" : "restarted";
  }

  /** A Sack of the newest start and generation has come: what is known to have been received is its word. */
  get isHeard(): boolean {
    return this.#saidBoot === this.#boot && this.#saidGeneration === this.#generation;
  }

  /**
   * A Sack came. `stale`: of an older boot or generation, read late from another connection. `fresh`: the first one of a new
   * boot or generation, which takes the place of all that was said before.
   */
  sack(boot: string, generation: number): "stale" | "fresh" | "same" {
    if (boot !== this.#boot || generation < this.#generation) return "stale";
    if (boot === this.#saidBoot && generation === this.#saidGeneration) return "same";
    this.#generation = generation;
    this.#saidBoot = boot;
    this.#saidGeneration = generation;
    return "fresh";
  }
}
