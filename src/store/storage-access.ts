/** Whether a base directory can be used as a storage by this process, and by it alone; found out at the start. */
import { errnoName, Failure } from "#base/errors.ts";
import { type DiskLock, isDiskFull } from "./disk.ts";
import { CONTROL_DIRECTORY, PRIVATE_MODE, type StorageRoot } from "./storage-root.ts";

/** A handler that makes E_STORAGE_FAILED of what the disk throws, and lets failures pass. */
export function unusable(what: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof Failure) throw error;
    const errno = errnoName(error);
    const hint = HINTS[errno ?? ""];
    const options = hint === undefined ? { cause: error } : { cause: error, hint };
    throw new Failure("E_STORAGE_FAILED", `${what}: ${errno ?? String(error)}`, options);
  };
}

const HINTS: Readonly<Record<string, string>> = {
  EROFS:
    "Under systemd the server writes only where /etc/systemd/system/nbackup-server.service.d/50-setup.conf opens a directory: run nbackup-server setup again, which writes it, and restart the service. Else the disk is mounted read-only.",
  EACCES:
    "Let the user that the server runs as own the directory and pass through those above it; nbackup-server setup gives it one that is empty.",
};

/** Rejects with E_LOCKED when another process has it. */
export async function takeLock(root: StorageRoot, storage: string): Promise<DiskLock> {
  const file = `${CONTROL_DIRECTORY}/lock`;
  const lock = await root.disk.lock(root.path(file)).catch((cause: unknown) => {
    if (errnoName(cause) !== "EWOULDBLOCK") throw cause;
    throw new Failure("E_LOCKED", `storage ${storage}: ${root.baseDir} is in use by another nbackup-server`, { cause });
  });
  try {
    // Made by root it would keep out the server that runs as the owner.
    await root.own(file);
    return lock;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/**
 * Tries once what every commit needs, so that an unsuitable filesystem is found at the start and not at the end. Rejects
 * with E_STORAGE_FAILED or what the disk throws. A full disk is no reason: rotation makes room on it.
 */
export async function probe(root: StorageRoot): Promise<void> {
  try {
    await linkProbe(root);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

async function linkProbe(root: StorageRoot): Promise<void> {
  const [from, to] = [`${CONTROL_DIRECTORY}/probe`, `${CONTROL_DIRECTORY}/probe.link`];
  await root.unlink(from);
  await root.unlink(to);
  const file = await root.createFile(from, PRIVATE_MODE);
  await file.close();
  await root.link(from, to).catch((cause: unknown) => {
    if (isDiskFull(cause)) throw cause;
    throw new Failure("E_STORAGE_FAILED", `${root.baseDir} is on a filesystem without hard links`, {
      cause,
      hint: "Archives are committed by linking them: use a filesystem such as ext4, xfs, btrfs or zfs.",
    });
  });
  await root.unlink(to);
  await root.unlink(from);
  await root.sync(CONTROL_DIRECTORY);
}
