/** Pieces by the chunk table of an index: all of them, or those that hold what is wanted. Believes no row that cannot be. */
import type { CompressionMode } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { type Piece, PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX, type PieceSource } from "./piece.ts";

/** A row of the chunk table. */
export interface ChunkRow {
  readonly index: number;
  /** Of the stored bytes in the archive. */
  readonly offset: number;
  readonly length: number;
  readonly rawOffset: number;
  readonly rawLength: number;
  readonly crc: number;
  readonly digest: Uint8Array;
}

export class TablePieces implements PieceSource {
  readonly #rows: AsyncIterator<ChunkRow> | Iterator<ChunkRow>;
  readonly #mode: CompressionMode;
  #last: ChunkRow | undefined;

  /** `rows` in the order of the archive; where some are left out, the next one must begin with an entry's headers. */
  constructor(mode: CompressionMode, rows: AsyncIterable<ChunkRow> | Iterable<ChunkRow>) {
    this.#mode = mode;
    this.#rows = Symbol.asyncIterator in rows ? rows[Symbol.asyncIterator]() : rows[Symbol.iterator]();
  }

  async next(): Promise<Piece | undefined> {
    const { done, value } = await this.#rows.next();
    if (done === true) return undefined;
    const row = value;
    const last = this.#last;
    const begins = last === undefined ? row.index > 0 : row.index !== last.index + 1;
    checkRow(row, last, begins);
    this.#last = row;
    return { ...row, mode: this.#mode, begins };
  }
}

function checkRow(row: ChunkRow, last: ChunkRow | undefined, begins: boolean): void {
  const { offset, length, rawOffset, rawLength } = row;
  const numbers = [offset, length, rawOffset, rawLength];
  const isPossible =
    numbers.every((value) => Number.isSafeInteger(value) && value >= 0) &&
    length > 0 &&
    length <= PIECE_STORED_BYTES_MAX &&
    rawLength <= PIECE_RAW_BYTES_MAX;
  const endOf = last === undefined ? { offset: 0, rawOffset: 0 } : behind(last);
  const isNext = begins
    ? offset >= endOf.offset && rawOffset >= endOf.rawOffset
    : offset === endOf.offset && rawOffset === endOf.rawOffset;
  if (isPossible && isNext) return;
  throw new Failure("E_ARCHIVE_DAMAGED", `the chunk table of the index is damaged at chunk ${row.index}`, {
    hint: "Restore without the index, or make it again from the archive.",
  });
}

function behind({ offset, length, rawOffset, rawLength }: ChunkRow): { offset: number; rawOffset: number } {
  return { offset: offset + length, rawOffset: rawOffset + rawLength };
}
