/**
 * Where the archive is cut into chunks, as functions of numbers (ARCHITECTURE "Chunks are cut at entry boundaries"). Small
 * entries are gathered whole; a file larger than half a chunk has its headers in a chunk of their own and its data in
 * chunks cut at multiples of the chunk size of its own offset. So a change in one file moves no border in another.
 */
import { blocks } from "./tar-format.ts";

/** True for a file whose data gets chunks of its own. */
export function isLarge(fileBytes: number, chunkBytes: number): boolean {
  return fileBytes > chunkBytes / 2;
}

/**
 * Whether an entry of `entryBytes` (headers, data and padding) still goes into a chunk that holds `gatheredBytes`. The first
 * always does: headers alone may make it up to 1 MiB longer than a chunk should be.
 */
export function fitsChunk(gatheredBytes: number, entryBytes: number, chunkBytes: number): boolean {
  return gatheredBytes === 0 || gatheredBytes + entryBytes <= chunkBytes;
}

/** One chunk of a large file's data. */
export interface DataCut {
  /** Bytes of the file, from the offset asked for. */
  readonly dataBytes: number;
  /** Length of the chunk: with the padding, if it is the last. */
  readonly rawBytes: number;
  readonly last: boolean;
}

/** The chunk of a large file that begins at `offset`, a multiple of `chunkBytes` below `fileBytes`. */
export function cutData(offset: number, fileBytes: number, chunkBytes: number): DataCut {
  const dataBytes = Math.min(chunkBytes, fileBytes - offset);
  const last = offset + dataBytes === fileBytes;
  return { dataBytes, rawBytes: last ? blocks(dataBytes) : dataBytes, last };
}
