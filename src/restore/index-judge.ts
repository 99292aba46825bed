/**
 * Says who is wrong when a chunk is not as the table of an index says: the archive, which is then damaged there, or the index. What an
 * archive shows by itself decides: members that are whole but lie elsewhere, and gzip's own checksum. A zstd frame of older
 * archives has none, so about its content the index is believed.
 */
import { crc32 } from "node:zlib";
import type { TableChunk } from "#archive/index-format.ts";
import type { Batches, ChunkPlace } from "#archive/index-reader.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import { scanArchive } from "./archive-format.ts";
import { inflatePiece, isDigestOf } from "./inflate.ts";
import { type Piece, PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX, type PieceFault } from "./piece.ts";

/** As IndexReader has it. */
export interface ChunkTable {
  chunks(place: ChunkPlace): Batches<TableChunk>;
}

/** Beginnings of members that are tried around one chunk. */
const BEGINNINGS_MAX = 16;

export class IndexJudge {
  readonly #access: ArchiveAccess;
  readonly #table: ChunkTable;
  readonly #strict: boolean;
  #raw = new Uint8Array(0);
  #stored: Uint8Array | undefined;

  /** `strict`: other bytes than the table says are damage, also where what they decompress to is whole. */
  constructor(access: ArchiveAccess, table: ChunkTable, strict: boolean) {
    this.#access = access;
    this.#table = table;
    this.#strict = strict;
  }

  /** What of the piece, which is one of the table, the archive contradicts; undefined when it is the archive that is damaged. */
  async contradiction(piece: Piece, fault: PieceFault, stored: Uint8Array): Promise<string | undefined> {
    if (fault === "unreadable" || fault === "missing") return undefined;
    const where = `chunk ${piece.index} of the index, bytes ${piece.offset} to ${piece.offset + piece.length - 1},`;
    if (piece.lost) return fault === "length" ? `${where} is not lost` : undefined;
    const bytes = stored as Uint8Array<ArrayBuffer>;
    const crcHolds = piece.crc === undefined || crc32(bytes) === piece.crc;
    const digestHolds = piece.digest === undefined || isDigestOf(bytes, piece.digest);
    if (crcHolds && digestHolds) return `${where} has other content than it says`;
    if (crcHolds !== digestHolds) return `${where} has a checksum that is not its own`;
    const { mode } = piece;
    const believesGzip = mode === "gzip" && !this.#strict;
    if (this.#inflates(bytes, { mode, rawLength: believesGzip ? undefined : piece.rawLength })) {
      return believesGzip ? `${where} has other checksums than the archive, which is whole there` : undefined;
    }
    return (await this.#holdsOther(piece))
      ? `${where} is none: a whole chunk of the archive lies elsewhere`
      : undefined;
  }

  #inflates(stored: Uint8Array, { mode, rawLength }: Pick<Piece, "mode" | "rawLength">): boolean {
    const needed = rawLength ?? PIECE_RAW_BYTES_MAX;
    if (this.#raw.length < needed) this.#raw = new Uint8Array(Math.min(needed, PIECE_RAW_BYTES_MAX));
    const spec = { mode, rawLength, crc: undefined, digest: undefined };
    return typeof inflatePiece(stored, spec, this.#raw) === "number";
  }

  /** True when the archive has a whole member or frame there that begins or ends elsewhere. */
  async #holdsOther({ index, mode, offset, length }: Piece): Promise<boolean> {
    // From the chunk before: this one may begin too late.
    const scan = scanArchive(this.#access, mode, Math.min(offset, await this.#offsetOf(index - 1)));
    this.#stored ??= new Uint8Array(PIECE_STORED_BYTES_MAX);
    for (let tried = 0; tried < BEGINNINGS_MAX; tried += 1) {
      const found = await scan.next();
      if (found === undefined || "streamFrom" in found || found.offset >= offset + length) return false;
      const isSame = found.offset === offset && found.length === length;
      if (isSame || found.offset + found.length <= offset || found.length > this.#stored.length) continue;
      const stored = this.#stored.subarray(0, found.length);
      const got = await this.#access.read(stored, found.offset);
      if (got === found.length && this.#inflates(stored, { mode, rawLength: undefined })) return true;
    }
    return false;
  }

  async #offsetOf(number: number): Promise<number> {
    if (number < 0) return 0;
    for await (const [chunk] of this.#table.chunks({ number })) if (chunk !== undefined) return chunk.storedOffset;
    return 0;
  }
}
