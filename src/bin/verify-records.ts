/**
 * Keeps what a command found when it read an archive: through the server that runs, which alone may write while it has the storage,
 * else by this process. The one way for scrub and for verify.
 */
import { toFailure } from "#base/errors.ts";
import { createLogger } from "#observe/log.ts";
import type { RecordedView } from "#observe/views.ts";
import type { ArchiveIdentity, Finding, VerifiedBy } from "#store/damage-mark.ts";
import type { Disk } from "#store/disk.ts";
import { recordAlone } from "#store/record-alone.ts";
import { askServer } from "./control.ts";
import { systemClock } from "./system.ts";

export interface RecordingPlace {
  readonly storage: string;
  readonly baseDir: string;
  /** Where a running server would answer; undefined when nobody said which server that may be. */
  readonly stateDir: string | undefined;
}

/** False when the file that was read is there no more. Rejects with Failure E_LOCKED, E_STORAGE_FAILED and what the server answers. */
export async function recordVerification(
  { storage, baseDir, stateDir }: RecordingPlace,
  archive: string,
  read: ArchiveIdentity,
  result: { readonly finding: Finding; readonly by: VerifiedBy },
  own: { readonly disk: Disk; readonly stderr: (text: string) => void },
): Promise<boolean> {
  const { bytes, mtimeMs } = read;
  const { finding, by } = result;
  if (stateDir !== undefined) {
    try {
      const request = {
        command: "verified",
        storage,
        baseDir,
        archive,
        bytes,
        mtimeMs,
        by,
        finding: sent(finding),
      } as const;
      return ((await askServer(stateDir, request)) as RecordedView).recorded;
    } catch (error) {
      if (toFailure(error).code !== "E_NOT_RUNNING") throw error;
    }
  }
  const log = createLogger({ level: "warn", format: "text", sink: { write: own.stderr }, clock: systemClock });
  // What is damaged was told already.
  const quiet = { ...log, error: (): void => undefined };
  return await recordAlone(
    { name: storage, baseDir, disk: own.disk, clock: systemClock, log: quiet },
    archive,
    read,
    result,
  );
}

function sent(finding: Finding): { ok: true } | { ok: false; what: string; details: string[] } {
  return finding.ok ? { ok: true } : { ok: false, what: finding.what, details: [...finding.details] };
}
