/** Sessions with staged chunks for tests: the ways to stage, and a session's placement taken up again from its journal. */
import { must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import { ASSEMBLY_START, type AssembledPoint, pointAfter } from "#store/assembly.ts";
import type { ChunkPlacement } from "#store/chunk-placement.ts";
import { orMissing } from "#store/disk.ts";
import type { ChunkRecord } from "#store/journal-format.ts";
import { readJournal } from "#store/journal-reader.ts";
import type { StagingCounters } from "#store/lazy-placement.ts";
import { type JournalHead, parseHead } from "#store/records.ts";
import { closeSessionFiles, openSessionFiles, sessionPaths } from "#store/session-files.ts";
import type { StorageOptions } from "#store/storage-options.ts";
import { StorageRoot } from "#store/storage-root.ts";
import type { MemoryDisk } from "./memory-disk.ts";
import { SESSION_A } from "./store-kit.ts";

export type Staging = NonNullable<StorageOptions["staging"]>;

/** Every way to stage. */
export const STAGINGS: readonly Staging[] = ([1, 2] as const).flatMap((shardLevels) =>
  [true, false].map((chunkFsync) => ({ shardLevels, chunkFsync })),
);

export interface Resumed {
  readonly placement: ChunkPlacement;
  /** What the journal says is durable. */
  readonly chunks: readonly ChunkRecord[];
  readonly counters: StagingCounters;
  close(): Promise<void>;
}

/** What the journal and the files of the session on that disk say, without a storage; undefined when there is none. */
export async function resume(disk: MemoryDisk, staging: Staging): Promise<Resumed | undefined> {
  const root = await StorageRoot.open(disk, "/srv/backup", false);
  const found = await orMissing(root.openFile(sessionPaths(SESSION_A).journal, "read"));
  if (found === undefined) return undefined;
  const chunks: ChunkRecord[] = [];
  const assembled: Record<FileNumber, AssembledPoint> = { 0: ASSEMBLY_START, 1: ASSEMBLY_START };
  const heads: JournalHead[] = [];
  const { wholeBytes } = await readJournal(found, (record) => {
    if (record.type === "session") heads.push(must(parseHead(record.body), "a head"));
    if (record.type === "chunk") chunks.push(record.chunk);
    if (record.type === "assembled") {
      const { file } = record.assembled;
      assembled[file] = pointAfter(assembled[file], record.assembled);
    }
  });
  await found.close();
  const [head] = heads;
  if (head === undefined) return undefined;
  const counters = { stagedChunks: 0, assembledBytes: 0 };
  const left = { wholeBytes, assembled: [assembled[0], assembled[1]] };
  const files = await orMissing(openSessionFiles(root, head, left, { ...staging, counters }));
  // A crash before the session's directory was synced leaves some of its files.
  if (files === undefined) return undefined;
  return { placement: files.placement, chunks, counters, close: () => closeSessionFiles(files) };
}
