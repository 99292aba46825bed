/**
 * Chunks staged as files of their own until the end, then copied into the part files in order: for disks that dislike
 * writes all over a large file. staged-files.ts has the files, assembly.ts copies them.
 */
import { must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { Assembly, type AssembledPoint, ASSEMBLY_START, BATCH_BYTES } from "./assembly.ts";
import { allOf } from "./at-once.ts";
import type { AssemblyHost, ChunkPlacement, FileExtent } from "./chunk-placement.ts";
import type { DiskFile, DiskFilesystem } from "./disk.ts";
import type { JournalWriter } from "./journal-writer.ts";
import { fitLength } from "./part-length.ts";
import type { ChunkPlace } from "./session-types.ts";
import { StagedFiles } from "./staged-files.ts";
import type { ShardLevels } from "./staging.ts";
import type { StorageRoot } from "./storage-root.ts";

/** Since the storage was opened. */
export interface StagingCounters {
  stagedChunks: number;
  assembledBytes: number;
}

export interface LazyPlacementParts {
  readonly root: StorageRoot;
  /** The session's, relative to the root; its staging directory exists. */
  readonly directory: string;
  /** The part files, by file number; open for reading and writing, and closed by `close`. */
  readonly parts: readonly DiskFile[];
  /** Of the same, relative to the root. */
  readonly partPaths: readonly string[];
  readonly levels: ShardLevels;
  /** Held since before the first chunk was written, and closed by `close`. */
  readonly filesystem: DiskFilesystem;
  readonly chunkFsync: boolean;
  readonly journal: JournalWriter;
  readonly counters: StagingCounters;
  /** By file number, what the journal's assembled records say; missing: nothing is assembled. */
  readonly assembled?: readonly AssembledPoint[];
  readonly batchBytes?: number;
}

export class LazyPlacement implements ChunkPlacement {
  readonly #parts: LazyPlacementParts;
  readonly #staged: StagedFiles;
  /** By file number. */
  readonly #assembled: [AssembledPoint, AssembledPoint];

  constructor(parts: LazyPlacementParts) {
    this.#parts = parts;
    this.#staged = new StagedFiles(parts);
    this.#assembled = [parts.assembled?.[0] ?? ASSEMBLY_START, parts.assembled?.[1] ?? ASSEMBLY_START];
  }

  write(chunk: ChunkPlace, bytes: Uint8Array, offset: number): Promise<void> {
    return this.#staged.write(chunk, bytes, offset);
  }

  async sync(chunks: readonly ChunkPlace[]): Promise<void> {
    await this.#staged.sync(chunks);
    this.#parts.counters.stagedChunks += chunks.length;
  }

  read(chunk: ChunkPlace, into: Uint8Array, offset: number): Promise<number> {
    if (this.#isAssembled(chunk)) return this.#part(chunk.file).read(into, offset);
    return this.#staged.read(chunk, into, offset);
  }

  async holds(chunk: ChunkPlace): Promise<boolean> {
    if (!this.#isAssembled(chunk)) return this.#staged.holds(chunk);
    return (await this.#part(chunk.file).size()) >= chunk.offset + chunk.storedLength;
  }

  async assemble(files: readonly FileExtent[], host: AssemblyHost): Promise<void> {
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    let before = 0;
    for (const [index, extent] of files.entries()) {
      const file: FileNumber = index === 0 ? 0 : 1;
      await this.#assembleFile(file, extent, {
        check: () => host.check(),
        progress: (done) => host.progress(before + done, total),
      });
      before += extent.bytes;
    }
  }

  /** No call may be under way. */
  close(): Promise<void> {
    const { parts, filesystem } = this.#parts;
    return allOf([...parts.map((part) => part.close()), this.#staged.close(), filesystem.close()]);
  }

  async #assembleFile(
    file: FileNumber,
    extent: FileExtent,
    host: Pick<AssemblyHost, "check"> & Progress,
  ): Promise<void> {
    const { root, directory, levels, filesystem, journal, counters, batchBytes } = this.#parts;
    const part = this.#part(file);
    const assemblyParts = {
      ...{ root, directory, levels, filesystem, journal, part, file, extent, host },
      partPath: root.path(must(this.#parts.partPaths[file], `path of part ${file}`)),
      batchBytes: batchBytes ?? BATCH_BYTES,
      pathOf: (sequence: number) => this.#staged.pathOf({ file, sequence }),
      onPoint: (point: AssembledPoint) => {
        counters.assembledBytes += point.bytes - this.#assembled[file].bytes;
        this.#assembled[file] = point;
      },
    };
    await new Assembly(assemblyParts, this.#assembled[file]).run();
    const { chunks, bytes } = this.#assembled[file];
    if (chunks !== extent.chunks || bytes !== extent.bytes) {
      throw new Failure(
        "E_DISK",
        `file ${file}: ${bytes} bytes of ${chunks} chunks were staged, expected ${extent.bytes}`,
      );
    }
    await fitLength(part, file, extent.bytes);
  }

  #isAssembled(chunk: ChunkPlace): boolean {
    return chunk.sequence < this.#assembled[chunk.file].chunks;
  }

  #part(number: FileNumber): DiskFile {
    return must(this.#parts.parts[number], `part ${number}`);
  }
}

interface Progress {
  progress(done: number): void;
}
