/** What a verification comes to for those who keep it: a few words, and a line for each damage with the files that it hits. */
import { type Failure, isLostBytes } from "#base/errors.ts";
import { damageText } from "#cli/damage-text.ts";
import type { Damage } from "#restore/damage.ts";
import { openIndexed } from "#restore/index-open.ts";
import { planToVerify } from "#restore/index-plan.ts";
import { type JobDeps, verifyArchive } from "#restore/job-runner.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import type { Verification } from "#restore/verify.ts";
import type { ArchiveToJudge, VerifyArchive } from "#server/verifier.ts";
import type { Finding } from "#store/damage-mark.ts";

export function findingOf({ ok, damaged, damagedCount, sha256, sha256Expected }: Verification): Finding {
  if (ok) return { ok: true };
  const places = damagedCount === 1 ? "1 damaged place" : `${damagedCount} damaged places`;
  const differs =
    sha256Expected !== undefined && sha256Expected !== sha256 ? "its SHA-256 is not the one beside it" : "";
  const what = [damagedCount > 0 ? places : "", differs].filter((part) => part !== "").join(", ");
  return { ok: false, what, details: damaged.map(damageText) };
}

export interface Judgement {
  readonly verification: Verification;
  readonly aborted: boolean;
  /** Failure E_INDEX_DAMAGED: why the index that lies beside the archive was not used. */
  readonly indexFault: Failure | undefined;
}

/** As verifyArchive, by the index if there is one; a disk that gives an error where the archive's structure is to be read is a damage too. Rejects with all others. */
export async function judgeArchive({ archive, index, sha256 }: ArchiveToJudge, deps: JobDeps): Promise<Judgement> {
  let indexFault: Failure | undefined;
  try {
    const indexed = await openIndexed(archive, index);
    indexFault = indexed.warning;
    const result = await verifyArchive(archive, sha256, deps, await planToVerify(indexed));
    return { ...result, indexFault };
  } catch (error) {
    if (!isLostBytes(error)) throw error;
    return { verification: unreadable(archive.size), aborted: false, indexFault };
  }
}

const UNREADABLE: Damage = {
  ...{ fault: "unreadable", message: undefined, chunk: undefined, chunkCount: 1, storedFrom: undefined },
  ...{ storedTo: undefined, rawFrom: undefined, rawTo: undefined, files: [], entriesLost: true },
  ...{ after: undefined, before: undefined },
};

function unreadable(archiveBytes: number): Verification {
  const damaged = [UNREADABLE];
  const none = { sha256: "", sha256Expected: undefined, index: { state: "unchecked" } as const };
  return { ok: false, chunks: 0, entries: 0, archiveBytes, damaged, damagedCount: 1, ...none };
}

/** For the server: two threads of little urgency, whatever the machine has. */
export function backgroundVerifier(spawn: SpawnRestoreThread): VerifyArchive {
  return async (wanted, { signal, onStart }) => {
    const watched: JobDeps["onStart"] = (progress) => onStart(() => progress().archiveBytes);
    const { verification } = await judgeArchive(wanted, { spawn, signal, cores: 1, onStart: watched });
    return findingOf(verification);
  };
}
