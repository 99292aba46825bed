/**
 * Keeps one peer that does the same thing over and over from filling log and history: the first event of a key passes,
 * further ones within the period are counted and told as one at its end. It has timers only while something is counted.
 */
import type { Clock, Timer } from "#base/clock.ts";
import type { ObservedEvent } from "./events.ts";

const PERIOD_MS = 60_000;
/** Keys looked after at a time; beyond that all events of a kind share one. */
const KEYS_MAX = 1_000;

interface Window {
  timer: Timer;
  /** Since the last one that was told. */
  untold: number;
  last: ObservedEvent;
}

export class Repeats {
  readonly #clock: Clock;
  readonly #tell: (event: ObservedEvent, repeats: number) => void;
  readonly #windows = new Map<string, Window>();
  #closed = false;

  /** `tell` gets the last of several events, and how many more there were that it stands for. */
  constructor(clock: Clock, tell: (event: ObservedEvent, repeats: number) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  take(event: ObservedEvent): void {
    if (event.repeatKey === undefined || this.#closed) {
      this.#tell(event, 0);
      return;
    }
    const key = this.#keyOf(event.kind, event.repeatKey);
    const window = this.#windows.get(key);
    if (window === undefined) {
      this.#windows.set(key, { timer: this.#timer(key), untold: 0, last: event });
      this.#tell(event, 0);
    } else {
      window.untold += 1;
      window.last = event;
    }
  }

  /** Tells what is left; from now on everything passes. */
  close(): void {
    this.#closed = true;
    for (const window of this.#windows.values()) {
      window.timer.cancel();
      if (window.untold > 0) this.#tell(window.last, window.untold - 1);
    }
    this.#windows.clear();
  }

  #keyOf(kind: string, repeatKey: string): string {
    const key = `${kind} ${repeatKey}`;
    return this.#windows.has(key) || this.#windows.size < KEYS_MAX ? key : kind;
  }

  #timer(key: string): Timer {
    return this.#clock.after(PERIOD_MS, () => {
      const window = this.#windows.get(key);
      if (window === undefined) return;
      if (window.untold === 0) {
        this.#windows.delete(key);
        return;
      }
      const { last, untold } = window;
      window.untold = 0;
      window.timer = this.#timer(key);
      this.#tell(last, untold - 1);
    });
  }
}
