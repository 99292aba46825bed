/**
 * A set of chunks as runs without gaps: sequence numbers and the bytes they cover. Ordered, so that the neighbours of
 * any number are found quickly and ranges fall out ready for a Sack. It checks nothing: ledger.ts does.
 */
import { assert } from "#base/assert.ts";

export interface Run {
  /** Sequence numbers, both included. */
  first: number;
  last: number;
  /** Byte offsets: of the first chunk, and behind the last one. */
  start: number;
  end: number;
}

export class RunSet {
  readonly #runs: Run[] = [];

  /** Ascending. Not to be changed. */
  get runs(): readonly Readonly<Run>[] {
    return this.#runs;
  }

  /** The run that contains `sequence` or ends before it. */
  floor(sequence: number): Readonly<Run> | undefined {
    return this.#runs[this.#above(sequence) - 1];
  }

  /** The first run that begins above `sequence`. */
  above(sequence: number): Readonly<Run> | undefined {
    return this.#runs[this.#above(sequence)];
  }

  /** Adds a chunk that is not in the set. */
  add(sequence: number, offset: number, length: number): void {
    const at = this.#above(sequence);
    const left = this.#runs[at - 1];
    const right = this.#runs[at];
    assert(left === undefined || left.last < sequence, `chunk ${sequence} is in the set already`);
    const end = offset + length;
    const joinsLeft = left !== undefined && left.last === sequence - 1;
    const joinsRight = right !== undefined && right.first === sequence + 1;
    if (joinsLeft && joinsRight) {
      left.last = right.last;
      left.end = right.end;
      this.#runs.splice(at, 1);
    } else if (joinsLeft) {
      left.last = sequence;
      left.end = end;
    } else if (joinsRight) {
      right.first = sequence;
      right.start = offset;
    } else {
      this.#runs.splice(at, 0, { first: sequence, last: sequence, start: offset, end });
    }
  }

  /** Takes out a chunk that is in the set. */
  remove(sequence: number, offset: number, length: number): void {
    const at = this.#above(sequence) - 1;
    const run = this.#runs[at];
    assert(run !== undefined && run.last >= sequence, `chunk ${sequence} is not in the set`);
    const end = offset + length;
    if (run.first === sequence && run.last === sequence) {
      this.#runs.splice(at, 1);
    } else if (run.first === sequence) {
      run.first = sequence + 1;
      run.start = end;
    } else if (run.last === sequence) {
      run.last = sequence - 1;
      run.end = offset;
    } else {
      this.#runs.splice(at + 1, 0, { first: sequence + 1, last: run.last, start: end, end: run.end });
      run.last = sequence - 1;
      run.end = offset;
    }
  }

  /** Forgets everything below `sequence`, which stands at byte `offset`. */
  dropBelow(sequence: number, offset: number): void {
    let gone = 0;
    for (const run of this.#runs) {
      if (run.last >= sequence) break;
      gone += 1;
    }
    if (gone > 0) this.#runs.splice(0, gone);
    const head = this.#runs[0];
    if (head !== undefined && head.first < sequence) {
      head.first = sequence;
      head.start = offset;
    }
  }

  /** Index of the first run whose first number is above `sequence`. */
  #above(sequence: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const run = this.#runs[middle];
      if (run !== undefined && run.first <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
