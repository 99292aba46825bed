/** Indexes in memory, for tests: made from a tree or from entries by the code of the product without its threads, and read again. */
import { crc32 } from "node:zlib";
import type { ByteSource } from "#archive/index-blocks.ts";
import { IndexBuilder } from "#archive/index-builder.ts";
import type { NewEntry, NewLiveFacts, NewPlace } from "#archive/index-entry-writer.ts";
import type { IndexEntry, IndexHeader, TableKind } from "#archive/index-format.ts";
import { type Batches, IndexReader } from "#archive/index-reader.ts";
import type { FileSource } from "#archive/source.ts";
import type { Compression, CompressionMode } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { compress, storedBytesMax } from "#compress/codec.ts";
import { proofOf, sealChunk } from "#compress/seal.ts";
import { ProducedFiles } from "#agent/produced-files.ts";
import { readChunks, type ReadArchive, type ReadOptions } from "./archive-kit.ts";
import { KeepingSink, testHeader } from "./pipeline-kit.ts";

/** Bytes as a source, which counts what is read. */
export class MemoryBytes implements ByteSource {
  readonly #bytes: Uint8Array;
  reads = 0;
  readBytes = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    if (offset < 0 || length < 0 || offset + length > this.size) {
      return Promise.reject(new RangeError(`${length} bytes at ${offset} of ${this.size}`));
    }
    this.reads += 1;
    this.readBytes += length;
    return Promise.resolve(this.#bytes.slice(offset, offset + length));
  }
}

export function openIndex(bytes: Uint8Array): Promise<IndexReader> {
  return IndexReader.open(new MemoryBytes(bytes));
}

export async function collect<T>(batches: Batches<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const batch of batches) items.push(...batch);
  return items;
}

export const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Paths as latin1 text. */
export async function paths(batches: Batches<{ readonly path: Uint8Array }>): Promise<string[]> {
  return (await collect(batches)).map((item) => latin1(item.path));
}

export interface TreeIndex extends ReadArchive {
  readonly bytes: Uint8Array;
  /** The archive as it is stored. */
  readonly stored: Uint8Array;
  /** Stored chunks of the archive. */
  readonly storedChunks: readonly Uint8Array[];
}

/** The index of a tree, as a session makes it. */
export function indexTree(
  source: FileSource,
  roots: readonly string[],
  options: ReadOptions & { readonly compression?: Compression; readonly header?: Partial<IndexHeader> } = {},
): TreeIndex {
  const compression = options.compression ?? { mode: "gzip", level: 1 };
  const archive = readChunks(source, roots, options);
  const files = new ProducedFiles({ ...testHeader(compression.mode), ...options.header }, compression);
  const sink = new KeepingSink();
  const parts = (all: ReturnType<ProducedFiles["end"]>): void => {
    for (const part of all) {
      sink.reserve(files.partBytesMax(part));
      files.part(sink, part);
    }
  };
  parts([files.begin()]);
  for (const { bytes, ...chunk } of archive.all) {
    const slab = new Uint8Array(storedBytesMax(compression.mode, bytes.length));
    slab.set(bytes);
    const after = files.after(chunk);
    sink.reserve(slab.length);
    const seal = sealChunk(slab, bytes.length, compression);
    files.chunk(sink, chunk, slab.subarray(0, seal.storedLength), seal);
    parts(after);
  }
  parts(files.end());
  const storedChunks = sink.chunks.map((chunk) => chunk.stored);
  return { ...archive, bytes: sink.index, stored: Buffer.concat(storedChunks), storedChunks };
}

export interface MadeEntry {
  readonly entry: NewEntry;
  readonly live: NewLiveFacts | undefined;
  readonly place: NewPlace;
}

export interface MadeChunk {
  readonly kind: TableKind;
  readonly rawLength: number;
  readonly storedLength: number;
}

/** An index of entries and chunks that stand in no archive. */
export function buildIndex(
  entries: Iterable<MadeEntry>,
  chunks: Iterable<MadeChunk> = [],
  options: {
    readonly mode?: CompressionMode;
    readonly header?: Partial<IndexHeader>;
    /** What stands in the place of a block, as long as it. */
    readonly lie?: (raw: Uint8Array) => Uint8Array;
  } = {},
): Uint8Array {
  const mode = options.mode ?? "gzip";
  const blocks: Uint8Array[] = [];
  const builder = new IndexBuilder({
    header: { ...testHeader(mode), ...options.header },
    compress: (raw) => compress(options.lie?.(raw) ?? raw, { mode, level: 1 }),
    write: (stored) => blocks.push(stored.slice()),
  });
  let number = 0;
  for (const { kind, rawLength, storedLength } of chunks) {
    const { crc, digest } = proofOf(Buffer.from(`chunk ${number}`));
    builder.chunk(kind, rawLength, { storedLength, crc, digest });
    number += 1;
  }
  for (const { entry, live, place } of entries) builder.entry(entry, live, place);
  builder.finish();
  return Buffer.concat(blocks);
}

/** Entries with these paths, one behind the other, each of a header and a block of data. */
export function* plainEntries(names: Iterable<string>): Generator<MadeEntry> {
  let headersAt = 0;
  let number = 0;
  for (const name of names) {
    const directory = name.endsWith("/");
    const size = directory ? 0 : 1 + (number % 512);
    yield {
      entry: {
        ...{ path: Buffer.from(name, "latin1"), type: directory ? "directory" : "file", linkTarget: undefined },
        ...{ mode: directory ? 0o755 : 0o644, uid: 1000, gid: 1000, rdevMajor: 0, rdevMinor: 0, size },
        ...{ mtimeSeconds: 1_700_000_000 + (number % 100_000), mtimeNanos: (number * 7919) % 1_000_000_000 },
      },
      live: {
        ...{ ctimeSeconds: 1_700_000_001 + number, ctimeNanos: (number * 104_729) % 1_000_000_000 },
        ...{ dev: "2049", ino: String(1_000_000 + number) },
      },
      place: {
        ...{ headersAt, dataAt: headersAt + 1024, storedBytes: size, headersDigest: BigInt(crc32(name)) },
        ...{ sparse: false, changed: false, short: false, racy: false },
      },
    };
    headersAt += 1024 + (directory ? 0 : 512);
    number += 1;
  }
}

/** What reading must give of a made entry, its number aside. */
export function expected({ entry, live, place }: MadeEntry): Omit<IndexEntry, "number"> {
  const { type, mode, uid, gid, mtimeSeconds, mtimeNanos, size, linkTarget } = entry;
  const { headersAt, dataAt, storedBytes, headersDigest, sparse, changed, short, racy } = place;
  const device = type === "char" || type === "block";
  return {
    ...{ type, mode, uid, gid, mtimeSeconds, mtimeNanos, size: type === "file" ? size : 0 },
    ...{ headersAt, dataAt, storedBytes, headersDigest, sparse, changed, short, racy },
    path: new Uint8Array(entry.path.at(-1) === 0x2f ? entry.path.subarray(0, -1) : entry.path),
    linkTarget: linkTarget === undefined ? undefined : new Uint8Array(linkTarget),
    deviceMajor: device ? entry.rdevMajor : 0,
    deviceMinor: device ? entry.rdevMinor : 0,
    live: live && {
      ctimeSeconds: live.ctimeSeconds,
      ctimeNanos: live.ctimeNanos,
      ino: BigInt(live.ino),
      dev: BigInt(live.dev),
    },
  };
}

/** `CODE: message` of the Failure that it rejects with. */
export async function refusalOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Failure) return error.toString();
    throw error;
  }
  return "nothing was refused";
}
