/** Whether the index of an archive is still believed: one for each job. The first thing that contradicts it ends that. */
import { Failure } from "#base/errors.ts";
import { indexDamaged } from "#archive/index-bytes.ts";

export class IndexTrust {
  #fault: Failure | undefined;
  /** Told of the first fault. */
  onDistrust: (() => void) | undefined;

  constructor(fault?: Failure) {
    this.#fault = fault;
  }

  /** Failure E_INDEX_DAMAGED: why the archive is read without its index, for people. */
  get fault(): Failure | undefined {
    return this.#fault;
  }

  distrust(fault: Failure): void {
    if (this.#fault !== undefined) return;
    this.#fault = fault;
    this.onDistrust?.();
  }
}

/** Gives the failure when it says that an index is damaged; everything else is thrown on. */
export function mustBeIndexDamage(error: unknown): Failure {
  if (error instanceof Failure && error.code === "E_INDEX_DAMAGED") return error;
  throw error;
}

/** What the index says is not what the archive has. */
export function contradiction(what: string): Failure {
  return indexDamaged(`the index contradicts the archive: ${what}`);
}
