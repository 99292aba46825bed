/**
 * From staged chunks to a part file: batch after batch is copied in order, synced, recorded in the journal, and only then
 * are its staged files removed. So it needs the room of one batch beside what the session has, and a crash at any point
 * loses nothing: each line says what is left, and `run` begun again from the journal's records goes on there.
 *
 * Bytes are copied by ordinary reads and writes off the main thread. copy_file_range was measured beside them, on ext4: it
 * is no faster, and by FFI it stops the event loop for as long as the disk takes, 150 ms at worst.
 */
import { assert } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import { MiB } from "#base/units.ts";
import { eachOf } from "./at-once.ts";
import type { FileExtent } from "./chunk-placement.ts";
import type { DiskFile } from "./disk.ts";
import { type AssembledRecord, encodeAssembled } from "./journal-format.ts";
import type { JournalWriter } from "./journal-writer.ts";
import { StagedReader } from "./staged-reader.ts";
import { type ShardLevels, shardOf } from "./staging.ts";
import type { StorageRoot } from "./storage-root.ts";

/** The most that assembling needs beside the session's own bytes; what admission counts. */
export const ASSEMBLY_SPACE_BYTES = 256 * MiB;
/** Half of that: what a removal gives back may take the filesystem a moment. More bytes at a time gain nothing. */
export const BATCH_BYTES = ASSEMBLY_SPACE_BYTES / 2;
/** Bounds what a batch has to sync and to remember when chunks are tiny: 16 directories and what lies at both ends. */
const BATCH_CHUNKS = 4096;
/** Written at a time, while the next is read. */
const BLOCK_BYTES = MiB;
const UNLINKS_AT_ONCE = 8;

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
  readonly journal: JournalWriter;
  readonly part: DiskFile;
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
  /** One is filled while the other is written. */
  readonly #blocks = [Buffer.allocUnsafe(BLOCK_BYTES), Buffer.allocUnsafe(BLOCK_BYTES)] as const;

  constructor(parts: AssemblyParts) {
    this.#parts = parts;
  }

  /** Copies all chunks from that point on. Rejects with what the disk throws, E_DISK, or what `check` throws. */
  async run(from: AssembledPoint): Promise<void> {
    const { root, extent, journal, part, file, host, onPoint, pathOf } = this.#parts;
    // What a crash between the record and the last removal left; the room of that batch is needed for the next one.
    let emptied = await this.#remove(from.cleanChunks, from.chunks);
    let point = from;
    const reader = new StagedReader((sequence) => root.openFile(pathOf(sequence), "read"), file, {
      first: from.chunks,
      end: extent.chunks,
    });
    try {
      while (point.chunks < extent.chunks) {
        host.check();
        const { chunks, bytes } = await this.#copyBatch(reader, point);
        assert(chunks > point.chunks, `a batch of no chunks at chunk ${chunks} of file ${file}`);
        // A crash here leaves bytes in the part that no record names: they are written again, the same.
        await part.fdatasync();
        // The names that the batch before removed must not come back once a record says that this one is the last
        // whose staged files may lie there. A crash here, or in the middle of it: as above.
        await eachOf(emptied, 1, (shard) => root.sync(shard));
        const record = { file, chunks, bytes };
        await journal.append(encodeAssembled(record));
        // A crash here leaves the batch twice, in the part and staged: the record tells which files to remove.
        point = pointAfter(point, record);
        onPoint(point);
        emptied = await this.#remove(point.cleanChunks, chunks);
        // A crash in the middle of the removal, or before the names were synced, leaves some of them: as above.
      }
    } finally {
      await reader.close();
    }
  }

  /** Copies chunks until the batch is full; resolves with where it ended. Nothing is under way when it rejects. */
  async #copyBatch(reader: StagedReader, from: { readonly bytes: number }): Promise<{ chunks: number; bytes: number }> {
    const { part, batchBytes, host } = this.#parts;
    reader.beginBatch(batchBytes, BATCH_CHUNKS);
    let at = from.bytes;
    let turn: 0 | 1 = 0;
    let writing: Promise<void> = Promise.resolve();
    for (;;) {
      const block = this.#blocks[turn];
      const [filled, written] = await Promise.allSettled([reader.fill(block), writing]);
      if (written.status === "rejected") throw written.reason;
      if (filled.status === "rejected") throw filled.reason;
      host.progress(at);
      if (filled.value === 0) return { chunks: reader.next, bytes: at };
      host.check();
      writing = part.write(block.subarray(0, filled.value), at);
      at += filled.value;
      turn = turn === 0 ? 1 : 0;
    }
  }

  /** Removes the staged files of chunks `from` to `end - 1`, in order; resolves with their directories. */
  async #remove(from: number, end: number): Promise<Set<string>> {
    const { root, directory, levels, pathOf } = this.#parts;
    const shards = new Set<string>();
    await eachOf(numbers(from, end), UNLINKS_AT_ONCE, async (sequence) => {
      await root.unlink(pathOf(sequence));
      shards.add(`${directory}/${shardOf(levels, sequence)}`);
    });
    return shards;
  }
}

function* numbers(from: number, end: number): Generator<number> {
  for (let number = from; number < end; number += 1) yield number;
}
