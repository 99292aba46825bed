/**
 * Pieces by the chunk table of an index: all of them, or the runs that hold what is wanted. Believes no row that cannot be. When the
 * archive contradicts the table it goes on by what the archive itself shows, from the last place that is certain: everything in front
 * of that has decompressed without a gap.
 */
import type { CompressionMode } from "#base/chunk.ts";
import type { TableChunk } from "#archive/index-format.ts";
import { must } from "#base/assert.ts";
import type { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import { scanArchive } from "./archive-format.ts";
import { type ChunkTable, IndexJudge } from "./index-judge.ts";
import { contradiction, type IndexTrust, mustBeIndexDamage } from "./index-trust.ts";
import {
  type Piece,
  PIECE_RAW_BYTES_MAX,
  PIECE_STORED_BYTES_MAX,
  type PieceFault,
  type PieceSource,
  type StreamRest,
} from "./piece.ts";

/** The chunks from one number to the other, both included. */
export interface ChunkRun {
  readonly first: number;
  readonly last: number;
  /** Raw offset of the entry that reading begins with; undefined: from the beginning of the archive. */
  readonly enterAt: number | undefined;
  /** Raw offset behind the last entry that is wanted. */
  readonly leaveAt: number | undefined;
}

export interface TableOptions {
  readonly table: ChunkTable;
  readonly mode: CompressionMode;
  readonly access: ArchiveAccess;
  readonly trust: IndexTrust;
  /** In the order of the archive, none overlapping another. */
  readonly runs: readonly ChunkRun[];
  /** They are all there is: the last one must end where the archive ends. */
  readonly whole: boolean;
  /** For who looks at the stored bytes themselves: see IndexJudge. */
  readonly strict: boolean;
  /** Stored bytes of all of them. */
  readonly bytesTotal: number;
  /** Where the first entry at or behind a raw offset begins. */
  readonly entryBehind?: (rawOffset: number) => Promise<number>;
}

/** Where a member or frame begins for certain. */
interface Place {
  readonly offset: number;
  readonly index: number;
}

export class TablePieces implements PieceSource {
  readonly #options: TableOptions;
  readonly #judge: IndexJudge;
  readonly #rows: AsyncGenerator<Row, void, undefined>;
  #last: TableChunk | undefined;
  /** Of pieces that reading begins with: where to go on instead. */
  readonly #before = new Map<number, Place>();
  /** The archive by its own structure, once the table is left. */
  #scan: PieceSource | undefined;
  #givenBytes = 0;
  #bytesTotal: number;

  constructor(options: TableOptions) {
    this.#options = options;
    this.#judge = new IndexJudge(options.access, options.table, options.strict);
    this.#rows = rowsOf(options.table, options.runs);
    this.#bytesTotal = options.bytesTotal;
  }

  get bytesTotal(): number {
    return this.#bytesTotal;
  }

  async next(): Promise<Piece | StreamRest | undefined> {
    if (this.#scan !== undefined) return await this.#scan.next();
    try {
      const piece = await this.#next();
      if (piece !== "left") return piece;
    } catch (error) {
      this.#distrust(mustBeIndexDamage(error), behind(this.#last));
    }
    return await must<PieceSource>(this.#scan, "another way").next();
  }

  async contradicted(piece: Piece, fault: PieceFault, stored: Uint8Array): Promise<boolean> {
    // It found these pieces itself.
    if (this.#scan !== undefined || piece.digest === undefined) return false;
    const what = await this.#judge.contradiction(piece, fault, stored);
    if (what === undefined) return false;
    this.#distrust(contradiction(what), this.#before.get(piece.index) ?? piece);
    return true;
  }

  async resumeAt(piece: Piece): Promise<number | undefined> {
    const { trust, entryBehind } = this.#options;
    if (this.#scan !== undefined || piece.rawOffset === undefined) return undefined;
    try {
      return await entryBehind?.(piece.rawOffset + (piece.rawLength ?? 0));
    } catch (error) {
      // The table is another part of the index, and goes on being believed until it errs itself.
      trust.distrust(mustBeIndexDamage(error));
      return undefined;
    }
  }

  async #next(): Promise<Piece | "left" | undefined> {
    for (;;) {
      const { done, value } = await this.#rows.next();
      if (done === true) return this.#atEnd();
      const { row, run, begins } = value;
      const enterAt = begins ? run.enterAt : undefined;
      if (row.kind === "stream") {
        // What is wanted lies somewhere in what can only be read from its beginning.
        this.#leave(behind(this.#last));
        return "left";
      }
      checkRow(row, this.#last, enterAt);
      if (enterAt !== undefined) this.#before.set(row.number, behind(this.#last));
      this.#last = row;
      this.#givenBytes += row.storedLength;
      // Frames that hold nothing, or what stands between them.
      if (row.kind === "unknown" && row.rawLength === 0) continue;
      return pieceOf(row, this.#options.mode, enterAt, row.number === run.last ? run.leaveAt : undefined);
    }
  }

  #atEnd(): "left" | undefined {
    const { whole, access } = this.#options;
    const end = behind(this.#last);
    if (!whole || end.offset >= access.size) return undefined;
    this.#distrust(contradiction(`it has chunks up to byte ${end.offset}, the archive up to ${access.size}`), end);
    return "left";
  }

  #distrust(fault: Failure, place: Place): void {
    this.#options.trust.distrust(fault);
    this.#leave(place);
  }

  #leave({ offset, index }: Place): void {
    const { access, mode } = this.#options;
    this.#scan = scanArchive(access, mode, offset, index);
    this.#bytesTotal = Math.min(offset, this.#givenBytes) + access.size - offset;
  }
}

interface Row {
  readonly row: TableChunk;
  readonly run: ChunkRun;
  /** The first of the run. */
  readonly begins: boolean;
}

async function* rowsOf(table: ChunkTable, runs: readonly ChunkRun[]): AsyncGenerator<Row, void, undefined> {
  for (const run of runs) yield* rowsOfRun(table, run);
}

async function* rowsOfRun(table: ChunkTable, run: ChunkRun): AsyncGenerator<Row, void, undefined> {
  for await (const batch of table.chunks({ number: run.first })) {
    for (const row of batch) {
      yield { row, run, begins: row.number === run.first };
      if (row.number === run.last) return;
    }
  }
}

function pieceOf(
  row: TableChunk,
  mode: CompressionMode,
  enterAt: number | undefined,
  leaveAt: number | undefined,
): Piece {
  const lost = row.kind === "lost";
  return {
    ...{ index: row.number, mode, offset: row.storedOffset, length: row.storedLength, rawOffset: row.rawOffset },
    // Of a lost one 0 means that nobody knows.
    rawLength: lost && row.rawLength === 0 ? undefined : row.rawLength,
    ...{ crc: row.crc, digest: row.digest, enterAt, leaveAt, lost },
  };
}

function behind(row: TableChunk | undefined): Place {
  if (row === undefined) return { offset: 0, index: 0 };
  return { offset: row.storedOffset + row.storedLength, index: row.number + 1 };
}

/** Throws Failure E_INDEX_DAMAGED. */
function checkRow(row: TableChunk, last: TableChunk | undefined, enterAt: number | undefined): void {
  const { storedOffset, storedLength, rawOffset, rawLength, kind } = row;
  const numbers = [storedOffset, storedLength, rawOffset, rawLength];
  const fits = storedLength <= PIECE_STORED_BYTES_MAX && rawLength <= PIECE_RAW_BYTES_MAX;
  const isPossible = numbers.every((value) => Number.isSafeInteger(value) && value >= 0) && storedLength > 0;
  const end = behind(last);
  const rawEnd = last === undefined ? 0 : last.rawOffset + last.rawLength;
  const isNext =
    enterAt === undefined
      ? storedOffset === end.offset && rawOffset === rawEnd
      : storedOffset >= end.offset && rawOffset >= rawEnd && enterAt >= rawOffset;
  if (isPossible && isNext && (fits || kind === "lost")) return;
  throw contradiction(`its chunk ${row.number} is none that can be`);
}
