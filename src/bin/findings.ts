/** What a verification comes to for those who keep it: a few words, and a line for each damage with the files that it hits. */
import { damageText } from "#cli/damage-text.ts";
import type { JobDeps } from "#restore/job-runner.ts";
import { type Judgement, judgeArchive } from "#restore/judge.ts";
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

/** For the server: two threads of little urgency, whatever the machine has. */
export function backgroundVerifier(spawn: SpawnRestoreThread): VerifyArchive {
  return async (wanted, { signal, onStart }) => {
    const watched: JobDeps["onStart"] = (progress) => onStart(() => progress().archiveBytes);
    const judgement = await judgeArchive(wanted, { spawn, signal, cores: 1, onStart: watched });
    return { finding: findingOf(judgement.verification), indexFault: indexFaultOf(judgement) };
  };
}

/** What is wrong with an index that lies there, in words. */
function indexFaultOf({ verification: { index }, indexFault }: Judgement): string | undefined {
  return index.state === "damaged" ? index.message : indexFault?.message;
}
