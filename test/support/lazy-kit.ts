/** Sessions with staged chunks for tests: the ways to stage, and a session taken up again from its journal alone. */
import { must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import { ASSEMBLY_START, type AssembledPoint, pointAfter } from "#store/assembly.ts";
import type { DiskFile } from "#store/disk.ts";
import type { ChunkRecord } from "#store/journal-format.ts";
import { readJournal } from "#store/journal-reader.ts";
import { JournalWriter } from "#store/journal-writer.ts";
import { LazyPlacement, type StagingCounters } from "#store/lazy-placement.ts";
import { sessionPaths } from "#store/session-files.ts";
import type { StorageOptions } from "#store/storage.ts";
import { StorageRoot } from "#store/storage-root.ts";
import type { MemoryDisk } from "./memory-disk.ts";
import { SESSION_A } from "./store-kit.ts";

export type Staging = NonNullable<StorageOptions["staging"]>;

/** Every way to stage. */
export const STAGINGS: readonly Staging[] = ([1, 2] as const).flatMap((shardLevels) =>
  [true, false].map((chunkFsync) => ({ shardLevels, chunkFsync })),
);

export interface Resumed {
  readonly placement: LazyPlacement;
  /** What the journal says is durable. */
  readonly chunks: readonly ChunkRecord[];
  readonly counters: StagingCounters;
  close(): Promise<void>;
}

/** What a server that starts anew makes of the session on that disk; undefined when there is none. */
export async function resume(disk: MemoryDisk, staging: Staging): Promise<Resumed | undefined> {
  const root = await StorageRoot.open(disk, "/srv/backup");
  const paths = sessionPaths(SESSION_A);
  // A crash before the session's directory was synced leaves some of its files.
  for (const path of [paths.journal, paths.archive, paths.index, paths.staging]) {
    if ((await root.stat(path)) === undefined) return undefined;
  }
  const journalFile = await root.openFile(paths.journal, "read-write");
  const chunks: ChunkRecord[] = [];
  const assembled: Record<FileNumber, AssembledPoint> = { 0: ASSEMBLY_START, 1: ASSEMBLY_START };
  let begun = false;
  const { wholeBytes } = await readJournal(journalFile, (record) => {
    if (record.type === "session") begun = true;
    if (record.type === "chunk") chunks.push(record.chunk);
    if (record.type === "assembled") {
      const { file } = record.assembled;
      assembled[file] = pointAfter(assembled[file], record.assembled);
    }
  });
  if (!begun) {
    await journalFile.close();
    return undefined;
  }
  const parts: DiskFile[] = [];
  for (const path of [paths.archive, paths.index]) parts.push(await root.openFile(path, "read-write"));
  const journal = new JournalWriter(journalFile, wholeBytes);
  const counters = { stagedChunks: 0, assembledBytes: 0 };
  const placement = new LazyPlacement({
    ...{ root, directory: paths.directory, parts, journal, counters },
    levels: staging.shardLevels,
    filesystem: staging.chunkFsync ? undefined : await root.openFilesystem(paths.directory),
    assembled: [assembled[0], assembled[1]],
    batchBytes: must(staging.batchBytes, "the size of batches"),
  });
  const close = async (): Promise<void> => {
    await placement.close();
    await journal.close();
  };
  return { placement, chunks, counters, close };
}
