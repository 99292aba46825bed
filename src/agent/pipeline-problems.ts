/**
 * Gathers what could not be backed up as it is, in batches: a million unreadable files cost neither a million messages nor the
 * memory for a million names. Names beyond the limit are only counted. Sockets, which are no problem, are kept apart till the end.
 */
import type { Problem, ProblemReason, SocketsLeftOut } from "#base/chunk.ts";

/** Nobody reads more names than this; the count says how many there were. */
export const PROBLEMS_KEPT_MAX = 10_000;
/** Sockets are as they should be: a few names tell which program's they are. */
export const SOCKETS_KEPT_MAX = 20;
const BATCH_MAX = 256;

export class ProblemBatches {
  readonly #post: (problems: readonly Problem[]) => void;
  #batch: Problem[] = [];
  #keptCount = 0;
  /** All, also those whose names were not kept. */
  count = 0;
  readonly #sockets: Uint8Array[] = [];
  #socketCount = 0;

  constructor(post: (problems: readonly Problem[]) => void) {
    this.#post = post;
  }

  /** `path` may be a view: it is copied. */
  add(path: Uint8Array, reason: ProblemReason | "socket", errno?: string): void {
    if (reason === "socket") {
      this.#addSocket(path);
      return;
    }
    this.count += 1;
    if (this.#keptCount === PROBLEMS_KEPT_MAX) return;
    this.#keptCount += 1;
    // Not slice(): of a Buffer that is a view.
    const copy = new Uint8Array(path);
    this.#batch.push(errno === undefined ? { path: copy, reason } : { path: copy, reason, errno });
    if (this.#batch.length === BATCH_MAX) this.flush();
  }

  get sockets(): SocketsLeftOut {
    return { count: this.#socketCount, paths: this.#sockets };
  }

  flush(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    this.#post(batch);
  }

  #addSocket(path: Uint8Array): void {
    this.#socketCount += 1;
    if (this.#sockets.length < SOCKETS_KEPT_MAX) this.#sockets.push(new Uint8Array(path));
  }
}
