/**
 * Makes an index out of an archive's own bytes, pushed in once in their order: whole members or frames, damaged ones, or the
 * stream that the archive of another program is. What only the run knew (sources, ctime, inode …) is not in it, and the header says so.
 * Where members begin and how they are decompressed is the caller's business.
 */
import { assert } from "#base/assert.ts";
import type { Failure } from "#base/errors.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { KiB, MiB } from "#base/units.ts";
import type { StoredSeal } from "./index-assembler.ts";
import { IndexBuilder } from "./index-builder.ts";
import { headersDigest } from "./index-entry-writer.ts";
import type { IndexHeader, TableKind } from "./index-format.ts";
import { indexPath } from "./index-queries.ts";
import { blocks, END_BYTES } from "./tar-format.ts";
import { TarReader } from "./tar-reader.ts";
import type { ReadEntry, TarSink } from "./tar-reader-entry.ts";
import type { TarType } from "./tar-writer.ts";

export interface RebuildOptions {
  readonly mode: CompressionMode;
  /** As the server names it, if it does. */
  readonly archive: string | undefined;
  readonly compress: (raw: Uint8Array) => Uint8Array;
  readonly write: (stored: Uint8Array) => void;
  /** What could not be read of the tar: Failure E_ARCHIVE_DAMAGED. The rebuild goes on. */
  readonly onDamage: (failure: Failure) => void;
}

/** Headers of one entry are shorter, and so is what a search for the next header leaves behind. */
const HEADERS_BYTES_MAX = 16 * MiB;
const PUSH_BYTES = 64 * KiB;
const NO_TARGET = new Uint8Array(0);

/** Where the last entry lies. */
interface Last {
  readonly dataAt: number;
  readonly end: number;
}

export class IndexRebuilder {
  readonly #builder: IndexBuilder;
  readonly #tar: TarReader;
  readonly #recent = new RecentBytes();
  #last: Last = { dataAt: 0, end: 0 };
  /** Entries whose headers ended in the chunk in hand. */
  #entriesInChunk = 0;
  /** Raw bytes pushed, and passed over. */
  #rawOffset = 0;
  /** Raw offset of the stream, once there is one. */
  #streamAt: number | undefined;

  constructor(options: RebuildOptions) {
    const { mode, archive, compress, write } = options;
    const header: IndexHeader = {
      ...{ rebuilt: true, archive, compression: { mode, level: undefined }, chunkBytes: undefined },
      ...{ session: undefined, agent: undefined, backup: undefined, startedMs: undefined, sources: undefined },
      ...{ exclude: undefined, oneFileSystem: undefined, excludeCaches: undefined, excludeIfPresent: undefined },
    };
    this.#builder = new IndexBuilder({ header, compress, write });
    const sink: TarSink = {
      entry: (entry) => this.#entry(entry),
      data: () => undefined,
      lost: () => undefined,
      entryEnd: () => undefined,
      skipped: () => undefined,
      damaged: options.onDamage,
    };
    this.#tar = new TarReader({ sink });
  }

  /** The next member or frame, decompressed. */
  chunk(raw: Uint8Array, seal: StoredSeal): void {
    assert(this.#streamAt === undefined, "a chunk behind a stream");
    const from = this.#rawOffset;
    const before = this.#last;
    this.#entriesInChunk = 0;
    this.#push(raw);
    this.#builder.chunk(this.#kind(from, before), raw.length, seal);
  }

  /** Stored bytes that could not be decompressed, to `rawLength` bytes if that is known. */
  lost(rawLength: number | undefined, seal: StoredSeal): void {
    // If nobody knows, what is missing of the entry in hand is taken for lost, and the next header is looked for.
    const length = rawLength ?? Math.max(0, this.#last.end - this.#rawOffset);
    this.#tar.missing(length);
    this.#rawOffset += length;
    this.#recent.restart(this.#rawOffset);
    this.#builder.chunk("lost", length, seal);
  }

  /** More of what can only be read from its beginning: all that comes until `streamEnd`. */
  stream(raw: Uint8Array): void {
    this.#streamAt ??= this.#rawOffset;
    this.#push(raw);
  }

  /** The stream is over; `seal` is of all its stored bytes. */
  streamEnd(seal: StoredSeal): void {
    const from = this.#streamAt ?? this.#rawOffset;
    this.#builder.chunk(this.#rawOffset > from ? "stream" : "lost", this.#rawOffset - from, seal);
    this.#streamAt = undefined;
  }

  /** The archive is over. What is missing behind the last entry is damage. */
  finish(): void {
    this.#tar.end();
    this.#builder.finish();
  }

  /** In small pieces: what is kept for the headers is a copy. */
  #push(raw: Uint8Array): void {
    for (let at = 0; at < raw.length; at += PUSH_BYTES) {
      const bytes = raw.subarray(at, at + PUSH_BYTES);
      this.#recent.add(bytes, this.#rawOffset, this.#last.end);
      this.#rawOffset += bytes.length;
      this.#tar.push(bytes);
    }
  }

  #entry(entry: ReadEntry): void {
    const { dataAt, storedBytes } = entry;
    this.#entriesInChunk += 1;
    this.#last = { dataAt, end: dataAt + blocks(storedBytes) };
    if (entry.type !== "unsupported") this.#add(entry, entry.type);
    this.#recent.dropBefore(this.#last.end);
  }

