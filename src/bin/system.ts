/** The real clock and the real randomness, made here and passed to everything else. */
import type { Clock, Timer } from "#base/clock.ts";
import type { Random } from "#base/random.ts";

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delayMs: number, fn: () => void): Timer {
    // Longer delays than setTimeout can hold would fire at once.
    const timer = setTimeout(fn, Math.min(delayMs, 0x7fff_ffff));
    return { cancel: () => clearTimeout(timer) };
  },
};

export const systemRandom: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  unit: () => Math.random(),
};
