/**
 * Looks at source roots in a thread of its own, for so long and no longer: a call into a network filesystem whose server is gone may
 * not come back for days, and must cost that one run and not the daemon. What is looked at is source-look-thread.ts's.
 */
import type { SourceFacts } from "#archive/source-facts.ts";
import type { SourceSpec } from "#archive/source-roots.ts";
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Thread } from "./pipeline-threads.ts";
import type { FromSourceLook, SourceLookStart } from "./source-look-thread.ts";

/** A disk that has to spin up, or is mounted on demand, answers within it. */
export const LOOK_MS_MAX = 60_000;
/** Threads that hang in the kernel at a time; with as many nothing more is looked at until one comes back. */
export const HANGING_MAX = 8;

export class SourceLook {
  readonly #clock: Clock;
  readonly #spawn: () => Thread;
  /** Paths at which threads hang. */
  readonly #hanging = new Map<Thread, string>();

  constructor(clock: Clock, spawn: () => Thread) {
    this.#clock = clock;
    this.#spawn = spawn;
  }

  /** Rejects with Failure E_SOURCE_MISSING, E_SOURCE_LINK, E_INTERRUPTED. */
  async check(sources: readonly SourceSpec[], signal?: AbortSignal): Promise<void> {
    await this.#look({ what: "check", sources }, signal);
  }

  /** Rejects with Failure for what is there and cannot be looked at. */
  async facts(sources: readonly SourceSpec[], signal?: AbortSignal): Promise<readonly SourceFacts[]> {
    return await this.#look({ what: "facts", sources }, signal);
  }

  #look(start: SourceLookStart, signal: AbortSignal | undefined): Promise<readonly SourceFacts[]> {
    if (this.#hanging.size >= HANGING_MAX) return Promise.reject(hangs([...this.#hanging.values()].join(", ")));
    const { promise, resolve, reject } = Promise.withResolvers<readonly SourceFacts[]>();
    const thread = this.#spawn();
    let path = "";
    let ended = false;
    const end = (hangs = false): void => {
      timer.cancel();
      signal?.removeEventListener("abort", interrupt);
      // It ends when the kernel lets it go, or with the process.
      if (hangs && !ended) this.#hanging.set(thread, path);
      thread.terminate();
    };
    const timer = this.#clock.after(LOOK_MS_MAX, () => {
      end(true);
      reject(hangs(path));
    });
    const interrupt = (): void => {
      end(true);
      reject(new Failure("E_INTERRUPTED", "interrupted while the sources were looked at"));
    };
    signal?.addEventListener("abort", interrupt, { once: true });
    thread.onmessage = ({ data }: MessageEvent<unknown>): void => {
      // Both ends are of this program: source-look-thread.ts.
      const message = data as FromSourceLook;
      if (message.type === "at") {
        path = message.path;
        return;
      }
      end();
      if (message.type === "done") resolve(message.facts);
      else reject(new Failure(message.code, message.message, { hint: message.hint }));
    };
    thread.onerror = (event: ErrorEvent): void => {
      event.preventDefault();
      end();
      reject(new Failure("E_INTERNAL", `the thread that looks at sources failed: ${event.message}`));
    };
    thread.addEventListener("close", () => {
      ended = true;
      end();
      this.#hanging.delete(thread);
      // After its last message this settles nothing any more.
      reject(new Failure("E_INTERNAL", "the thread that looks at sources ended"));
    });
    thread.postMessage(start);
    if (signal?.aborted === true) interrupt();
    return promise;
  }
}

function hangs(path: string): Failure {
  return new Failure("E_SOURCE_MISSING", `source ${path} has not answered for ${LOOK_MS_MAX / 1000} s`, {
    hint: `Look at the filesystem that ${path} lies on: a network disk whose server is gone hangs like that.`,
  });
}
