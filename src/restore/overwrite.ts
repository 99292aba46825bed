/** What happens to something that is there already where an entry is to be restored. Pure. */
import type { Overwrite } from "#base/overwrite.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import type { Stat } from "#archive/source.ts";

/** What of an entry is compared with what is there. */
export interface Wanted {
  readonly mode: number;
  /** Undefined when the owner is not restored. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** True when `there` stays. Directories are never replaced; whether they get the archive's metadata is `keepsDirectory`. */
export function keeps(overwrite: Overwrite, entry: ReadEntry, wanted: Wanted, there: Stat): boolean {
  switch (overwrite) {
    case "always":
      return false;
    case "never":
      return true;
    case "if-newer":
      return !isNewer(entry, there);
    case "if-changed":
      return looksSame(entry, wanted, there);
  }
}

/** True when a directory that was there keeps its owner, mode and time. */
export function keepsDirectory(overwrite: Overwrite, entry: ReadEntry, there: Stat): boolean {
  return overwrite === "never" || (overwrite === "if-newer" && !isNewer(entry, there));
}

/** True when a hard link to `there` gives what its entry says, which has no type and no size. */
export function looksLinked(link: ReadEntry, wanted: Wanted, there: Stat): boolean {
  if (there.type === "directory") return false;
  const { type } = there;
  return looksSame({ ...link, type: type === "socket" ? "unsupported" : type, size: there.size }, wanted, there);
}

function isNewer(entry: ReadEntry, there: Stat): boolean {
  if (entry.mtimeSeconds !== there.mtimeSeconds) return entry.mtimeSeconds > there.mtimeSeconds;
  return entry.mtimeNanos > there.mtimeNanos;
}

function looksSame(entry: ReadEntry, wanted: Wanted, there: Stat): boolean {
  if (entry.type !== there.type || entry.mtimeSeconds !== there.mtimeSeconds) return false;
  if (entry.mtimeNanos !== there.mtimeNanos) return false;
  if (entry.type === "file" && entry.size !== there.size) return false;
  if (entry.type !== "symlink" && wanted.mode !== there.mode) return false;
  const sameUser = wanted.uid === undefined || wanted.uid === there.uid;
  return sameUser && (wanted.gid === undefined || wanted.gid === there.gid);
}
