/**
 * A simulated clock: time passes only when the test lets it. Timers due at the same instant fire in the order they were
 * set, so that the same run gives the same order of events.
 */
import type { Clock, Timer } from "#base/clock.ts";

interface Pending {
  readonly dueMs: number;
  readonly order: number;
  readonly fn: () => void;
}

export class SimClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #wallOffsetMs: number;
  readonly #pending = new Set<Pending>();

  /** `wallMs`: what the wall clock shows at the start; 2026-01-01 UTC unless told. */
  constructor(wallMs = Date.UTC(2026, 0, 1)) {
    this.#wallOffsetMs = wallMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wall(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  /** The wall clock jumps; the monotonic one does not notice. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** The process stands still: time passes and nothing happens, and then all that became due happens late. */
  stall(byMs: number): void {
    this.#nowMs += byMs;
  }

  after(delayMs: number, fn: () => void): Timer {
    const pending: Pending = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order, fn };
    this.#order += 1;
    this.#pending.add(pending);
    return { cancel: () => void this.#pending.delete(pending) };
  }

  /** Timers set and neither fired nor cancelled: none may be left at the end of a run. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Fires the next timer, moving time to it; false when there is none. */
  step(): boolean {
    let next: Pending | undefined;
    for (const p of this.#pending) {
      if (next === undefined || p.dueMs < next.dueMs || (p.dueMs === next.dueMs && p.order < next.order)) next = p;
    }
    if (next === undefined) return false;
    this.#pending.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.dueMs);
    next.fn();
    return true;
  }

  /** Lets `ms` of simulated time pass, with all that happens in it. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const due = [...this.#pending].some((p) => p.dueMs <= endMs);
      if (!due) break;
      this.step();
      await settle();
    }
    this.#nowMs = endMs;
  }

  /** Lets time pass until `promise` settles and returns its value; throws when that takes more than `limitMs`. */
  async until<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    const endMs = this.#nowMs + limitMs;
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await settle();
    while (!settled) {
      if (this.#nowMs > endMs) throw new Error(`nothing after ${limitMs} ms of simulated time`);
      if (!this.step()) throw new Error("no timer is set and nothing has happened: it would wait for ever");
      await settle();
    }
    return promise;
  }
}

/** Lets all promises and immediates that are ready run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
