/** The threads of one run: started, listened to, ended together. Knows nothing of what they say. */
import { must } from "#base/assert.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";

export type ThreadKind = "reader" | "compress" | "sources";

/**
 * Makes a thread from `reader-worker.ts`, `compress-worker.ts` or `sources-worker.ts`. Passed in from src/bin, because a compiled executable finds a
 * worker only when the entry file itself constructs it, beside which it was compiled.
 */
export type SpawnWorker = (kind: ThreadKind) => Thread;

/** What a run needs of a Worker. */
export interface Thread {
  onmessage: ((event: MessageEvent<unknown>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  addEventListener(type: "close" | "messageerror", listener: () => void): void;
  postMessage(message: unknown): void;
  terminate(): void;
}

/**
 * How long ending waits for a thread. One that hangs in the kernel (a dead network filesystem) ends when the kernel lets it go,
 * or with the process.
 */
const END_WAIT_MS = 2000;

export class Threads {
  readonly #clock: Clock;
  readonly #onDeath: (failure: Failure) => void;
  readonly #workers: Thread[] = [];
  /** Not terminated before they say that they are done: a thread that is cut off leaves its files open. */
  readonly #held = new Set<Thread>();
  #aliveCount = 0;
  #stopping: Promise<void> | undefined;
  #allEnded: () => void = () => undefined;
  #timer: Timer | undefined;

  /** `onDeath` hears of a thread that ends by itself, or cannot be started. */
  constructor(clock: Clock, onDeath: (failure: Failure) => void) {
    this.#clock = clock;
    this.#onDeath = onDeath;
  }

  /** Takes a thread in. `onMessage` gets what it posts, until it is terminated. */
  add(kind: ThreadKind, worker: Thread, onMessage: (data: unknown) => void): Thread {
    this.#workers.push(worker);
    this.#aliveCount += 1;
    const die = (what: string): void => {
      if (this.#stopping !== undefined) return;
      this.#onDeath(new Failure("E_INTERNAL", `the ${kind} thread ${what}`));
    };
    worker.onmessage = (event: MessageEvent<unknown>): void => {
      if (this.#stopping === undefined || this.#held.has(worker)) onMessage(event.data);
    };
    worker.onerror = (event: ErrorEvent): void => {
      event.preventDefault();
      die(`failed: ${event.message}`);
    };
    worker.addEventListener("messageerror", () => die("sent something unreadable"));
    worker.addEventListener("close", () => {
      this.#aliveCount -= 1;
      if (this.#aliveCount === 0) this.#allEnded();
      die("ended");
    });
    return worker;
  }

  /** From now on `stop` waits for the thread to be released, if it is no dead one, as long as it waits for anything. */
  hold(worker: Thread): void {
    this.#held.add(worker);
  }

  /** The thread is done with what must not be cut short. */
  release(worker: Thread): void {
    if (this.#held.delete(worker) && this.#stopping !== undefined) worker.terminate();
  }

  /** In the order they were added. */
  worker(index: number): Thread {
    return must(this.#workers[index], "a thread");
  }

  /** Ends all; resolves when they have ended, or after END_WAIT_MS. May be called again. */
  stop(): Promise<void> {
    this.#stopping ??= new Promise((resolve) => {
      this.#allEnded = (): void => {
        this.#timer?.cancel();
        this.#timer = undefined;
        resolve();
      };
      if (this.#aliveCount === 0) {
        resolve();
        return;
      }
      this.#timer = this.#clock.after(END_WAIT_MS, () => {
        for (const worker of this.#held) this.release(worker);
        resolve();
      });
      for (const worker of this.#workers) if (!this.#held.has(worker)) worker.terminate();
    });
    return this.#stopping;
  }
}
