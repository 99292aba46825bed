/**
 * After a restart of the server: tells the agent how far the hashing of what was durable has come, while data goes on. What
 * is hashed and when is the store's.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import type { SessionStore } from "#store/session-store.ts";
import { PHASE_PERIOD_MS } from "./limits.ts";
import type { Link } from "./link.ts";

export class CatchUpNotice {
  readonly #store: SessionStore;
  readonly #main: () => Link | undefined;
  readonly #timer: Timer;

  /** `main` is the session connection as long as it should hear of it. */
  constructor(clock: Clock, store: SessionStore, main: () => Link | undefined) {
    this.#store = store;
    this.#main = main;
    this.#timer = every(clock, PHASE_PERIOD_MS, () => this.tell());
  }

  tell(): void {
    const progress = this.#store.catchingUp;
    const main = this.#main();
    if (progress === undefined || main === undefined || main.blocked) return;
    main.send("phase", { phase: "hashing", done: progress.doneBytes, total: progress.totalBytes });
  }

  stop(): void {
    this.#timer.cancel();
  }
}
