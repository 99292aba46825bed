/**
 * From what the scan saw to what the tar writer needs: opens files, reads links, finds hard links. A file that is no longer
 * what was listed, or cannot be read, is reported and left out.
 */
import { errnoName } from "#base/errors.ts";
import { keepLight } from "#base/light-code.ts";
import type { Attribute, AttributeReader } from "./attributes.ts";
import type { LinkTable } from "./links.ts";
import { lookProblem, type Report, type ScanEntry } from "./scan.ts";
import { sparseMap } from "./sparse.ts";
import type { FileSource, OpenFile, Stat, Xattrs } from "./source.ts";
import type { TarEntry, TarType } from "./tar-writer.ts";

/** A tar entry whose file, if it has data, is open. The views are valid until the scan goes on. */
export interface Prepared extends TarEntry {
  /** Absolute path, for reports. */
  readonly sourcePath: Uint8Array;
  readonly file: OpenFile | undefined;
}

/** What entries are prepared with. */
export interface EntryContext {
  readonly source: FileSource;
  readonly links: LinkTable;
  readonly attributes: AttributeReader;
  readonly report: Report;
}

/** The entry to write; undefined when it is left out, which has been reported. */
export function prepareEntry(found: ScanEntry, context: EntryContext): Prepared | undefined {
  const { source, links, report } = context;
  const { stat, path: sourcePath, archivePath: path } = found;
  if (stat.type === "socket") {
    report(sourcePath, "socket");
    return undefined;
  }
  const plain = (type: TarType, attributes: readonly Attribute[], linkTarget?: Uint8Array): Prepared => {
    return { path, sourcePath, type, stat, size: 0, linkTarget, attributes, sparse: undefined, file: undefined };
  };
  // A hard link has what the first name has.
  if (stat.type !== "directory" && stat.nlink > 1) {
    const linkTarget = links.take(stat);
    if (linkTarget !== undefined) return plain("hardlink", [], linkTarget);
  }
  try {
    const linkTarget = stat.type === "symlink" ? source.readlink(sourcePath) : undefined;
    if (stat.type === "file" && stat.size > 0) return openFile(found, context);
    // An empty file has nothing to read: what lstat said and the attributes are all there is to it.
    return plain(stat.type, attributesOf(source.xattrs(sourcePath, stat), sourcePath, context), linkTarget);
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
function openFile(found: ScanEntry, context: EntryContext): Prepared | undefined {
  const { source, report } = context;
  const { path: sourcePath } = found;
  let listed = found.stat;
  for (let tries = 1; ; tries += 1) {
    const file = source.open(sourcePath);
    const { stat } = file;
    const problem = changed(listed, stat);
    if (problem === undefined) return fileEntry(found, file, context);
    file.close();
    if (problem === "type-changed" || tries === OPEN_TRIES) {
      report(sourcePath, problem);
      return undefined;
    }
    listed = source.lstat(sourcePath);
  }
}

/** Closes the file when it turns out to be empty, or its metadata cannot be read. */
function fileEntry(found: ScanEntry, file: OpenFile, context: EntryContext): Prepared {
  const { path: sourcePath, archivePath: path } = found;
  const { stat } = file;
  try {
    const attributes = attributesOf(file.xattrs, sourcePath, context);
    const sparse = stat.size > 0 ? sparseMap(file) : undefined;
    const size = sparse?.dataBytes ?? stat.size;
    if (size > 0)
      return { path, sourcePath, type: "file", stat, size, linkTarget: undefined, attributes, sparse, file };
    file.close();
    return { path, sourcePath, type: "file", stat, size, linkTarget: undefined, attributes, sparse, file: undefined };
  } catch (error) {
    file.close();
    throw error;
  }
}

function attributesOf(
  xattrs: Xattrs,
  sourcePath: Uint8Array,
  { attributes, report }: EntryContext,
): readonly Attribute[] {
  return attributes.read(xattrs, (reason, errno) => report(sourcePath, reason, errno));
}

/** Another inode than the one listed: the file listed is gone, and its place is taken by another one. */
function changed(listed: Stat, opened: Stat): "type-changed" | "vanished" | undefined {
  if (opened.type !== "file") return "type-changed";
  return opened.ino === listed.ino && opened.dev === listed.dev ? undefined : "vanished";
}

keepLight(prepareEntry, openFile, fileEntry, attributesOf, changed);
