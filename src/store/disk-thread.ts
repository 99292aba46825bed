/**
 * The thread of a disk, for calls that take as long as the disk takes and that node:fs would not make off the main thread:
 * syncfs and copy_file_range. Both ends of it are here; the Worker itself is made in src/bin.
 */
import { Failure } from "#base/errors.ts";
import { appendFiles, type AppendQuestion, type Appended } from "./linux-append.ts";
import { syncfs } from "./linux-libc.ts";

/** Makes a thread from src/bin/disk-worker.ts. */
export type SpawnDiskWorker = () => DiskWorker;

/** What is needed of a Worker. */
export interface DiskWorker {
  onmessage: ((event: MessageEvent<DiskAnswer>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: DiskQuestion): void;
  terminate(): void;
}

export type DiskQuestion =
  /** Descriptors are the process's, not the thread's. */
  | { readonly id: number; readonly call: "sync"; readonly fd: number }
  | ({ readonly id: number; readonly call: "append" } & AppendQuestion);

export interface DiskAnswer {
  readonly id: number;
  /** Of `append`, files that were appended before an error, if there was one. */
  readonly lengths: readonly number[];
  /** 0: all went well. */
  readonly errno: number;
}

/** In the thread. */
export function answerDisk(question: DiskQuestion): DiskAnswer {
  const { id } = question;
  if (question.call === "sync") return { id, lengths: [], errno: syncfs(question.fd) };
  return { id, ...appendFiles(question) };
}

/** From outside; one call after another. */
export class DiskThread {
  readonly #worker: DiskWorker;
  readonly #waiting = new Map<number, { resolve(answer: DiskAnswer): void; reject(failure: Failure): void }>();
  #lastId = 0;
  #failure: Failure | undefined;

  constructor(spawn: SpawnDiskWorker) {
    this.#worker = spawn();
    this.#worker.onmessage = ({ data }): void => {
      this.#waiting.get(data.id)?.resolve(data);
      this.#waiting.delete(data.id);
    };
    this.#worker.onerror = (event): void => {
      event.preventDefault();
      this.#end(new Failure("E_INTERNAL", `the thread of a disk failed: ${event.message}`));
    };
  }

  /** The errno of syncfs, 0 when it did well. Rejects, as all calls, with Failure E_INTERNAL when the thread is dead. */
  async sync(fd: number): Promise<number> {
    return (await this.#ask((id) => ({ id, call: "sync", fd }))).errno;
  }

  /** See linux-append.ts. */
  append(question: AppendQuestion): Promise<Appended> {
    return this.#ask((id) => ({ id, call: "append", ...question }));
  }

  /** Ends the thread; no call may be under way. */
  close(): void {
    this.#worker.terminate();
    this.#end(new Failure("E_INTERNAL", "the thread of a disk was ended"));
  }

  #ask(question: (id: number) => DiskQuestion): Promise<DiskAnswer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#lastId += 1;
    const { promise, resolve, reject } = Promise.withResolvers<DiskAnswer>();
    this.#waiting.set(this.#lastId, { resolve, reject });
    this.#worker.postMessage(question(this.#lastId));
    return promise;
  }

  #end(failure: Failure): void {
    this.#failure ??= failure;
    for (const { reject } of this.#waiting.values()) reject(failure);
    this.#waiting.clear();
  }
}
