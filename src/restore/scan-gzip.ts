/**
 * Finds the members of a gzip archive of ours without an index: each begins with the same ten bytes. Compressed data can hold those
 * by chance, or because it is the copy of another archive, so where a member ends is a guess that decompressing proves: the pipeline joins
 * what was cut in two. Other programs' archives, of one member or of long ones, are read as a stream.
 */
import { KiB, MiB } from "#base/units.ts";
import { AccessWindow, type ArchiveAccess } from "./archive-access.ts";
import { type Piece, PIECE_STORED_BYTES_MAX, type PieceSource, type StreamRest } from "./piece.ts";

/** Magic, deflate, no flags, no time; the kind of compression and the system follow. */
const START = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
const HEADER_BYTES = 10;
/** The level's trace: fastest, best, neither. */
const EXTRA_FLAGS: readonly number[] = [0, 2, 4];
const UNKNOWN_SYSTEM = 0xff;
/** Ten bytes of header, two of data, eight of trailer. */
const MEMBER_BYTES_MIN = 20;
const WINDOW_BYTES = MiB;
/** How much is searched at a time. */
const STEP_BYTES = 256 * KiB;

export class GzipScan implements PieceSource {
  readonly #window: AccessWindow;
  #offset: number;
  #index: number;
  /** Behind a hole: where a member may begin again. */
  #goesOnAt = -1;

  /** `offset`: where to begin, with the piece of number `index`. */
  constructor(access: ArchiveAccess, offset = 0, index = 0) {
    this.#window = new AccessWindow(access, WINDOW_BYTES);
    this.#offset = offset;
    this.#index = index;
  }

  async next(): Promise<Piece | StreamRest | undefined> {
    const { size } = this.#window;
    const offset = this.#offset;
    if (offset >= size) return undefined;
    if (offset === 0 && isForeign(await this.#window.at(0, HEADER_BYTES))) return { mode: "gzip", streamFrom: 0 };
    const longest = offset + PIECE_STORED_BYTES_MAX;
    let end = await this.#find(offset + 1, Math.min(size, longest + 1));
    if (end === undefined && size > longest) {
      // A long member of another program, unless members of ours lie around it: then it is a hole, and there is more behind it.
      if (this.#index === 0 || !(await this.#goesOnBehind(longest))) return { mode: "gzip", streamFrom: offset };
      end = longest;
    }
    this.#offset = end ?? size;
    this.#index += 1;
    return {
      index: this.#index - 1,
      mode: "gzip",
      offset,
      length: this.#offset - offset,
      rawOffset: undefined,
      rawLength: undefined,
      crc: undefined,
      digest: undefined,
      ...{ enterAt: undefined, leaveAt: undefined, lost: false },
    };
  }

  /** Whether a member may begin there or further on. Looked for once for each hole. */
  async #goesOnBehind(from: number): Promise<boolean> {
    if (this.#goesOnAt < from) this.#goesOnAt = (await this.#find(from, this.#window.size)) ?? -1;
    return this.#goesOnAt >= from;
  }

  /** Where between `from` and `to` the next member may begin. */
  async #find(from: number, to: number): Promise<number | undefined> {
    for (let at = Math.max(from, this.#offset + MEMBER_BYTES_MIN); at < to; at += STEP_BYTES) {
      const bytes = await this.#window.at(at, Math.min(STEP_BYTES + HEADER_BYTES - 1, to - at + HEADER_BYTES));
      const found = findStart(bytes);
      if (found >= 0 && at + found < to) return at + found;
    }
    return undefined;
  }
}

/** A gzip member whose header is another one. A damaged header is none: members further on still say whose archive it is. */
function isForeign(bytes: Uint8Array): boolean {
  return bytes[0] === START[0] && bytes[1] === START[1] && bytes[2] === START[2] && !isStart(bytes, 0);
}

function findStart(bytes: Uint8Array): number {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = buffer.indexOf(START); at >= 0; at = buffer.indexOf(START, at + 1)) if (isStart(bytes, at)) return at;
  return -1;
}

function isStart(bytes: Uint8Array, at: number): boolean {
  for (const [i, byte] of START.entries()) if (bytes[at + i] !== byte) return false;
  return EXTRA_FLAGS.includes(bytes[at + START.length] ?? -1) && bytes[at + START.length + 1] === UNKNOWN_SYSTEM;
}

/** True when a member of an archive of ours begins in these bytes. */
export function holdsGzipMember(bytes: Uint8Array): boolean {
  return findStart(bytes) >= 0;
}
