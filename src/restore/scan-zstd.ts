/**
 * Finds the frames of a zstd archive without an index: their block headers lead from one to the next. Frames that do not say how long their
 * content is, or are longer than ours ever are, come from other programs and are read as a stream.
 */
import { MiB } from "#base/units.ts";
import { AccessWindow, type ArchiveAccess } from "./archive-access.ts";
import { type Piece, PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX, type PieceSource, type StreamRest } from "./piece.ts";

const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const SKIPPABLE_MIN = 0x184d2a50;
const SKIPPABLE_MAX = 0x184d2a5f;
const HEADER_BYTES_MAX = 18;
const BLOCK_HEADER_BYTES = 3;
const BLOCK_BYTES_MAX = 128 * 1024;
const CHECKSUM_BYTES = 4;
const WINDOW_BYTES = MiB;
const STEP_BYTES = MiB / 4;

interface FrameHeader {
  readonly bytes: number;
  readonly contentBytes: number | undefined;
  readonly checksum: boolean;
}

export class ZstdScan implements PieceSource {
  readonly #window: AccessWindow;
  #offset: number;
  #index: number;

  /** `offset`: where to begin, with the piece of number `index`. */
  constructor(access: ArchiveAccess, offset = 0, index = 0) {
    this.#window = new AccessWindow(access, WINDOW_BYTES);
    this.#offset = offset;
    this.#index = index;
  }

  async next(): Promise<Piece | StreamRest | undefined> {
    await this.#skip();
    const offset = this.#offset;
    if (offset >= this.#window.size) return undefined;
    let header = parseHeader(await this.#window.at(offset, HEADER_BYTES_MAX));
    let end = header === undefined ? undefined : await this.#frameEnd(offset, header);
    if (header !== undefined && (header.contentBytes ?? Number.POSITIVE_INFINITY) > PIECE_RAW_BYTES_MAX) {
      // Behind frames of ours, one that its blocks do not lead through is ours too, with a damaged header.
      if (this.#index === 0 || end !== "broken") return { mode: "zst", streamFrom: offset };
      header = undefined;
    }
    if (typeof end !== "number") end = undefined;
    // What is no frame, or breaks off, goes up to the next one; decompressing it fails and says so.
    this.#offset = end ?? (await this.#findFrame(offset + 1));
    this.#index += 1;
    return {
      index: this.#index - 1,
      mode: "zst",
      offset,
      length: this.#offset - offset,
      rawOffset: undefined,
      rawLength: header?.contentBytes,
      crc: undefined,
      digest: undefined,
      ...{ enterAt: undefined, leaveAt: undefined, lost: false },
    };
  }

  /** Passes over frames that hold no data. */
  async #skip(): Promise<void> {
    for (;;) {
      const bytes = await this.#window.at(this.#offset, 8);
      if (bytes.length < 8) return;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const magic = view.getUint32(0, true);
      if (magic < SKIPPABLE_MIN || magic > SKIPPABLE_MAX) return;
      this.#offset += 8 + view.getUint32(4, true);
    }
  }

  /** Where the frame ends by its blocks; broken when they cannot be, or the archive ends before. */
  async #frameEnd(offset: number, { bytes: headerBytes, checksum }: FrameHeader): Promise<number | "broken" | "long"> {
    let at = offset + headerBytes;
    for (;;) {
      const bytes = await this.#window.at(at, BLOCK_HEADER_BYTES);
      if (bytes.length < BLOCK_HEADER_BYTES) return "broken";
      const { size, last } = parseBlock(bytes, 0);
      if (size === undefined) return "broken";
      at += BLOCK_HEADER_BYTES + size;
      if (at - offset > PIECE_STORED_BYTES_MAX) return "long";
      if (!last) continue;
      const end = at + (checksum ? CHECKSUM_BYTES : 0);
      return end <= this.#window.size ? end : "broken";
    }
  }

  async #findFrame(from: number): Promise<number> {
    const { size } = this.#window;
    for (let at = from; at < size; at += STEP_BYTES) {
      const bytes = await this.#window.at(at, STEP_BYTES + MAGIC.length - 1);
      const found = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(MAGIC);
      if (found >= 0) return at + found;
    }
    return size;
  }
}

/** Whether the bytes are one frame, by its blocks, and nothing behind it. */
export function isOneFrame(bytes: Uint8Array): boolean {
  const header = parseHeader(bytes);
  if (header === undefined) return false;
  for (let at = header.bytes; at + BLOCK_HEADER_BYTES <= bytes.length;) {
    const { size, last } = parseBlock(bytes, at);
    if (size === undefined) return false;
    at += BLOCK_HEADER_BYTES + size;
    if (last) return at + (header.checksum ? CHECKSUM_BYTES : 0) === bytes.length;
  }
  return false;
}

/** How many bytes of a block follow its header; undefined for none that can be. */
function parseBlock(bytes: Uint8Array, at: number): { readonly size: number | undefined; readonly last: boolean } {
  const header = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
  const type = (header >> 1) & 3;
  const size = header >> 3;
  const last = (header & 1) !== 0;
  if (type === 3 || size > BLOCK_BYTES_MAX) return { size: undefined, last };
  // A block of one byte repeated holds that byte.
  return { size: type === 1 ? 1 : size, last };
}

function parseHeader(bytes: Uint8Array): FrameHeader | undefined {
  if (bytes.length < 6 || MAGIC.some((byte, i) => bytes[i] !== byte)) return undefined;
  const descriptor = bytes[4] ?? 0;
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 2 ** sizeFlag;
  const at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes;
  if ((descriptor & 0x08) !== 0 || bytes.length < at + sizeBytes) return undefined;
  let contentBytes = 0;
  for (let i = sizeBytes - 1; i >= 0; i -= 1) contentBytes = contentBytes * 256 + (bytes[at + i] ?? 0);
  if (sizeBytes === 2) contentBytes += 256;
  return {
    bytes: at + sizeBytes,
    contentBytes: sizeBytes === 0 ? undefined : contentBytes,
    checksum: (descriptor & 0x04) !== 0,
  };
}
