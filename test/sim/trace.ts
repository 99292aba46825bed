/**
 * The log of one run: every event in order, as a hash that two runs of a seed must agree on, the last of them as text, and
 * how often each kind of fault and each end was seen.
 */
import { crc32 } from "node:zlib";
import type { SimClock } from "#test/support/sim-clock.ts";

const LINES_KEPT = 300;

export class Trace {
  readonly counts = new Map<string, number>();
  readonly #clock: SimClock;
  readonly #print: ((line: string) => void) | undefined;
  readonly #lines: string[] = [];
  #hash = 0;
  #events = 0;

  /** `print` gets every line as it comes. */
  constructor(clock: SimClock, print: ((line: string) => void) | undefined) {
    this.#clock = clock;
    this.#print = print;
  }

  /** Says that something happened; `text` is the same in every run of the seed. */
  note(text: string): void {
    const line = `${this.#clock.now().toFixed(3)} ${text}`;
    this.#hash = crc32(line, this.#hash);
    this.#events += 1;
    this.#print?.(line);
    this.#lines.push(line);
    if (this.#lines.length > 2 * LINES_KEPT) this.#lines.splice(0, LINES_KEPT);
  }

  /** Something of a kind that must occur in every round of the simulator: `fault cutBytes`, `end E_DISK_FULL`. */
  count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.note(kind);
  }

  /** Of all that happened. */
  get hash(): string {
    return `${this.#events}-${this.#hash.toString(16).padStart(8, "0")}`;
  }

  /** The last lines. */
  tail(): string {
    return this.#lines.slice(-LINES_KEPT).join("\n");
  }
}
