/**
 * Reads a file at a distance: what is read in order is asked for before it is wanted, so that not every piece waits for the line, and what
 * was read a moment ago is not asked for again (whoever looks for the chunks of an archive reads them a second time). Blocks are asked for
 * whole: the parts of an index that lead to one another mostly lie in one.
 */
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";

export const BLOCK_BYTES = 128 * KiB;
/** Blocks asked for at once: at most what one request may be. */
const RUN_BLOCKS_MAX = 8;
const RUN_BYTES_MAX = RUN_BLOCKS_MAX * BLOCK_BYTES;
/** Beyond this, memory is given back. */
const SPARE_MAX = 8;
/** The first step beyond what is wanted; then twice as much as before, each time that somebody had to wait. */
const AHEAD_BYTES_MIN = MiB;
/** Keeps a line of 1 Gbit/s and 50 ms busy, or one of 300 Mbit/s and 200 ms. */
const AHEAD_BYTES_MAX = 8 * MiB;
/** Kept beside that. The scan for chunks stands at most one chunk ahead of who reads them. */
const KEPT_BYTES_MAX = 16 * MiB;
/** A step forward of no more than this is still reading in order. */
const GAP_BYTES_MAX = MiB;

/** Fills `into` from `offset`, at most RUN_BYTES_MAX. */
export type Fetch = (into: Uint8Array, offset: number) => Promise<void>;

/** Consecutive blocks that were asked for together. */
interface Run {
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Undefined when it failed, and why. */
  readonly done: Promise<{ readonly error: unknown } | undefined>;
  state: "coming" | "here" | "failed";
  /** Reads that have not copied it yet. */
  readers: number;
  kept: boolean;
}

export class ReadAhead {
  readonly #fetch: Fetch;
  readonly #size: number;
  /** By number of the block. */
  readonly #blocks = new Map<number, Run>();
  /** The longest unused first. */
  readonly #runs = new Set<Run>();
  #keptBytes = 0;
  /** Memory of long runs that are gone: garbage of this size is collected far too late. */
  readonly #spare: ArrayBuffer[] = [];
  /** The end of what was read in order. */
  #front = 0;
  #aheadBytes = 0;

  constructor(size: number, fetch: Fetch) {
    this.#size = size;
    this.#fetch = fetch;
  }

  /** Fills `into` as ArchiveAccess.read does. */
  async read(into: Uint8Array, offset: number): Promise<number> {
    const end = Math.min(this.#size, offset + into.length);
    if (offset >= end) return 0;
    this.#follow(offset, end);
    const runs = this.#want(offset, end);
    for (const run of runs) run.readers += 1;
    this.#want(end, this.#aheadEnd(end));
    this.#forget();
    try {
      for (const run of runs) {
        const from = Math.max(offset, run.offset);
        await this.#copy(run, into.subarray(from - offset, run.offset + run.bytes.length - offset), from);
      }
    } finally {
      for (const run of runs) this.#letGo(run);
    }
    return end - offset;
  }

  /** Whole runs, so that requests are few and long. */
  #aheadEnd(end: number): number {
    const wanted = end + this.#aheadBytes;
    return wanted >= this.#size ? this.#size : wanted - (wanted % RUN_BYTES_MAX);
  }

