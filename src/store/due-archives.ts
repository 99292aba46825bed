/** The archives of a storage that are to be read again: what its directories, records and marks say, put to the plan. It only looks. */
import { type ListedArchive, listArchives, listEntries } from "./archive-list.ts";
import { readPending } from "./commit-log.ts";
import { planScrub } from "./scrub-plan.ts";
import type { StorageRoot } from "./storage-root.ts";
import { readVerifiedTimes, verifiedAtMs, type VerifiedTimes } from "./verify-log.ts";

export interface DueArchives {
  /** Not read for so long, the longest unread first; without those that are verified after their commit anyway. */
  readonly due: readonly ListedArchive[];
  readonly all: readonly ListedArchive[];
}

/** Rejects with what the disk throws. */
export async function dueArchives(
  root: StorageRoot,
  known: { readonly times: VerifiedTimes; readonly isPending: (archive: string) => boolean },
  unreadMs: number,
  nowMs: number,
): Promise<DueArchives> {
  const all: ListedArchive[] = [];
  for (const entry of await listEntries(root, {})) all.push(...(await listArchives(root, entry)));
  const candidates = all
    .filter(({ archive }) => !known.isPending(archive))
    .map((listed) => ({ ...listed, verifiedAtMs: verifiedAtMs(known.times, listed.archive, listed) }));
  return { due: planScrub(candidates, unreadMs, nowMs), all };
}

/** The same for who has not opened the storage: a server may run, or none. */
export async function lookForDue(root: StorageRoot, unreadMs: number, nowMs: number): Promise<DueArchives> {
  const [times, pending] = [await readVerifiedTimes(root.disk, root.baseDir), await readPending(root)];
  return await dueArchives(root, { times, isPending: (archive) => pending.has(archive) }, unreadMs, nowMs);
}
