/**
 * From staged chunks to a part file: batch after batch is copied in order, synced, recorded in the journal, and only then
 * are its staged files removed. So it needs the room of a few batches beside what the session has, and a crash at any point
 * loses nothing: each line says what is left, and `run` begun again from the journal's records goes on there.
 *
 * Bytes are copied by the kernel (copy_file_range) in the thread of the disk. Calls off the main thread that read and write
 * were measured beside it: they need three times the processor, and on a busy machine take twice as long.
 */
import type { FileNumber } from "#base/chunk.ts";
import { errnoName, Failure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { awaitedLater, eachOf } from "./at-once.ts";
import type { FileExtent } from "./chunk-placement.ts";
import type { DiskFile, DiskFilesystem } from "./disk.ts";
import { type AssembledRecord, encodeAssembled } from "./journal-format.ts";
import type { JournalWriter } from "./journal-writer.ts";
import { type ShardLevels, shardOf } from "./staging.ts";
import type { StorageRoot } from "./storage-root.ts";

/** The most that assembling needs beside the session's own bytes; what admission counts. */
export const ASSEMBLY_SPACE_BYTES = 256 * MiB;
/**
 * Of three batches both copies may stand: of the one that is copied, the one that is synced, and the one whose staged files are
 * removed. Each may be longer by a chunk (17 MB), and the room that a removal gives back may be in the filesystem's own
 * journal for a moment. More bytes at a time gain nothing.
 */
export const BATCH_BYTES = 48 * MiB;
/** Bounds what a batch has to sync and to remember when chunks are tiny: 16 directories and what lies at both ends. */
const BATCH_CHUNKS = 4096;
/** Copied in one call of the disk's thread: others wait for it, and an abort does. */
const COPY_BYTES = 8 * MiB;
const COPY_CHUNKS = 256;
/** Half of the threads that make file calls; each of them waits when the filesystem discards what is freed. */
const UNLINKS_AT_ONCE = 8;

/** Where a batch ends. */
interface Batch {
  readonly chunks: number;
  readonly bytes: number;
}

/** How far a file has come, and where it goes on. */
export interface AssembledPoint {
  /** Of chunks below this number no staged file lies there any more. */
  readonly cleanChunks: number;
  /** Chunks below this number lie in the part, durable; a crash may have left staged files of those not clean. */
  readonly chunks: number;
  /** Where they end. */
  readonly bytes: number;
}

/** Nothing is assembled. */
export const ASSEMBLY_START: AssembledPoint = { cleanChunks: 0, chunks: 0, bytes: 0 };

/** The point that a file's next assembled record makes. */
export function pointAfter(before: AssembledPoint, record: AssembledRecord): AssembledPoint {
  return { cleanChunks: before.chunks, chunks: record.chunks, bytes: record.bytes };
}

export interface AssemblyParts {
  readonly root: StorageRoot;
  /** The session's, relative to the root. */
  readonly directory: string;
  readonly levels: ShardLevels;
  readonly filesystem: DiskFilesystem;
  readonly journal: JournalWriter;
  readonly part: DiskFile;
  /** Absolute, of the same file. */
  readonly partPath: string;
  readonly file: FileNumber;
  /** What the file must be in the end. */
  readonly extent: FileExtent;
  readonly batchBytes: number;
  readonly host: { check(): void; progress(done: number): void };
  /** Of a staged chunk, relative to the root. */
  readonly pathOf: (sequence: number) => string;
  /** A batch was recorded. */
  readonly onPoint: (point: AssembledPoint) => void;
}

export class Assembly {
  readonly #parts: AssemblyParts;
  #point: AssembledPoint;
  /** The removal that began last; resolves with the directories that it changed. */
  #removal: Promise<ReadonlySet<string>> = Promise.resolve(new Set<string>());

  constructor(parts: AssemblyParts, from: AssembledPoint) {
    this.#parts = parts;
    this.#point = from;
  }

  /** Copies all chunks from the point on. Rejects with what the disk throws, E_DISK, or what `check` throws. */
  async run(): Promise<void> {
    const { extent, host } = this.#parts;
    const { cleanChunks, chunks } = this.#point;
    // What a crash between the record and the last removal left; the room of that batch is needed for the next one.
    this.#removal = Promise.resolve(await this.#remove(cleanChunks, chunks));
    let copied: Batch = this.#point;
    let closing: Promise<void> = Promise.resolve();
    try {
      while (copied.chunks < extent.chunks) {
        // One is copied while the one before is synced and recorded, and the one before that removed.
        const [next, closed] = await Promise.allSettled([this.#copyBatch(copied), closing]);
        if (closed.status === "rejected") throw closed.reason;
        if (next.status === "rejected") throw next.reason;
        copied = next.value;
        host.check();
        closing = this.#closeBatch(copied);
      }
      await closing;
    } finally {
      // Nothing is under way any more when this ends.
      await this.#removal;
    }
  }

  /** Copies chunks until the batch is full, one at least; resolves with where it ended. */
  async #copyBatch(from: Batch): Promise<Batch> {
    const { filesystem, partPath, extent, batchBytes, host } = this.#parts;
    const end = Math.min(extent.chunks, from.chunks + BATCH_CHUNKS);
    let { chunks, bytes } = from;
    do {
      host.check();
      const paths = this.#paths(chunks, Math.min(end, chunks + COPY_CHUNKS));
      const left = from.bytes + batchBytes - bytes;
      const lengths = await filesystem
        .append(paths, partPath, bytes, Math.min(left, COPY_BYTES))
        .catch((error: unknown) => {
          throw errnoName(error) === "ENOENT" ? this.#lost(chunks, "is missing") : error;
        });
      for (const length of lengths) {
        if (length === 0) throw this.#lost(chunks, "is empty");
        chunks += 1;
        bytes += length;
      }
      host.progress(bytes);
    } while (chunks < end && bytes - from.bytes < batchBytes);
    return { chunks, bytes };
  }

  async #closeBatch({ chunks, bytes }: Batch): Promise<void> {
    const { root, part, file, journal, onPoint } = this.#parts;
    // A crash here leaves bytes in the part that no record names: they are written again, the same.
    const [synced, removed] = await Promise.allSettled([part.fdatasync(), this.#removal]);
    if (synced.status === "rejected") throw synced.reason;
    if (removed.status === "rejected") throw removed.reason;
    // What was removed of the batch before must not come back once a record says that this one is the last whose staged files
    // may lie there. A crash here, or in the middle of it: as above.
    await eachOf(removed.value, 1, (shard) => root.sync(shard));
    const record = { file, chunks, bytes };
    await journal.append(encodeAssembled(record));
    // A crash here leaves the batch twice, in the part and staged: the record tells which files to remove.
    this.#point = pointAfter(this.#point, record);
    onPoint(this.#point);
    this.#removal = awaitedLater(this.#remove(this.#point.cleanChunks, chunks));
    // A crash in the middle of the removal, or before the names were synced, leaves some of them: as above.
  }

  /** Removes the staged files of chunks `from` to `end - 1`, in order; resolves with their directories. */
  async #remove(from: number, end: number): Promise<Set<string>> {
    const { root, directory, levels, pathOf } = this.#parts;
    const numbers = Array.from({ length: end - from }, (_, index) => from + index);
    await eachOf(numbers, UNLINKS_AT_ONCE, async (sequence) => {
      await root.unlink(pathOf(sequence));
    });
    return new Set(numbers.map((sequence) => `${directory}/${shardOf(levels, sequence)}`));
  }

  /** Of the staged chunks `from` to `end - 1`. */
  #paths(from: number, end: number): string[] {
    const { root, pathOf } = this.#parts;
    return Array.from({ length: end - from }, (_, index) => root.path(pathOf(from + index)));
  }

  #lost(sequence: number, what: string): Failure {
    return new Failure("E_DISK", `staged chunk ${sequence} of file ${this.#parts.file} ${what}`);
  }
}
