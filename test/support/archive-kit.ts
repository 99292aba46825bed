/** Reads whole trees into chunks and archives, for tests that look at the bytes. */
import {
  type ArchiveChunk,
  ChunkReader,
  type IndexChunk,
  type RawChunk,
  rawBufferBytes,
} from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import { LinuxSource } from "#archive/linux-source.ts";
import type { LinkLimits } from "#archive/links.ts";
import type { FileSource } from "#archive/source.ts";
import { type SourceRoot, sourceRoots } from "#archive/source-roots.ts";
import { WALK_EVERYTHING, type WalkRules } from "#archive/walk-rules.ts";
import { KiB } from "#base/units.ts";

/** When trees are read in tests: long after MemorySource's files changed. */
export const WALL_MS = 1_800_000_000_000;

export interface ReadOptions {
  readonly chunkBytes?: number;
  readonly exclude?: readonly string[];
  readonly rules?: Partial<WalkRules>;
  readonly linkLimits?: LinkLimits;
}

export interface ReadArchive {
  readonly chunks: readonly (ArchiveChunk & { readonly bytes: Uint8Array })[];
  /** Blocks of entries. */
  readonly index: readonly (IndexChunk & { readonly bytes: Uint8Array })[];
  /** Both, in the order they came. */
  readonly all: readonly (RawChunk & { readonly bytes: Uint8Array })[];
  readonly tar: Uint8Array;
  /** `path reason errno`, paths as latin1 text. */
  readonly problems: readonly string[];
}

export function roots(...paths: readonly string[]): SourceRoot[] {
  return sourceRoots(paths.map((path) => ({ path, optional: false })));
}

/** The chunks of the tree below `paths`. */
export function readChunks(source: FileSource, paths: readonly string[], options: ReadOptions = {}): ReadArchive {
  const chunkBytes = options.chunkBytes ?? 64 * KiB;
  const problems: string[] = [];
  const reader = new ChunkReader({
    source,
    roots: roots(...paths),
    excludes: new Excludes(options.exclude ?? []),
    rules: { ...WALK_EVERYTHING, ...options.rules },
    chunkBytes,
    wall: () => WALL_MS,
    report: (path, reason, errno) => {
      problems.push(
        [Buffer.from(path).toString("latin1"), reason, errno].filter((part) => part !== undefined).join(" "),
      );
    },
    ...(options.linkLimits === undefined ? {} : { linkLimits: options.linkLimits }),
  });
  const buffer = new Uint8Array(rawBufferBytes(chunkBytes));
  const chunks: (ArchiveChunk & { bytes: Uint8Array })[] = [];
  const index: (IndexChunk & { bytes: Uint8Array })[] = [];
  const all: (RawChunk & { bytes: Uint8Array })[] = [];
  for (let chunk = reader.next(buffer); chunk !== undefined; chunk = reader.next(buffer)) {
    const bytes = buffer.slice(0, chunk.rawLength);
    if (chunk.kind === "index") index.push({ ...chunk, bytes });
    else chunks.push({ ...chunk, bytes });
    all.push({ ...chunk, bytes });
    // What is left in the buffer must not matter.
    buffer.fill(0xa5);
  }
  reader.close();
  return { chunks, index, all, tar: Buffer.concat(chunks.map((chunk) => chunk.bytes)), problems };
}

/** The chunks of real files. */
export function readFiles(paths: readonly string[], options: ReadOptions = {}): ReadArchive {
  return readChunks(new LinuxSource({ roots: roots(...paths).map((root) => root.path) }), paths, options);
}
