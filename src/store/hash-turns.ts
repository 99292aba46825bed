/**
 * Hashing in slices, one slice per turn of the event loop, session after session: so that no session's backlog holds up
 * the sockets or the other sessions. Shared by the sessions of a storage.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { MiB } from "#base/units.ts";

/** About 0.6 ms of SHA-256. */
export const HASH_SLICE_BYTES = MiB;

export interface HashWork {
  /** Hashes about `bytesMax` of what is at hand; true when more is. */
  step(bytesMax: number): boolean;
}

export class HashTurns {
  readonly #clock: Clock;
  /** In order of their turn. */
  readonly #queue = new Set<HashWork>();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `work` gets a turn until its step says that nothing is at hand. */
  ask(work: HashWork): void {
    this.#queue.add(work);
    this.#timer ??= this.#clock.after(0, () => this.#turn());
  }

  /** `work` gets no more turns. */
  forget(work: HashWork): void {
    this.#queue.delete(work);
    if (this.#queue.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #turn(): void {
    this.#timer = undefined;
    for (const work of this.#queue) {
      this.#queue.delete(work);
      if (work.step(HASH_SLICE_BYTES)) this.#queue.add(work);
      break;
    }
    for (const work of this.#queue) {
      this.ask(work);
      break;
    }
  }
}