  /** Fills a part of what is wanted that lies in one run. */
  async #copy(run: Run, part: Uint8Array, from: number): Promise<void> {
    const failed = await run.done;
    if (failed === undefined) part.set(run.bytes.subarray(from - run.offset, from - run.offset + part.length));
    // Only a little of the run may be what cannot be read.
    else if (!(failed.error instanceof Failure) && part.length < run.bytes.length) await this.#exactly(part, from);
    else throw failed.error;
  }

  /** Looks whether it is read in order, and how far ahead is worth it. */
  #follow(offset: number, end: number): void {
    const inOrder = offset <= this.#front + GAP_BYTES_MAX && offset >= this.#front - KEPT_BYTES_MAX;
    if (!inOrder) this.#aheadBytes = 0;
    // The beginning of the file, and what has a neighbour before it.
    else if (end > this.#front && this.#front > 0 && !this.#isHere(offset, end)) {
      this.#aheadBytes = Math.min(AHEAD_BYTES_MAX, Math.max(AHEAD_BYTES_MIN, 2 * this.#aheadBytes));
    }
    this.#front = inOrder ? Math.max(this.#front, end) : end;
  }

  #isHere(offset: number, end: number): boolean {
    for (let block = blockOf(offset); block * BLOCK_BYTES < end; block += 1) {
      if (this.#blocks.get(block)?.state !== "here") return false;
    }
    return true;
  }

  /** The runs that hold these bytes, in order; asks for what is not there. */
  #want(offset: number, end: number): readonly Run[] {
    const runs: Run[] = [];
    for (let block = blockOf(offset); block * BLOCK_BYTES < end;) {
      const run = this.#blocks.get(block) ?? this.#ask(block, Math.ceil(end / BLOCK_BYTES));
      this.#runs.delete(run);
      this.#runs.add(run);
      runs.push(run);
      block = Math.ceil((run.offset + run.bytes.length) / BLOCK_BYTES);
    }
    return runs;
  }

  /** Blocks from this one up to one that is there, or `end`. */
  #ask(first: number, end: number): Run {
    let last = first;
    while (last + 1 < Math.min(end, first + RUN_BLOCKS_MAX) && !this.#blocks.has(last + 1)) last += 1;
    const offset = first * BLOCK_BYTES;
    const bytes = this.#memory(Math.min(this.#size, (last + 1) * BLOCK_BYTES) - offset);
    const done = this.#fetch(bytes, offset).then(
      () => {
        run.state = "here";
        this.#forget();
        return undefined;
      },
      (error: unknown) => {
        run.state = "failed";
        this.#drop(run);
        return { error };
      },
    );
    const run: Run = { offset, bytes, done, state: "coming", readers: 0, kept: true };
    for (let block = first; block <= last; block += 1) this.#blocks.set(block, run);
    this.#runs.add(run);
    this.#keptBytes += bytes.length;
    return run;
  }

  #memory(length: number): Uint8Array {
    if (length <= RUN_BYTES_MAX / 2) return new Uint8Array(length);
    return new Uint8Array(this.#spare.pop() ?? new ArrayBuffer(RUN_BYTES_MAX), 0, length);
  }

  #letGo(run: Run): void {
    run.readers -= 1;
    this.#reuse(run);
  }

  /** Nobody looks at it any more, and nothing is written to it. */
  #reuse({ bytes, kept, readers, state }: Run): void {
    if (kept || readers > 0 || state === "coming" || !(bytes.buffer instanceof ArrayBuffer)) return;
    if (bytes.buffer.byteLength === RUN_BYTES_MAX && this.#spare.length < SPARE_MAX) this.#spare.push(bytes.buffer);
  }

  /** Whoever reads a run has it, kept or not. */
  #forget(): void {
    for (const run of this.#runs) {
      if (this.#keptBytes <= KEPT_BYTES_MAX + this.#aheadBytes) return;
      if (run.state === "here") this.#drop(run);
    }
  }

  #drop(run: Run): void {
    if (!this.#runs.delete(run)) return;
    run.kept = false;
    this.#keptBytes -= run.bytes.length;
    for (let block = blockOf(run.offset); block * BLOCK_BYTES < run.offset + run.bytes.length; block += 1) {
      if (this.#blocks.get(block) === run) this.#blocks.delete(block);
    }
    this.#reuse(run);
  }

  async #exactly(part: Uint8Array, offset: number): Promise<void> {
    // What a request may be at most.
    for (let at = 0; at < part.length; at += RUN_BYTES_MAX) {
      await this.#fetch(part.subarray(at, at + RUN_BYTES_MAX), offset + at);
    }
  }
}

function blockOf(offset: number): number {
  return Math.floor(offset / BLOCK_BYTES);
}
