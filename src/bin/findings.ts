/** What a verification comes to for those who keep it: a few words, and a line for each damage with the files that it hits. */
import { damageText } from "#cli/damage-text.ts";
import { errnoName } from "#base/errors.ts";
import { verifyArchive } from "#restore/job-runner.ts";
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

/** What is wrong when an archive's disk gives no answer but an error. Rejects with what says nothing of the archive. */
export function unreadable(error: unknown): Finding {
  if (errnoName(error) !== "EIO") throw error;
  return { ok: false, what: "the disk cannot read it (EIO)", details: [] };
}

/** For the server: two threads of little urgency, whatever the machine has. */
export function backgroundVerifier(spawn: SpawnRestoreThread): VerifyArchive {
  return async (archive, sha256, { signal, onStart }) => {
    const deps = { spawn, signal, cores: 1 };
    try {
      const { verification } = await verifyArchive(archive, sha256, {
        ...deps,
        onStart: (progress) => onStart(() => progress().archiveBytes),
      });
      return findingOf(verification);
    } catch (error) {
      return unreadable(error);
    }
  };
}
