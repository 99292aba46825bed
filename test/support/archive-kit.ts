/** Reads whole trees into chunks and archives, for tests that look at the bytes. */
import { ChunkReader, type RawChunk, rawBufferBytes } from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import { LinuxSource } from "#archive/linux-source.ts";
import type { LinkLimits } from "#archive/links.ts";
import type { FileSource } from "#archive/source.ts";
import { type SourceRoot, sourceRoots } from "#archive/source-roots.ts";
import { WALK_EVERYTHING, type WalkRules } from "#archive/walk-rules.ts";
import { KiB } from "#base/units.ts";

export interface ReadOptions {
  readonly chunkBytes?: number;
  readonly exclude?: readonly string[];
  readonly rules?: Partial<WalkRules>;
  readonly linkLimits?: LinkLimits;
}

export interface ReadArchive {
  readonly chunks: readonly (RawChunk & { readonly bytes: Uint8Array })[];
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
    report: (path, reason, errno) => {
      problems.push(
        [Buffer.from(path).toString("latin1"), reason, errno].filter((part) => part !== undefined).join(" "),
      );
    },
    ...(options.linkLimits === undefined ? {} : { linkLimits: options.linkLimits }),
  });
  const buffer = new Uint8Array(rawBufferBytes(chunkBytes));
  const chunks: (RawChunk & { bytes: Uint8Array })[] = [];
  for (let chunk = reader.next(buffer); chunk !== undefined; chunk = reader.next(buffer)) {
    chunks.push({ ...chunk, bytes: buffer.slice(0, chunk.rawLength) });
    // What is left in the buffer must not matter.
    buffer.fill(0xa5);
  }
  reader.close();
  return { chunks, tar: Buffer.concat(chunks.map((chunk) => chunk.bytes)), problems };
}

/** The chunks of real files. */
export function readFiles(paths: readonly string[], options: ReadOptions = {}): ReadArchive {
  return readChunks(new LinuxSource({ roots: roots(...paths).map((root) => root.path) }), paths, options);
}
