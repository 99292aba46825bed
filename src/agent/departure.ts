/**
 * Ends a connection in order: the chunk in hand goes out whole, then Goodbye, and then the server, which has read all of it,
 * closes. A connection that does not take the rest is broken off instead. What comes after it is the caller's part.
 *
 * What the kernel has taken is still on its way, on a slow line for minutes, and only acknowledgements tell that it moves.
 */
import { every, type Clock, type Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { DataSlot } from "./data-slot.ts";
import type { FrameLink } from "./frame-link.ts";

/** As long as silence on a connection may last. */
export const DRAIN_STUCK_MS = 20_000;
const LOOK_MS = 1_000;

export interface DepartureOptions {
  readonly clock: Clock;
  readonly link: FrameLink;
  readonly slot: DataSlot;
  /** For messages. */
  readonly name: string;
  /** The server does not read because its disk is behind: that is no fault of the connection. */
  readonly stalled: () => boolean;
}

export class Departure {
  readonly #options: DepartureOptions;
  #timer: Timer | undefined;
  #movedAtMs = 0;
  #sentBytes = 0;
  #underWay = 0;
  #saidGoodbye = false;

  constructor(options: DepartureOptions) {
    this.#options = options;
  }

  begin(): void {
    const { clock, link, slot } = this.#options;
    this.#movedAtMs = clock.now();
    this.#timer = every(clock, LOOK_MS, () => this.#look());
    slot.drain(() => {
      this.#saidGoodbye = true;
      this.#movedAtMs = clock.now();
      link.leave();
    });
  }

  /** The connection is closed, or of no more interest; true if the server has everything that was sent on it. */
  ended(failure: Failure | undefined): boolean {
    this.#timer?.cancel();
    return this.#saidGoodbye && failure === undefined;
  }

  #look(): void {
    const { clock, link, slot, name, stalled } = this.#options;
    const now = clock.now();
    const { underWay } = slot;
    if (slot.meter.sentBytes !== this.#sentBytes || underWay !== this.#underWay || stalled()) this.#movedAtMs = now;
    this.#sentBytes = slot.meter.sentBytes;
    this.#underWay = underWay;
    if (now - this.#movedAtMs < DRAIN_STUCK_MS) return;
    const seconds = DRAIN_STUCK_MS / 1000;
    link.destroy(new Failure("E_TIMEOUT", `${name}: what it carried was not taken within ${seconds} s`));
  }
}
