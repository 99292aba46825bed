/** Gathers what the tar reader gives, with each file put together, and holds the reader to the order of its calls. */
import { TarReader, type TarReaderOptions } from "#archive/tar-reader.ts";
import type { ReadEntry, TarSink } from "#archive/tar-reader-entry.ts";
import type { Failure } from "#base/errors.ts";

/** Files beyond this are not put together: hostile headers announce anything. */
const CONTENT_BYTES_MAX = 64 * 1024 * 1024;

export interface Collected {
  readonly entry: ReadEntry;
  /** Holes and lost parts are zeros; cut at what tests can hold. */
  readonly content: Uint8Array;
  /** `offset+length` of what was lost. */
  readonly lost: readonly string[];
  readonly ended: boolean;
}

export class CollectingSink implements TarSink {
  readonly entries: (Collected & { ended: boolean; lost: string[] })[] = [];
  readonly damages: string[] = [];
  readonly skips: string[] = [];
  /** Throws what is damaged instead of noting it. */
  readonly strict: boolean;
  readonly #contentBytesMax: number;
  #dataBytes = 0;

  constructor(strict = false, contentBytesMax = CONTENT_BYTES_MAX) {
    this.strict = strict;
    this.#contentBytesMax = contentBytesMax;
  }

  entry(entry: ReadEntry): void {
    if (this.entries.at(-1)?.ended === false) throw new Error("an entry came before the end of the last one");
    const content = new Uint8Array(Math.min(entry.size, this.#contentBytesMax));
    this.entries.push({ entry, content, lost: [], ended: false });
    this.#dataBytes = 0;
  }

  data(bytes: Uint8Array, offset: number): void {
    if (bytes.length === 0) throw new Error("empty data");
    this.#open().content.set(
      bytes.subarray(0, Math.max(0, this.#contentBytesMax - offset)),
      Math.min(offset, this.#contentBytesMax),
    );
    this.#dataBytes += bytes.length;
  }

  lost(offset: number, length: number): void {
    this.#open().lost.push(`${offset}+${length}`);
    this.#dataBytes += length;
  }

  entryEnd(): void {
    const last = this.#open();
    if (last.entry.type === "file" && this.#dataBytes !== last.entry.storedBytes) {
      throw new Error(`${this.#dataBytes} of ${last.entry.storedBytes} stored bytes came`);
    }
    last.ended = true;
  }

  damaged(failure: Failure): void {
    if (this.strict) throw failure;
    this.damages.push(String(failure));
  }

  skipped(from: number, to: number): void {
    if (to <= from) throw new Error("nothing was skipped");
    this.skips.push(`${from}-${to}`);
  }

  #open(): Collected & { ended: boolean; lost: string[] } {
    const last = this.entries.at(-1);
    if (last === undefined || last.ended) throw new Error("data without an entry");
    return last;
  }
}

export interface CollectOptions extends Omit<TarReaderOptions, "sink"> {
  /** Lengths of the pieces that are pushed, again and again; the whole at once without. */
  readonly pieces?: readonly number[];
  /** Note damage and go on. */
  readonly lenient?: boolean;
  /** How much of each file is put together. */
  readonly contentBytesMax?: number;
}

/** Reads a whole archive. Throws Failure E_ARCHIVE_DAMAGED unless `lenient`. */
export function collectTar(tar: Uint8Array, options: CollectOptions = {}): CollectingSink {
  const { pieces, lenient, contentBytesMax, ...rest } = options;
  const sink = new CollectingSink(lenient !== true, contentBytesMax);
  const reader = new TarReader({ ...rest, sink });
  let at = 0;
  for (let i = 0; at < tar.length; i += 1) {
    const length = pieces === undefined ? tar.length : (pieces[i % pieces.length] ?? 1);
    // A copy of its own, overwritten afterwards: what the reader keeps must not be a view of it.
    const piece = new Uint8Array(tar.subarray(at, at + length));
    reader.push(piece);
    piece.fill(0xa5);
    at += length;
  }
  reader.end();
  return sink;
}

/** One line for each entry, with all that it says. Paths as latin1 text. */
export function describeEntry({ entry, content, lost }: Collected): string {
  const latin1 = (bytes: Uint8Array): string => JSON.stringify(Buffer.from(bytes).toString("latin1"));
  const parts = [
    entry.type,
    latin1(entry.path),
    entry.linkTarget === undefined ? "" : `-> ${latin1(entry.linkTarget)}`,
    entry.mode.toString(8),
    `${entry.uid}:${entry.gid}`,
    `${latin1(entry.userName)}:${latin1(entry.groupName)}`,
    `${entry.size}/${entry.storedBytes}${entry.sparse ? " sparse" : ""}`,
    `${entry.mtimeSeconds}.${String(entry.mtimeNanos).padStart(9, "0")}`,
    `${entry.deviceMajor},${entry.deviceMinor}`,
    ...entry.xattrs.map(({ name, value }) => `${latin1(name)}=${latin1(value)}`),
    entry.aclAccess === undefined ? "" : `access ${JSON.stringify(entry.aclAccess)}`,
    entry.aclDefault === undefined ? "" : `default ${JSON.stringify(entry.aclDefault)}`,
    `${entry.headersAt}-${entry.dataAt}${entry.headersMayBeLost ? " after damage" : ""}`,
    String(Bun.hash(content)),
    lost.join(" "),
  ];
  return parts.filter((part) => part !== "").join(" ");
}
