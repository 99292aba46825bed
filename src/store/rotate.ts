/**
 * Removes archives that the rotation plan names (rotation.ts). Only files whose names are an archive's or its
 * companions' are ever touched, whatever else lies in the directory. It needs no free space.
 */
import type { Logger } from "#base/log.ts";
import { companions } from "./archive-names.ts";
import type { StorageRoot } from "./storage-root.ts";

/**
 * Removes these archives of one entry and resolves with those that are gone, in that order. What the disk refuses is
 * logged and stays for the next rotation: a backup that was just committed does not fail because an old one stays.
 */
export async function removeArchives(
  root: StorageRoot,
  directory: string,
  fileNames: readonly string[],
  log: Logger,
): Promise<string[]> {
  const removed: string[] = [];
  for (const fileName of fileNames) {
    const archive = `${directory}/${fileName}`;
    const names = companions(fileName);
    try {
      // The archive goes last and its name is what rotation looks for: a crash before that leaves an archive without
      // index or checksum, which is still whole, still the oldest, and the first that the next rotation removes.
      await root.unlink(`${directory}/${names.checksum}`);
      await root.unlink(`${directory}/${names.index}`);
      await root.sync(directory);
      await root.unlink(archive);
      // A crash here may bring the archive back, without companions: as above.
      await root.sync(directory);
      removed.push(archive);
      log.info("archive removed by rotation", { archive });
    } catch (error) {
      log.error("an archive could not be removed by rotation", { archive, error: String(error) });
    }
  }
  return removed;
}
