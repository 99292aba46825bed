/**
 * Gathers what could not be backed up as it is, in batches: a million unreadable files cost neither a million messages nor the
 * memory for a million names. Names beyond the limit are only counted. Sockets, which are no problem, are kept apart till the end.
 */
import { type Problem, type ProblemReason, UNREAD_BYTES_MAX, UNREAD_PATHS_MAX } from "#base/chunk.ts";
import type { ReadFindings } from "./producer.ts";

/** Nobody reads more names than this; the count says how many there were. */
export const PROBLEMS_KEPT_MAX = 10_000;
/** Sockets are as they should be: a few names tell which program's they are. */
export const SOCKETS_KEPT_MAX = 20;
const BATCH_MAX = 256;

/** Where what the archive lacks is: at the path or below it, `elsewhere` for what may have been moved, `nowhere` when it lacks nothing. */
const MISSING: Readonly<Record<ProblemReason, "there" | "elsewhere" | "nowhere">> = {
  ...{ unreadable: "there", unsupported: "there" },
  ...{ vanished: "elsewhere", "type-changed": "elsewhere" },
  ...{ shrank: "nowhere", grew: "nowhere", "read-error": "nowhere", "links-forgotten": "nowhere" },
  ...{ "xattrs-unreadable": "nowhere", "xattrs-too-large": "nowhere" },
};

export class ProblemBatches {
  readonly #post: (problems: readonly Problem[]) => void;
  #batch: Problem[] = [];
  #keptCount = 0;
  /** All, also those whose names were not kept. */
  count = 0;
  readonly #sockets: Uint8Array[] = [];
  #socketCount = 0;
  /** Undefined once they are too many, or not all. */
  #unread: Uint8Array[] | undefined = [];
  #unreadBytes = 0;

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
    if (MISSING[reason] === "there") this.#addUnread(path);
    else if (MISSING[reason] === "elsewhere") this.#unread = undefined;
    if (this.#keptCount === PROBLEMS_KEPT_MAX) return;
    this.#keptCount += 1;
    // Not slice(): of a Buffer that is a view.
    const copy = new Uint8Array(path);
    this.#batch.push(errno === undefined ? { path: copy, reason } : { path: copy, reason, errno });
    if (this.#batch.length === BATCH_MAX) this.flush();
  }

  /** After the last one. */
  findings(): ReadFindings {
    const sockets = { count: this.#socketCount, paths: this.#sockets };
    return { problemCount: this.count, sockets, unread: this.#unread };
  }

  flush(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    this.#post(batch);
  }

  #addUnread(path: Uint8Array): void {
    this.#unreadBytes += path.length;
    const full = this.#unread?.length === UNREAD_PATHS_MAX || this.#unreadBytes > UNREAD_BYTES_MAX;
    if (full) this.#unread = undefined;
    this.#unread?.push(new Uint8Array(path));
  }

  #addSocket(path: Uint8Array): void {
    this.#socketCount += 1;
    if (this.#sockets.length < SOCKETS_KEPT_MAX) this.#sockets.push(new Uint8Array(path));
  }
}
