/**
 * Applies the rotation to many entries at once: `nbackup-server prune`. Through a storage that a server has open, or
 * alone when no server runs. Like rotation it only unlinks, so a disk without a free byte does not stop it.
 */
import { Failure } from "#base/errors.ts";
import { isName, NAME_RULE } from "#base/names.ts";
import type { Logger } from "#base/log.ts";
import { type Entry, type EntrySelection, listEntries } from "./archive-list.ts";
import { standingOf } from "./archive-health.ts";
import { readPending } from "./commit-log.ts";
import type { Disk } from "./disk.ts";
import { type EntryRotation, rotateEntry } from "./rotate.ts";
import type { RotationRule } from "./rotation.ts";
import { takeLock, unusable } from "./storage-access.ts";
import { StorageRoot } from "./storage-root.ts";

export interface PrunedEntry extends Entry, EntryRotation {}

/** Told of each entry when it is done: what stays known where a later one fails. */
export type EachPruned = (pruned: PrunedEntry) => void;

export interface PruneAloneOptions {
  readonly name: string;
  readonly baseDir: string;
  readonly rule: RotationRule;
  readonly dryRun: boolean;
  readonly disk: Disk;
  readonly log: Logger;
  readonly nowWallMs: number;
}

/** Every selected entry, one after another, by `rotate`. Rejects with Failure E_NAME or what the disk throws. */
export async function pruneEntries(
  root: StorageRoot,
  selection: EntrySelection,
  rotate: (entry: Entry) => Promise<EntryRotation>,
  each?: EachPruned,
): Promise<PrunedEntry[]> {
  checkSelection(selection);
  const pruned: PrunedEntry[] = [];
  for (const entry of await listEntries(root, selection)) {
    const one = { ...entry, ...(await rotate(entry)) };
    pruned.push(one);
    each?.(one);
  }
  return pruned;
}

/**
 * Prunes a storage that no server has open, and leaves unfinished sessions to the next start of one. Rejects with Failure
 * E_LOCKED when somebody has it, E_NAME, E_STORAGE_FAILED.
 */
export async function pruneAlone(
  options: PruneAloneOptions,
  selection: EntrySelection,
  each?: EachPruned,
): Promise<PrunedEntry[]> {
  const { name, baseDir, rule, dryRun, disk, log, nowWallMs } = options;
  const failed = unusable(`storage ${name}: ${baseDir} cannot be used`);
  // A server makes the directory at its first start; here a missing one is more likely a disk that is not mounted.
  const root = await StorageRoot.open(disk, baseDir, true).catch(failed);
  const lock = await takeLock(root, name).catch(failed);
  try {
    const pending = await readPending(root).catch(failed);
    const standing = standingOf(root, (archive) => pending.has(archive));
    const rotate = (entry: Entry): Promise<EntryRotation> =>
      rotateEntry(root, entry, { rule, nowWallMs, dryRun, log, standing });
    return await pruneEntries(root, selection, rotate, each).catch(failed);
  } finally {
    await lock.release();
  }
}

function checkSelection({ agent, backup }: EntrySelection): void {
  for (const [what, name] of [
    ["agent", agent],
    ["backup", backup],
  ] as const) {
    if (name !== undefined && !isName(name)) {
      throw new Failure("E_NAME", `${what} name ${JSON.stringify(name)} is not ${NAME_RULE}`);
    }
  }
}
