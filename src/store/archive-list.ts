/** Which archives and entries a storage has, as its directories show them. It removes and judges nothing. */
import { isName } from "#base/names.ts";
import { archiveTimeMs } from "./archive-names.ts";
import { type ArchiveIdentity, identityOf, markName } from "./damage-mark.ts";
import type { StorageRoot } from "./storage-root.ts";

/** A committed archive, as its directory shows it. */
export interface StoredArchive {
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string;
  readonly bytes: number;
  /** The time in its name, wall milliseconds. */
  readonly timeMs: number;
}

export interface ListedArchive extends StoredArchive, ArchiveIdentity {
  /** A file that marks it as damaged lies beside it; whether that means this archive is to be seen. */
  readonly marked: boolean;
}

/** Backup entries, all of them unless told. `backup` only together with `agent`. */
export interface EntrySelection {
  readonly agent?: string | undefined;
  readonly backup?: string | undefined;
}

export interface Entry {
  readonly agent: string;
  readonly backup: string;
}

/** The archives of an entry, oldest first. Rejects with what the disk throws or E_STORAGE_FAILED. */
export async function listArchives(root: StorageRoot, { agent, backup }: Entry): Promise<ListedArchive[]> {
  const directory = `${agent}/${backup}`;
  if (!(await root.isDirectory(agent)) || !(await root.isDirectory(directory))) return [];
  const archives: ListedArchive[] = [];
  const names = await root.list(directory);
  const present = new Set(names);
  for (const name of names) {
    const timeMs = archiveTimeMs(name);
    if (timeMs === undefined) continue;
    const stat = await root.stat(`${directory}/${name}`);
    // Links and directories with such a name are not ours; a file may have been removed meanwhile.
    if (stat?.type !== "file") continue;
    const marked = present.has(markName(name));
    archives.push({ archive: `${directory}/${name}`, ...identityOf(stat), timeMs, marked });
  }
  return archives;
}

/** The entries that have a directory, whatever lies in it, in order of their names. */
export async function listEntries(root: StorageRoot, selection: EntrySelection): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const agent of await directoriesIn(root, "", selection.agent)) {
    for (const backup of await directoriesIn(root, agent, selection.backup)) entries.push({ agent, backup });
  }
  return entries;
}

/** Names that an agent or entry may have; what else lies there, or is a link, is not ours. */
async function directoriesIn(root: StorageRoot, parent: string, only: string | undefined): Promise<string[]> {
  const names: string[] = [];
  for (const name of only === undefined ? await root.list(parent) : [only]) {
    if (!isName(name)) continue;
    const stat = await root.stat(parent === "" ? name : `${parent}/${name}`);
    if (stat?.type === "directory") names.push(name);
  }
  return names;
}

/** Archives whose sizes say what is usual. */
const EARLIER_MAX = 5;

/** Bytes of the entry's archives before this one, at most five, the newest last. */
export async function earlierSizes(
  root: StorageRoot,
  { agent, backup, archive }: { readonly agent: string; readonly backup: string; readonly archive: string },
): Promise<number[]> {
  const earlier = (await listArchives(root, { agent, backup })).filter((one) => one.archive < archive);
  return earlier.slice(-EARLIER_MAX).map(({ bytes }) => bytes);
}
