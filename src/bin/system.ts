/** The real clock and the real randomness, made here and passed to everything else. */
import type { Clock, Timer } from "#base/clock.ts";
import type { Random } from "#base/random.ts";

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (delayMs, fn) => timeout(delayMs, fn, TIMEOUT_MS_MAX),
};

/** What setTimeout can hold, 24.8 days: longer delays would fire at once. */
const TIMEOUT_MS_MAX = 0x7fff_ffff;

/** A timer of any length, made of timers of at most `stepMs`: a session may be kept for a year. */
export function timeout(delayMs: number, fn: () => void, stepMs: number): Timer {
  let handle: ReturnType<typeof setTimeout>;
  const arm = (leftMs: number): void => {
    const step = Math.min(leftMs, stepMs);
    handle = setTimeout(() => (leftMs > step ? arm(leftMs - step) : fn()), step);
  };
  arm(delayMs);
  return { cancel: () => clearTimeout(handle) };
}

export const systemRandom: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  unit: () => Math.random(),
};
