/**
 * Verifies an archive by its index, if there is one that is its own, and takes a disk that gives an error where the structure is to be read
 * for what it is: an archive whose bytes cannot be read is damaged until they can be.
 */
import { type Failure, isLostBytes } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import type { Damage } from "./damage.ts";
import { openIndexed } from "./index-open.ts";
import { planToVerify } from "./index-plan.ts";
import { type JobDeps, verifyArchive } from "./job-runner.ts";
import type { Verification } from "./verify.ts";

export interface ArchiveToJudge {
  readonly archive: ArchiveAccess;
  /** Undefined when there is none. It is not to be believed. */
  readonly index: ArchiveAccess | undefined;
  /** 64 hex digits that were stored beside it. */
  readonly sha256: string | undefined;
}

export interface Judgement {
  readonly verification: Verification;
  readonly aborted: boolean;
  /** Failure E_INDEX_DAMAGED: why the index that lies beside the archive was not used. */
  readonly indexFault: Failure | undefined;
}

/** As verifyArchive; rejects with what it throws, but for bytes that are lost. */
export async function judgeArchive({ archive, index, sha256 }: ArchiveToJudge, deps: JobDeps): Promise<Judgement> {
  let indexFault: Failure | undefined;
  const watched = new LostPlace(archive);
  try {
    const indexed = await openIndexed(watched, index);
    indexFault = indexed.warning;
    const result = await verifyArchive(watched, sha256, deps, await planToVerify(indexed));
    return { ...result, indexFault };
  } catch (error) {
    if (!isLostBytes(error)) throw error;
    return { verification: unreadable(watched), aborted: false, indexFault };
  }
}

/** An archive of which it is remembered what could not be read last. */
class LostPlace implements ArchiveAccess {
  readonly #access: ArchiveAccess;
  from = 0;
  to = 0;

  constructor(access: ArchiveAccess) {
    this.#access = access;
  }

  get size(): number {
    return this.#access.size;
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    try {
      return await this.#access.read(into, offset);
    } catch (error) {
      this.from = offset;
      this.to = Math.min(this.size, offset + into.length);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#access.close();
  }
}

function unreadable({ size, from, to }: LostPlace): Verification {
  const damage: Damage = {
    ...{ fault: "unreadable", message: undefined, chunk: undefined, chunkCount: 1, storedFrom: from },
    ...{ storedTo: to, rawFrom: undefined, rawTo: undefined, files: [], entriesLost: true },
    ...{ after: undefined, before: undefined },
  };
  const none = { sha256: "", sha256Expected: undefined, index: { state: "unchecked" } as const };
  return { ok: false, chunks: 0, entries: 0, archiveBytes: size, damaged: [damage], damagedCount: 1, ...none };
}
