/**
 * What the roots of a backup entry are: present, empty, and on which filesystem. Compared with what they were at the last
 * backup, that tells a disk that is not mounted from a directory in which people tidied up.
 */
import { errnoName } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import type { FileSource, Stat } from "./source.ts";
import type { SourceRoot } from "./source-roots.ts";

export interface Mount {
  readonly point: string;
  /** `ext4`, `nfs4` … */
  readonly type: string;
  /** `/dev/sdb1`, `server:/export` … */
  readonly source: string;
}

export interface SourceFacts {
  /** As the configuration has it, printable. */
  readonly path: string;
  readonly kind: "directory" | "other" | "missing";
  /** A directory without names, a file without bytes. */
  readonly empty: boolean;
  /** The number that stat gives; numbers may be dealt anew when a machine starts. */
  readonly device: string;
  /** What statfs calls the filesystem; empty when it does not say. */
  readonly filesystem: string;
  /** Null when nobody knows. */
  readonly mount: Mount | null;
}

/** Where a root lies; the real one is linux-filesystem.ts. */
export type FilesystemOf = (path: Uint8Array) => Pick<SourceFacts, "filesystem" | "mount">;

/** Of all roots, in their order. Throws what the source throws for one that is there and cannot be looked at. */
export function sourceFacts(
  source: FileSource,
  roots: readonly SourceRoot[],
  filesystemOf: FilesystemOf,
): SourceFacts[] {
  try {
    return roots.map(({ path }) => factsOf(source, path, filesystemOf));
  } finally {
    source.close();
  }
}

function factsOf(source: FileSource, path: Uint8Array, filesystemOf: FilesystemOf): SourceFacts {
  const name = pathText(path);
  const first = statOf(source, path);
  // Listed before it is asked where it lies: that mounts what is mounted on demand.
  const empty = first?.type === "directory" ? !hasNames(source, path) : first?.size === 0;
  const stat = statOf(source, path);
  if (stat === undefined) {
    return { path: name, kind: "missing", empty: true, device: "", filesystem: "", mount: null };
  }
  const kind = stat.type === "directory" ? "directory" : "other";
  return { path: name, kind, empty, device: stat.dev, ...filesystemOf(path) };
}

/**
 * Why a person should look, as sentences without a final stop, of every root that was there before; none when all is as it
 * was. A root that is new in the configuration says nothing.
 */
export function changedSources(before: readonly SourceFacts[], now: readonly SourceFacts[]): string[] {
  const earlier = new Map(before.map((facts) => [facts.path, facts]));
  return now.flatMap((facts) => {
    const was = earlier.get(facts.path);
    if (was === undefined || was.kind === "missing") return [];
    const change = changeOf(was, facts);
    return change === undefined ? [] : [`source ${facts.path} ${change}`];
  });
}

function changeOf(was: SourceFacts, now: SourceFacts): string | undefined {
  if (now.kind === "missing") return "is gone";
  if (!sameFilesystem(was, now)) return `lies on another device: ${mountText(now)}, before ${mountText(was)}`;
  return now.empty && !was.empty ? "became empty" : undefined;
}

/**
 * One agreement is enough: device numbers change with the order in which disks are found, network and stacked filesystems get
 * a new one at every mount, and some say no name. What replaces an unmounted disk agrees in none of them.
 */
function sameFilesystem(was: SourceFacts, now: SourceFacts): boolean {
  if (was.device === now.device) return true;
  if (was.filesystem !== "" && was.filesystem === now.filesystem) return true;
  if (was.mount === null || now.mount === null) return false;
  return (
    was.mount.point === now.mount.point && was.mount.type === now.mount.type && was.mount.source === now.mount.source
  );
}

function mountText({ mount, device }: SourceFacts): string {
  return mount === null ? `device ${device}` : `${mount.source} (${mount.type}) mounted at ${mount.point}`;
}

function statOf(source: FileSource, path: Uint8Array): Stat | undefined {
  try {
    return source.lstat(path);
  } catch (error) {
    if (errnoName(error) === "ENOENT" || errnoName(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Thrown to end a listing after the first name. */
const ENOUGH: unique symbol = Symbol("enough");

function hasNames(source: FileSource, path: Uint8Array): boolean {
  try {
    source.names(path, () => {
      throw ENOUGH;
    });
    return false;
  } catch (error) {
    if (error === ENOUGH) return true;
    throw error;
  }
}

/** The mounts of /proc/self/mountinfo, in its order. A line that is none is passed over. */
export function parseMounts(mountinfo: string): Mount[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [front = "", back = ""] = line.split(" - ");
    const point = front.split(" ")[4];
    const [type, source] = back.split(" ");
    if (point === undefined || type === undefined || source === undefined) return [];
    return [{ point: unescaped(point), type, source: unescaped(source) }];
  });
}

/** The mount that a path lies on; of several at one place the last one hides the others. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | null {
  let found: Mount | null = null;
  for (const mount of mounts) {
    const covers = mount.point === "/" || path === mount.point || path.startsWith(`${mount.point}/`);
    if (covers && mount.point.length >= (found?.point.length ?? 0)) found = mount;
  }
  return found;
}

/** The kernel writes space, tab, line end and backslash as three octal digits. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
