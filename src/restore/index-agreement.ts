/**
 * Compares all entries of an index, in order, with those that the tar has: paths, kinds, sizes, places, owners, digests of headers. What
 * lies in damage is not looked for. Reads all of the index, so every block of it is checked as well.
 */
import { factsOf, FactsSum } from "#archive/index-facts.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import type { Batches, IndexReader } from "#archive/index-reader.ts";
import type { Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { contradiction, mustBeIndexDamage } from "./index-trust.ts";
import type { SeenEntries } from "./seen-entries.ts";

interface Lost {
  readonly from: number;
  to: number;
}

export class IndexAgreement {
  readonly #batches: Batches<IndexEntry>;
  readonly #sum = new FactsSum();
  #batch: readonly IndexEntry[] = [];
  #at = 0;
  /** Damage that entries to come may lie in. */
  #lost: Lost[] = [];
  /** One thing after another, in the order of the archive. */
  #turn: Promise<void> = Promise.resolve();
  #fault: Failure | undefined;

  constructor(index: IndexReader) {
    this.#batches = index.entries();
  }

  /** The first disagreement. */
  get fault(): Failure | undefined {
    return this.#fault;
  }

  seen(entries: SeenEntries): Promise<void> {
    return this.#inTurn(() => this.#compare(entries));
  }

  /** Raw bytes that could not be had. */
  lost(from: number, to: number): void {
    void this.#inTurn(() => {
      const last = this.#lost.at(-1);
      if (last?.to === from) last.to = to;
      else this.#lost.push({ from, to });
      return Promise.resolve();
    });
  }

  /** The archive is over. */
  finish(): Promise<void> {
    return this.#inTurn(async () => {
      const entry = await this.#nextUnlost();
      if (entry !== undefined) throw notThere(entry);
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      if (this.#fault !== undefined) return;
      try {
        await work();
      } catch (error) {
        this.#fault = mustBeIndexDamage(error);
      }
    });
    return this.#turn;
  }

  async #compare({ from, count, sum }: SeenEntries): Promise<void> {
    const first = await this.#nextUnlost(from);
    if (first === undefined || first.headersAt > from) {
      throw contradiction(`the archive has an entry at byte ${from} of the tar, which the index does not have`);
    }
    if (first.headersAt < from) throw notThere(first);
    let last = first;
    for (let taken = 0; taken < count; taken += 1) {
      const entry = await this.#peek();
      if (entry === undefined) throw contradiction(`the archive has more entries behind ${pathText(last.path)}`);
      this.#sum.add(factsOf(entry));
      last = entry;
      this.#at += 1;
    }
    if (this.#sum.take() === sum) return;
    const which =
      count === 1 ? pathText(first.path) : `of ${count} entries, ${pathText(first.path)} to ${pathText(last.path)},`;
    throw contradiction(`${which} ${count === 1 ? "is" : "some are"} not as the index says`);
  }

  /** Passes over entries in front of `before` whose headers lie in damage. */
  async #nextUnlost(before = Number.POSITIVE_INFINITY): Promise<IndexEntry | undefined> {
    for (;;) {
      const entry = await this.#peek();
      if (entry === undefined || entry.headersAt >= before) return entry;
      const { headersAt, dataAt } = entry;
      this.#lost = this.#lost.filter(({ to }) => to > headersAt);
      if (!this.#lost.some(({ from, to }) => headersAt < to && dataAt > from)) return entry;
      this.#at += 1;
    }
  }

  async #peek(): Promise<IndexEntry | undefined> {
    if (this.#at < this.#batch.length) return this.#batch[this.#at];
    const { done, value } = await this.#batches.next();
    this.#batch = done === true ? [] : value;
    this.#at = 0;
    return this.#batch[0];
  }
}

function notThere(entry: IndexEntry): Failure {
  return contradiction(`the archive has no ${pathText(entry.path)} at byte ${entry.headersAt} of the tar`);
}