  #add(entry: ReadEntry, type: TarType): void {
    const { linkTarget, mode, mtimeSeconds, mtimeNanos, headersAt, dataAt } = entry;
    // Data of anything but a file is nobody's: it lies between this entry and the next.
    const storedBytes = type === "file" ? entry.storedBytes : 0;
    const size = type === "file" ? Math.max(entry.size, storedBytes) : 0;
    const headers = this.#recent.between(headersAt, dataAt);
    const isLink = type === "hardlink" || type === "symlink";
    this.#builder.entry(
      {
        ...{ path: indexPath(entry.path), type, mode, mtimeSeconds, mtimeNanos, size },
        linkTarget: isLink ? (linkTarget ?? NO_TARGET) : undefined,
        // Other programs' headers can hold less than nothing.
        uid: Math.max(0, entry.uid),
        gid: Math.max(0, entry.gid),
        rdevMajor: Math.max(0, entry.deviceMajor),
        rdevMinor: Math.max(0, entry.deviceMinor),
      },
      undefined,
      {
        ...{ headersAt, dataAt, storedBytes, sparse: storedBytes !== size },
        headersDigest: headers === undefined ? 0n : headersDigest(headers),
        ...{ changed: false, short: false, racy: false },
      },
    );
  }

  /** What a chunk is by what the tar reader found in it. */
  #kind(from: number, before: Last): TableKind {
    const to = this.#rawOffset;
    const { dataAt, end } = this.#last;
    // A frame of another program that holds nothing of the tar.
    if (to === from) return "unknown";
    if (before.end > from) {
      const onlyData = this.#entriesInChunk === 0 && before.dataAt <= from && to <= before.end;
      return onlyData ? "data" : "unknown";
    }
    if (this.#entriesInChunk === 0) return this.#tar.ended && to - from === END_BYTES ? "end" : "unknown";
    if (end === to) return "entries";
    return this.#entriesInChunk === 1 && dataAt === to ? "headers" : "unknown";
  }
}

/** The last bytes of the tar that may be headers: from the end of the last entry on. */
class RecentBytes {
  #bytes = new Uint8Array(4 * PUSH_BYTES);
  /** What is kept lies in front of `#end`, from `#start` on. */
  #start = 0;
  #end = 0;
  /** Raw offset of the first byte kept. */
  #from = 0;

  /** Keeps what lies at or behind `wantedFrom`. */
  add(bytes: Uint8Array, offset: number, wantedFrom: number): void {
    const skipped = Math.max(0, Math.min(bytes.length, wantedFrom - offset));
    if (this.#start === this.#end) this.#from = offset + skipped;
    const kept = bytes.subarray(skipped);
    this.#reserve(kept.length);
    this.#bytes.set(kept, this.#end);
    this.#end += kept.length;
  }

  /** A view; undefined when it is not there any more. */
  between(from: number, to: number): Uint8Array | undefined {
    const start = this.#start + from - this.#from;
    const end = start + to - from;
    return start < this.#start || end > this.#end ? undefined : this.#bytes.subarray(start, end);
  }

  dropBefore(offset: number): void {
    const dropped = Math.min(this.#end - this.#start, Math.max(0, offset - this.#from));
    this.#from += dropped;
    this.#start += dropped;
  }

  restart(offset: number): void {
    this.#from = offset;
    this.#start = this.#end;
  }

  #reserve(length: number): void {
    if (this.#end + length <= this.#bytes.length) return;
    const keptLength = this.#end - this.#start;
    // Only a search in damage goes on for so long; what lies so far back are no headers of the next entry.
    if (keptLength > HEADERS_BYTES_MAX) this.dropBefore(this.#from + keptLength - HEADERS_BYTES_MAX / 2);
    const kept = this.#bytes.subarray(this.#start, this.#end);
    const room = 2 * (kept.length + length);
    if (room > this.#bytes.length) this.#bytes = new Uint8Array(room);
    // set() minds that the two may overlap.
    this.#bytes.set(kept);
    this.#start = 0;
    this.#end = kept.length;
  }
}
