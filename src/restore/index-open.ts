/**
 * Opens the index beside an archive, if there is one that can be believed to be its own. An index that is missing, damaged or another
 * archive's stops nobody: the archive is read without it, and the warning says why.
 */
import { crc32 } from "node:zlib";
import { indexDamaged } from "#archive/index-bytes.ts";
import type { TableChunk } from "#archive/index-format.ts";
import { IndexReader } from "#archive/index-reader.ts";
import type { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import { indexSource } from "./index-source.ts";
import { mustBeIndexDamage } from "./index-trust.ts";
import { PIECE_STORED_BYTES_MAX } from "./piece.ts";

export interface IndexedArchive {
  readonly archive: ArchiveAccess;
  /** Undefined: the archive is read by its own structure. */
  readonly index: IndexReader | undefined;
  /** Failure E_INDEX_DAMAGED: why there is no index although there is a file. */
  readonly warning: Failure | undefined;
}

/** What is known of the archive from elsewhere. */
export interface IndexExpectation {
  /** UUID of the session that made it, from its commit record. */
  readonly session?: string | undefined;
}

/** `file`: the index, which stays open as long as what is returned is used. Closes nothing. */
export async function openIndexed(
  archive: ArchiveAccess,
  file: ArchiveAccess | undefined,
  expected: IndexExpectation = {},
): Promise<IndexedArchive> {
  if (file === undefined) return { archive, index: undefined, warning: undefined };
  try {
    const index = await IndexReader.open(indexSource(file));
    await checkOwn(archive, index, expected);
    return { archive, index, warning: undefined };
  } catch (error) {
    return { archive, index: undefined, warning: mustBeIndexDamage(error) };
  }
}

/** Throws Failure E_INDEX_DAMAGED when the index is of another archive. */
async function checkOwn(archive: ArchiveAccess, index: IndexReader, expected: IndexExpectation): Promise<void> {
  const { session } = index.header;
  const { storedBytes } = index.totals;
  if (expected.session !== undefined && session !== undefined && session !== expected.session) {
    throw indexDamaged(`the index is of session ${session}, the archive of session ${expected.session}`);
  }
  if (storedBytes === archive.size) return;
  // An archive that ends too early still has its own index, which then says what is missing.
  if (storedBytes > archive.size && (await isTruncated(archive, index))) return;
  throw indexDamaged(
    `the index is of an archive of ${storedBytes} bytes, this one has ${archive.size}: it is another archive's`,
  );
}

/** True when the archive's first chunk, and the last that it has all of, are those of the table. */
async function isTruncated(archive: ArchiveAccess, index: IndexReader): Promise<boolean> {
  const first = await chunkAt(index, 0);
  if (first === undefined || !(await isThere(archive, first))) return false;
  const cut = await chunkAt(index, archive.size);
  if (cut === undefined || cut.number === 0) return false;
  const before = await chunkAt(index, cut.storedOffset - 1);
  return before !== undefined && (await isThere(archive, before));
}

async function chunkAt(index: IndexReader, storedOffset: number): Promise<TableChunk | undefined> {
  for await (const [chunk] of index.chunks({ storedOffset })) return chunk;
  return undefined;
}

async function isThere(archive: ArchiveAccess, { storedOffset, storedLength, crc }: TableChunk): Promise<boolean> {
  if (storedLength > PIECE_STORED_BYTES_MAX) return false;
  const stored = new Uint8Array(storedLength);
  return (await archive.read(stored, storedOffset)) === storedLength && crc32(stored) === crc;
}
