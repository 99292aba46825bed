/**
 * Verifies an archive by its index, if there is one that is its own, and takes a disk that gives an error where the structure is to be read
 * for what it is: an archive whose bytes cannot be read is damaged until they can be. So is one of which nothing is left to go by: a file
 * that has become empty, or zeros, as a loss of power leaves it.
 */
import { Failure, isLostBytes } from "#base/errors.ts";
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
  /** It may be any file, which a person has named: what is no archive is refused then, because nobody says that it was one. */
  readonly isAnyFile?: boolean;
}

export interface Judgement {
  readonly verification: Verification;
  readonly aborted: boolean;
  /** Failure E_INDEX_DAMAGED: why the index that lies beside the archive was not used. */
  readonly indexFault: Failure | undefined;
}

/** As verifyArchive; rejects with what it throws, but for bytes that are lost and for what is no archive any more. */
export async function judgeArchive(wanted: ArchiveToJudge, deps: JobDeps): Promise<Judgement> {
  const { archive, index, sha256, isAnyFile = false } = wanted;
  let indexFault: Failure | undefined;
  const watched = new LostPlace(archive);
  try {
    const indexed = await openIndexed(watched, index);
    indexFault = indexed.warning;
    const result = await verifyArchive(watched, sha256, deps, await planToVerify(indexed));
    return { ...result, indexFault };
  } catch (error) {
    if (isLostBytes(error)) return { verification: unreadable(watched), aborted: false, indexFault };
    if (isAnyFile || !isNoArchive(error)) throw error;
    return { verification: unrecognized(archive.size, error), aborted: false, indexFault };
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

/** True for what is thrown of a file that does not begin as any archive does, or is empty. */
function isNoArchive(error: unknown): error is Failure {
  return error instanceof Failure && (error.code === "E_ARCHIVE_FOREIGN" || error.code === "E_ARCHIVE_DAMAGED");
}

function unreadable({ size, from, to }: LostPlace): Verification {
  return damaged(size, { fault: "unreadable", message: undefined, storedFrom: from, storedTo: to });
}

function unrecognized(size: number, { message }: Failure): Verification {
  const place = size === 0 ? { storedFrom: undefined, storedTo: undefined } : { storedFrom: 0, storedTo: size };
  return damaged(size, { fault: "tar", message, ...place });
}

function damaged(
  archiveBytes: number,
  what: Pick<Damage, "fault" | "message" | "storedFrom" | "storedTo">,
): Verification {
  const damage: Damage = {
    ...{ ...what, chunk: undefined, chunkCount: 1, rawFrom: undefined, rawTo: undefined },
    ...{ files: [], entriesLost: true, after: undefined, before: undefined },
  };
  const none = { sha256: "", sha256Expected: undefined, index: { state: "unchecked" } as const };
  return { ok: false, chunks: 0, entries: 0, archiveBytes, damaged: [damage], damagedCount: 1, ...none };
}
