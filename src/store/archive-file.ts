/** An archive of a storage, open for reading from its beginning to its end: which file that is, and what lies beside it. */
import { errnoName } from "#base/errors.ts";
import { companions } from "./archive-names.ts";
import { type ArchiveIdentity, identityOf } from "./damage-mark.ts";
import { type DiskFile, orMissing } from "./disk.ts";
import type { StorageRoot } from "./storage-root.ts";

export interface OpenedFile {
  readonly file: DiskFile;
  readonly identity: ArchiveIdentity;
  /** 64 hex digits beside it; undefined when there are none that can be read: the archive has other checksums. */
  readonly sha256: string | undefined;
  /** Undefined when there is none, or it cannot be opened: the archive is read without it. */
  readonly index: { readonly file: DiskFile; readonly bytes: number } | undefined;
}

/** A line of `sha256sum`. */
const SUM = /^\\?([0-9a-f]{64})[ \t]/;
const SUM_BYTES_MAX = 4_096;

/** Undefined when it is gone. Rejects with what the disk throws. */
export async function openForReading(root: StorageRoot, archive: string): Promise<OpenedFile | undefined> {
  const stat = await root.stat(archive);
  if (stat?.type !== "file") return undefined;
  const file = await orMissing(root.openFile(archive, "read"));
  if (file === undefined) return undefined;
  try {
    // One that took its place since is another file when the result is kept.
    const sha256 = await storedSum(root, archive);
    return { file, identity: identityOf(stat), sha256, index: await openIndex(root, archive) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Both files. */
export async function closeOpened({ file, index }: OpenedFile): Promise<void> {
  try {
    await index?.file.close();
  } finally {
    await file.close();
  }
}

async function openIndex(root: StorageRoot, archive: string): Promise<OpenedFile["index"]> {
  let file: DiskFile;
  try {
    file = await root.openFile(companions(archive).index, "read");
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
  try {
    return { file, bytes: await file.size() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function storedSum(root: StorageRoot, archive: string): Promise<string | undefined> {
  let file: DiskFile | undefined;
  try {
    file = await root.openFile(`${archive}.sha256`, "read");
    const bytes = Buffer.alloc(SUM_BYTES_MAX);
    return SUM.exec(bytes.subarray(0, await file.read(bytes, 0)).toString("latin1"))?.[1];
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  } finally {
    await file?.close();
  }
}
