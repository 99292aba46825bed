/** Tells by its first bytes what an archive is, and gives what reads it without an index. */
import type { CompressionMode } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { BLOCK_BYTES } from "#archive/tar-format.ts";
import { checksumFits } from "#archive/tar-reader-fields.ts";
import { AccessWindow, type ArchiveAccess } from "./archive-access.ts";
import { PIECE_STORED_BYTES_MAX, type PieceSource, type StreamRest } from "./piece.ts";
import { GzipScan, holdsGzipMember } from "./scan-gzip.ts";
import { ZstdScan } from "./scan-zstd.ts";

export type ArchiveFormat = CompressionMode | "plain";

/** Throws Failure E_ARCHIVE_FOREIGN for what is none of them, E_ARCHIVE_DAMAGED for an empty file. */
export async function archiveFormat(access: ArchiveAccess): Promise<ArchiveFormat> {
  if (access.size === 0)
    throw new Failure("E_ARCHIVE_DAMAGED", "the archive is empty: nothing can be restored from it");
  const window = new AccessWindow(access, BLOCK_BYTES);
  const bytes = await window.at(0, BLOCK_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "gzip";
  if (magic === 0xfd2fb528 || (magic >= 0x184d2a50 && magic <= 0x184d2a5f)) return "zst";
  if (bytes.length === BLOCK_BYTES && checksumFits(bytes, 0)) return "plain";
  const head = new Uint8Array(Math.min(access.size, PIECE_STORED_BYTES_MAX));
  await access.read(head, 0);
  if (holdsGzipMember(head)) return "gzip";
  throw new Failure("E_ARCHIVE_FOREIGN", "the archive is neither gzip nor zstd nor tar, or its beginning is damaged");
}

/** Reads the archive from its beginning, or from where a member or frame of it begins, which is then the piece of number `index`. */
export function scanArchive(access: ArchiveAccess, format: ArchiveFormat, offset = 0, index = 0): PieceSource {
  if (format === "gzip") return new GzipScan(access, offset, index);
  return format === "zst" ? new ZstdScan(access, offset, index) : new PlainSource();
}

class PlainSource implements PieceSource {
  async next(): Promise<StreamRest> {
    return { mode: "plain", streamFrom: 0 };
  }
}
