/** What a verification comes to for those who keep it: a few words, and a line for each damage with the files that it hits. */
import { errnoName } from "#base/errors.ts";
import { damageText } from "#cli/damage-text.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { Damage } from "#restore/damage.ts";
import { type JobDeps, verifyArchive } from "#restore/job-runner.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import type { Verification } from "#restore/verify.ts";
import type { VerifyArchive } from "#server/verifier.ts";
import type { Finding } from "#store/damage-mark.ts";

export function findingOf({ ok, damaged, damagedCount, sha256, sha256Expected }: Verification): Finding {
  if (ok) return { ok: true };
  const places = damagedCount === 1 ? "1 damaged place" : `${damagedCount} damaged places`;
  const differs =
    sha256Expected !== undefined && sha256Expected !== sha256 ? "its SHA-256 is not the one beside it" : "";
  const what = [damagedCount > 0 ? places : "", differs].filter((part) => part !== "").join(", ");
  return { ok: false, what, details: damaged.map(damageText) };
}

/** As verifyArchive; a disk that gives an error where the archive's structure is to be read is a damage too. Rejects with all others. */
export async function judgeArchive(
  archive: ArchiveAccess,
  sha256: string | undefined,
  deps: JobDeps,
): ReturnType<typeof verifyArchive> {
  try {
    return await verifyArchive(archive, sha256, deps);
  } catch (error) {
    if (errnoName(error) !== "EIO") throw error;
    return { verification: unreadable(archive.size), aborted: false };
  }
}

const UNREADABLE: Damage = {
  ...{ fault: "unreadable", message: undefined, chunk: undefined, chunkCount: 1, storedFrom: undefined },
  ...{ storedTo: undefined, rawFrom: undefined, rawTo: undefined, files: [], entriesLost: true },
  ...{ after: undefined, before: undefined },
};

function unreadable(archiveBytes: number): Verification {
  const damaged = [UNREADABLE];
  const none = { sha256: "", sha256Expected: undefined };
  return { ok: false, chunks: 0, entries: 0, archiveBytes, damaged, damagedCount: 1, ...none };
}

/** For the server: two threads of little urgency, whatever the machine has. */
export function backgroundVerifier(spawn: SpawnRestoreThread): VerifyArchive {
  return async (archive, sha256, { signal, onStart }) => {
    const watched: JobDeps["onStart"] = (progress) => onStart(() => progress().archiveBytes);
    const { verification } = await judgeArchive(archive, sha256, { spawn, signal, cores: 1, onStart: watched });
    return findingOf(verification);
  };
}
