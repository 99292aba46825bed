/**
 * Waits for what nobody tells, by looking. `fs.watch` is no help: of writes within a millisecond Bun tells the first alone, so that the last line
 * of a burst is never heard of (14 of 40, where six lines and another one follow one another).
 */
import { WAIT_MS } from "./watched-process.ts";

const LOOK_MS = 10;

/** Throws what it waited for, as `what` says it then. */
export async function lookUntil(done: () => boolean, what: () => string, withinMs = WAIT_MS): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!done()) {
    if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
