/**
 * Makes an index out of an archive's own bytes, pushed in once in their order: whole members or frames, damaged ones, or the
 * stream that the archive of another program is. What only the run knew (sources, ctime, inode …) is not in it, and the header says so.
 * Where members begin and how they are decompressed is the caller's business.
 */
import { assert } from "#base/assert.ts";
import type { Failure } from "#base/errors.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { KiB } from "#base/units.ts";
import type { StoredSeal } from "./index-assembler.ts";
import { IndexBuilder } from "./index-builder.ts";
import { headersDigest } from "./index-entry-writer.ts";
import { indexedEntry } from "./index-facts.ts";
import type { IndexHeader, TableKind } from "./index-format.ts";
import { RecentBytes } from "./recent-bytes.ts";
import { blocks, END_BYTES } from "./tar-format.ts";
import { TarReader } from "./tar-reader.ts";
import type { ReadEntry, TarSink } from "./tar-reader-entry.ts";

export interface RebuildOptions {
  readonly mode: CompressionMode;
  /** As the server names it, if it does. */
  readonly archive: string | undefined;
  readonly compress: (raw: Uint8Array) => Uint8Array;
  readonly write: (stored: Uint8Array) => void;
  /** What could not be read of the tar: Failure E_ARCHIVE_DAMAGED. The rebuild goes on. */
  readonly onDamage: (failure: Failure) => void;
}

/** What is kept for the headers is a copy, and stays short. */
const PUSH_BYTES = 64 * KiB;

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
    const { headersAt, dataAt, storedBytes } = entry;
    this.#entriesInChunk += 1;
    this.#last = { dataAt, end: dataAt + blocks(storedBytes) };
    const headers = this.#recent.between(headersAt, dataAt);
    const made = indexedEntry(entry, headers === undefined ? 0n : headersDigest(headers));
    if (made !== undefined) this.#builder.entry(made.entry, undefined, made.place);
    this.#recent.dropBefore(this.#last.end);
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
