/**
 * From what the scan saw to what the tar writer needs: opens files, reads links, finds hard links. A file that is no longer
 * what was listed, or cannot be read, is reported and left out.
 */
import { errnoName } from "#base/errors.ts";
import type { LinkTable } from "./links.ts";
import { lookProblem, type Report, type ScanEntry } from "./scan.ts";
import type { FileSource, OpenFile, Stat } from "./source.ts";
import type { TarEntry, TarType } from "./tar-writer.ts";

/** A tar entry whose file, if it has data, is open. The views are valid until the scan goes on. */
export interface Prepared extends TarEntry {
  /** Absolute path, for reports. */
  readonly sourcePath: Uint8Array;
  readonly file: OpenFile | undefined;
}

/** The entry to write; undefined when it is left out, which has been reported. */
export function prepareEntry(
  found: ScanEntry,
  source: FileSource,
  links: LinkTable,
  report: Report,
): Prepared | undefined {
  const { stat, path: sourcePath, archivePath: path } = found;
  if (stat.type === "socket") {
    report(sourcePath, "socket");
    return undefined;
  }
  const plain = (type: TarType, linkTarget?: Uint8Array): Prepared => {
    return { path, sourcePath, type, stat, size: 0, linkTarget, file: undefined };
  };
  if (stat.type === "directory") return plain("directory");
  if (stat.nlink > 1) {
    const linkTarget = links.take(stat);
    if (linkTarget !== undefined) return plain("hardlink", linkTarget);
  }
  try {
    if (stat.type === "symlink") return plain("symlink", source.readlink(sourcePath));
    // An empty file has nothing to read: what lstat said is all there is to it.
    if (stat.type !== "file" || stat.size === 0) return plain(stat.type);
    return openFile(found, source, report);
  } catch (error) {
    // What readlink gives for anything but a symbolic link.
    if (stat.type === "symlink" && errnoName(error) === "EINVAL") report(sourcePath, "type-changed", "EINVAL");
    else report(sourcePath, ...lookProblem(error));
    return undefined;
  }
}

/** Programs that save by renaming a new file over the old one are given this many chances to leave it alone. */
const OPEN_TRIES = 3;

/** What is stored of a file is what fstat says once it is open: its size then is the size the header announces. */
function openFile(found: ScanEntry, source: FileSource, report: Report): Prepared | undefined {
  const { path: sourcePath, archivePath: path } = found;
  let listed = found.stat;
  for (let tries = 1; ; tries += 1) {
    const file = source.open(sourcePath);
    const { stat } = file;
    const problem = changed(listed, stat);
    if (problem === undefined && stat.size > 0) {
      return { path, sourcePath, type: "file", stat, size: stat.size, linkTarget: undefined, file };
    }
    file.close();
    if (problem === undefined) {
      return { path, sourcePath, type: "file", stat, size: 0, linkTarget: undefined, file: undefined };
    }
    if (problem === "type-changed" || tries === OPEN_TRIES) {
      report(sourcePath, problem);
      return undefined;
    }
    listed = source.lstat(sourcePath);
  }
}

/** Another inode than the one listed: the file listed is gone, and its place is taken by another one. */
function changed(listed: Stat, opened: Stat): "type-changed" | "vanished" | undefined {
  if (opened.type !== "file") return "type-changed";
  return opened.ino === listed.ino && opened.dev === listed.dev ? undefined : "vanished";
}
