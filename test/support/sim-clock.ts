/**
 * A simulated clock: time passes only when the test lets it. Timers due at the same instant fire in the order they were
 * set, so that the same run gives the same order of events.
 */
import { drainMicrotasks } from "bun:jsc";
import type { Clock, Timer } from "#base/clock.ts";

/**
 * Times are multiples of a fraction of a millisecond that doubles hold exactly: else a sum that comes out a trifle early
 * makes a timer fire at the same instant for ever, which no real clock does.
 */
const TICKS_PER_MS = 1024;

interface Pending {
  readonly dueMs: number;
  readonly order: number;
  readonly fn: () => void;
  /** Cancelled ones stay in the heap until they come to its top. */
  cancelled: boolean;
}

export class SimClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #wallOffsetMs: number;
  /** A binary heap, the next timer first. */
  readonly #heap: Pending[] = [];
  #pendingCount = 0;

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
    const pending: Pending = {
      dueMs: Math.ceil((this.#nowMs + Math.max(0, delayMs)) * TICKS_PER_MS) / TICKS_PER_MS,
      order: this.#order,
      fn,
      cancelled: false,
    };
    this.#order += 1;
    this.#push(pending);
    this.#pendingCount += 1;
    return {
      cancel: () => {
        if (pending.cancelled) return;
        pending.cancelled = true;
        this.#pendingCount -= 1;
      },
    };
  }

  /** Timers set and neither fired nor cancelled: none may be left at the end of a run. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** Fires the next timer, moving time to it; false when there is none. */
  step(): boolean {
    const next = this.#next();
    if (next === undefined) return false;
    this.#pop();
    // From now on a cancel does nothing.
    next.cancelled = true;
    this.#pendingCount -= 1;
    this.#nowMs = Math.max(this.#nowMs, next.dueMs);
    next.fn();
    return true;
  }

  /** Lets `ms` of simulated time pass, with all that happens in it. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#next(); next !== undefined && next.dueMs <= endMs; next = this.#next()) {
      this.step();
      await settle();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
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

  /**
   * Lets time pass until `done` says so, and all that is due then has happened; false when that takes longer than to
   * `endMs`, or nothing is left that could happen. In one turn of the real event loop, so that it is several times faster
   * than `until`: what runs on it must wait for nothing but promises and this clock.
   */
  run(done: () => boolean, endMs: number): boolean {
    drainMicrotasks();
    while (!done()) {
      const next = this.#next();
      if (next === undefined || next.dueMs > endMs) return false;
      this.step();
      drainMicrotasks();
    }
    return true;
  }

  /** The next timer that was not cancelled. */
  #next(): Pending | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (!top.cancelled) return top;
      this.#pop();
    }
    return undefined;
  }

  #push(pending: Pending): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(pending);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !isBefore(pending, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = pending;
  }

  /** Takes away the top. */
  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      let child = heap[left];
      if (child === undefined) break;
      const right = heap[left + 1];
      let below = left;
      if (right !== undefined && isBefore(right, child)) {
        child = right;
        below = left + 1;
      }
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore(a: Pending, b: Pending): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** Lets all promises and immediates that are ready run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
