/**
 * Applies the rotation plan (rotation.ts) to an entry: removes the archives that it names. Only files whose names are an archive's or its
 * companions' and marks' are ever touched, whatever else lies in the directory. It needs no free space.
 */
import type { Logger } from "#base/log.ts";
import { type Entry, type ListedArchive, listArchives, type StoredArchive } from "./archive-list.ts";
import { companions } from "./archive-names.ts";
import { markName } from "./damage-mark.ts";
import { planRotation, type RotationRule, type Standing } from "./rotation.ts";
import type { StorageRoot } from "./storage-root.ts";

export interface EntryRotation {
  /** Gone, oldest first; of a dry run: would go. */
  readonly removed: readonly StoredArchive[];
  /** Should have gone, but the disk refused. */
  readonly stuck: readonly StoredArchive[];
  /** Archives that stay. */
  readonly keptCount: number;
}

export interface RotateOptions {
  readonly rule: RotationRule;
  readonly nowWallMs: number;
  readonly dryRun: boolean;
  readonly log: Logger;
  readonly standing: (archive: ListedArchive) => Promise<Standing>;
}

/** Applies the rotation to one entry. Rejects with what the disk throws when its archives cannot be listed. */
export async function rotateEntry(root: StorageRoot, entry: Entry, options: RotateOptions): Promise<EntryRotation> {
  const { rule, nowWallMs, dryRun, log, standing } = options;
  const archives = await listArchives(root, entry);
  const candidates = await Promise.all(
    archives.map(async (archive) => ({ ...archive, standing: await standing(archive), pinned: false })),
  );
  const plan = planRotation(candidates, rule, nowWallMs).map(({ archive, bytes, timeMs }): StoredArchive => ({
    archive,
    bytes,
    timeMs,
  }));
  const directory = `${entry.agent}/${entry.backup}`;
  const names = plan.map((archive) => archive.archive.slice(directory.length + 1));
  const gone = new Set(
    dryRun ? plan.map((archive) => archive.archive) : await removeArchives(root, directory, names, log),
  );
  return {
    removed: plan.filter((archive) => gone.has(archive.archive)),
    stuck: plan.filter((archive) => !gone.has(archive.archive)),
    keptCount: archives.length - plan.length,
  };
}

/**
 * Removes these archives of one entry and resolves with those that are gone, in that order. What the disk refuses is
 * logged and stays for the next rotation: a backup that was just committed does not fail because an old one stays.
 */
async function removeArchives(
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
      // Without its mark it would count as good, and is the first to go all the same: enough good ones are newer.
      await root.unlink(`${directory}/${markName(fileName)}`);
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
