/**
 * Keeps one peer that does the same thing over and over from filling log and history: the first events of a key pass,
 * further ones within the period are counted and told as one at its end. It has timers only while something is counted, or
 * has passed not long ago.
 */
import type { Clock, Timer } from "#base/clock.ts";
import type { ObservedEvent } from "./events.ts";

const PERIOD_MS = 60_000;

export interface RepeatLimits {
  /** What are repetitions of each other; undefined: the event is none. */
  readonly keyOf: (event: ObservedEvent) => string | undefined;
  /** So many of a key pass one by one. */
  readonly burst: number;
  /** Of those, so many come back in a period. */
  readonly perPeriod: number;
  /** Keys looked after at a time. */
  readonly keysMax: number;
  /** What becomes of an event whose key is one too many. */
  readonly beyond: "counted by its kind" | "told";
}

interface Window {
  timer: Timer;
  /** Told one by one, less what has come back since. */
  passed: number;
  /** Since the last one that was told. */
  untold: number;
  /** Of those. */
  last: ObservedEvent;
}

export class Repeats {
  readonly #clock: Clock;
  readonly #limits: RepeatLimits;
  readonly #tell: (event: ObservedEvent, repeats: number) => void;
  readonly #windows = new Map<string, Window>();
  #closed = false;

  /** `tell` gets the last of several events, and how many more there were that it stands for. */
  constructor(clock: Clock, limits: RepeatLimits, tell: (event: ObservedEvent, repeats: number) => void) {
    this.#clock = clock;
    this.#limits = limits;
    this.#tell = tell;
  }

  /** `repeats`: how many more there were that the event stands for already. */
  take(event: ObservedEvent, repeats = 0): void {
    const key = this.#closed ? undefined : this.#keyOf(event);
    if (key === undefined) {
      this.#tell(event, repeats);
      return;
    }
    const window = this.#windows.get(key);
    if (window === undefined) {
      this.#windows.set(key, { timer: this.#timer(key), passed: 1, untold: 0, last: event });
    } else if (window.passed < this.#limits.burst) {
      window.passed += 1;
    } else {
      window.untold += 1 + repeats;
      window.last = event;
      return;
    }
    this.#tell(event, repeats);
  }

  /** Tells now what is held of these: what comes next is to stand behind it. */
  release(isMeant: (event: ObservedEvent) => boolean): void {
    for (const window of this.#windows.values()) {
      const { last, untold } = window;
      if (untold === 0 || !isMeant(last)) continue;
      window.untold = 0;
      this.#tell(last, untold - 1);
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

  #keyOf(event: ObservedEvent): string | undefined {
    const { keyOf, keysMax, beyond } = this.#limits;
    const own = keyOf(event);
    if (own === undefined) return undefined;
    const key = `${event.kind} ${own}`;
    if (this.#windows.has(key) || this.#windows.size < keysMax) return key;
    return beyond === "told" ? undefined : event.kind;
  }

  #timer(key: string): Timer {
    return this.#clock.after(PERIOD_MS, () => {
      const window = this.#windows.get(key);
      if (window === undefined) return;
      const { last, untold } = window;
      // Who was counted within the period has what comes back taken by the one event that tells it.
      if (untold === 0) window.passed -= this.#limits.perPeriod;
      if (window.passed <= 0) {
        this.#windows.delete(key);
        return;
      }
      window.untold = 0;
      window.timer = this.#timer(key);
      if (untold > 0) this.#tell(last, untold - 1);
    });
  }
}
