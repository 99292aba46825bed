/**
 * Reads a file that may change under our hands: exactly the bytes that its header announced, whatever happens. What is
 * missing becomes zeros, what is too much is left, and either is reported by the caller. Knows no headers and no chunks.
 */
import { errnoName } from "#base/errors.ts";
import type { Extent } from "./sparse.ts";
import type { OpenFile } from "./source.ts";

export type DataResult =
  | { readonly outcome: "whole" | "shrank" | "grew" }
  /** `gotBytes` came before the error; the rest is zeros. */
  | { readonly outcome: "read-error"; readonly gotBytes: number; readonly errno: string };

const WHOLE: DataResult = { outcome: "whole" };
const SHRANK: DataResult = { outcome: "shrank" };
const GREW: DataResult = { outcome: "grew" };

/**
 * Fills `into[at..at+length)` with the file's bytes from `offset`. `last` says that the file should end there: one byte more
 * is asked for to see whether it does, and `into` needs room for it.
 */
export function readData(
  file: OpenFile,
  into: Uint8Array,
  at: number,
  length: number,
  offset: number,
  last: boolean,
): DataResult {
  const end = at + length;
  const askedEnd = last ? end + 1 : end;
  let next = at;
  while (next < end) {
    let got: number;
    try {
      got = file.read(into.subarray(next, askedEnd), offset + next - at);
    } catch (error) {
      const errno = errnoName(error);
      if (errno === undefined) throw error;
      into.fill(0, next, end);
      return { outcome: "read-error", gotBytes: next - at, errno };
    }
    if (got === 0) {
      into.fill(0, next, end);
      return SHRANK;
    }
    next += got;
  }
  return next > end ? GREW : WHOLE;
}

/**
 * Fills `into` from `at` on with the stretches of a sparse file, one behind the other. `realSize` is given with the last ones: what
 * becomes of a file that ends in a hole shows only there.
 */
export function readPieces(
  file: OpenFile,
  into: Uint8Array,
  at: number,
  pieces: readonly Extent[],
  realSize: number | undefined,
): DataResult {
  let next = at;
  const end = at + pieces.reduce((sum, piece) => sum + piece.end - piece.start, 0);
  for (const piece of pieces) {
    const length = piece.end - piece.start;
    const result = readData(file, into, next, length, piece.start, false);
    if (result.outcome !== "whole") {
      into.fill(0, next + length, end);
      return result.outcome === "read-error" ? { ...result, gotBytes: result.gotBytes + next - at } : result;
    }
    next += length;
  }
  return realSize === undefined ? WHOLE : checkEnd(file, realSize);
}

/** Whether the file still ends where it did: its last byte is there, and none behind it. */
function checkEnd(file: OpenFile, realSize: number): DataResult {
  const two = new Uint8Array(2);
  const result = readData(file, two, 0, 1, realSize - 1, true);
  return result.outcome === "read-error" ? WHOLE : result;
}
