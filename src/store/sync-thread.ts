/**
 * A thread that syncs whole filesystems: syncfs takes as long as the disk takes, and node:fs, which would call it off the
 * main thread, does not have it. Both ends of the thread are here; the Worker itself is made in src/bin.
 */
import { Failure } from "#base/errors.ts";
import { syncfs } from "./linux-libc.ts";

/** Makes a thread from src/bin/sync-worker.ts. */
export type SpawnSyncWorker = () => SyncWorker;

/** What is needed of a Worker. */
export interface SyncWorker {
  onmessage: ((event: MessageEvent<SyncAnswer>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: SyncQuestion): void;
  terminate(): void;
}

export interface SyncQuestion {
  readonly id: number;
  /** Descriptors are the process's, not the thread's. */
  readonly fd: number;
}

export interface SyncAnswer {
  readonly id: number;
  /** 0: done. */
  readonly errno: number;
}

/** In the thread. */
export function answerSync({ id, fd }: SyncQuestion): SyncAnswer {
  return { id, errno: syncfs(fd) };
}

/** From outside; one sync after another. */
export class SyncThread {
  readonly #worker: SyncWorker;
  readonly #waiting = new Map<number, { resolve(errno: number): void; reject(failure: Failure): void }>();
  #lastId = 0;
  #failure: Failure | undefined;

  constructor(spawn: SpawnSyncWorker) {
    this.#worker = spawn();
    this.#worker.onmessage = ({ data }): void => {
      this.#waiting.get(data.id)?.resolve(data.errno);
      this.#waiting.delete(data.id);
    };
    this.#worker.onerror = (event): void => {
      event.preventDefault();
      this.#end(new Failure("E_INTERNAL", `the thread that syncs filesystems failed: ${event.message}`));
    };
  }

  /** The errno of syncfs, 0 when it did well. Rejects with Failure E_INTERNAL when the thread is dead. */
  sync(fd: number): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#lastId += 1;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#waiting.set(this.#lastId, { resolve, reject });
    this.#worker.postMessage({ id: this.#lastId, fd });
    return promise;
  }

  /** Ends the thread; no sync may be under way. */
  close(): void {
    this.#worker.terminate();
    this.#end(new Failure("E_INTERNAL", "the thread that syncs filesystems was ended"));
  }

  #end(failure: Failure): void {
    this.#failure ??= failure;
    for (const { reject } of this.#waiting.values()) reject(failure);
    this.#waiting.clear();
  }
}
