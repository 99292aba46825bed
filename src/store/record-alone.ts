/**
 * Keeps the result of a verification in a storage that no server has open: the command that verified does it by itself, and takes the
 * lock only for that. What a commit waits for stays pending: the next start of a server reads it again.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { ArchiveHealth } from "./archive-health.ts";
import type { ArchiveIdentity, Finding, VerifiedBy } from "./damage-mark.ts";
import type { Disk } from "./disk.ts";
import { takeLock, unusable } from "./storage-access.ts";
import { StorageRoot } from "./storage-root.ts";

export interface RecordAloneOptions {
  readonly name: string;
  readonly baseDir: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
}

/** False when the file that was read is there no more. Rejects with Failure E_LOCKED when somebody has the storage, E_STORAGE_FAILED. */
export async function recordAlone(
  { name, baseDir, disk, clock, log }: RecordAloneOptions,
  archive: string,
  read: ArchiveIdentity,
  result: { readonly finding: Finding; readonly by: VerifiedBy },
): Promise<boolean> {
  const failed = unusable(`storage ${name}: what was found of ${archive} cannot be kept in ${baseDir}`);
  // Without the directory it may be one that never was a storage, or the archives of a server that is lost: it is made.
  const root = await StorageRoot.open(disk, baseDir, false).catch(failed);
  const lock = await takeLock(root, name).catch(failed);
  try {
    const health = await ArchiveHealth.open(root, clock, log).catch(failed);
    try {
      return await health.record(archive, read, result.finding, result.by).catch(failed);
    } finally {
      await health.close();
    }
  } finally {
    await lock.release();
  }
}
