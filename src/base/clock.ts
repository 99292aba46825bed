/**
 * Time, passed in. Nothing in nbackup outside src/bin reads Date, performance or setTimeout directly, so that the
 * whole of agent and server also runs on a simulated clock.
 */

/** A pending timer. Cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds from an arbitrary origin; never goes back. Fractions allowed. */
  now(): number;
  /** Wall-clock milliseconds since 1970 UTC; may jump. */
  wall(): number;
  /** Runs `fn` once after `delayMs` (0 or more). */
  after(delayMs: number, fn: () => void): Timer;
}

/** Runs `fn` every `periodMs`, first after one period, until cancelled. */
export function every(clock: Clock, periodMs: number, fn: () => void): Timer {
  let cancelled = false;
  let timer = clock.after(periodMs, tick);
  function tick(): void {
    if (cancelled) return;
    timer = clock.after(periodMs, tick);
    fn();
  }
  return {
    cancel(): void {
      cancelled = true;
      timer.cancel();
    },
  };
}

/** Resolves when the promise has settled, with true, or after `delayMs`, with false. Never rejects. */
export async function settled(clock: Clock, promise: Promise<unknown>, delayMs: number): Promise<boolean> {
  const done = new AbortController();
  promise.then(
    () => done.abort(),
    () => done.abort(),
  );
  await sleep(clock, delayMs, done.signal);
  return done.signal.aborted;
}

/** Resolves after `delayMs`, or as soon as `signal` aborts (it never rejects: look at the signal). */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.after(delayMs, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
