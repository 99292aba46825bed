/** index rebuild: the indexes of archives made again from the archives, one after another. */
import { IndexReader } from "#archive/index-reader.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import { EXIT, worstExit } from "#cli/exit-codes.ts";
import type { IndexRequest } from "#cli/index-command.ts";
import { indexExit, indexJson, type IndexReport, indexText } from "#cli/index-report.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { indexSource } from "#restore/index-source.ts";
import { rebuildIndex } from "#restore/rebuild.ts";
import { withReadingProgress } from "./archive-jobs.ts";
import { type ArchiveTarget, findArchives, indexFileOf } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";
import { attempted } from "./failures.ts";
import { newIndexFile } from "./index-file.ts";

/** Damages named; more are counted. */
const NAMED_MAX = 100;

export async function runIndexRebuild(request: IndexRequest, context: CommandContext): Promise<number> {
  const { stdout, stderr } = context;
  const { targets, incomplete } = await findArchives(request.archive, context);
  // What nobody could look at is not known to be well.
  const exits: number[] = incomplete ? [EXIT.failed] : [];
  for (const target of targets) {
    const report = await attempted(targets.length > 1 ? target.name : undefined, stderr, () =>
      rebuildOne(target, request, context),
    );
    if (report === undefined) {
      exits.push(EXIT.failed);
      continue;
    }
    for (const damage of report.damages) {
      stderr.write(`warning: ${safeText(target.name)}: ${safeText(damage)}\n`);
    }
    await stdout.write(request.json ? indexJson(report) : indexText(report));
    exits.push(indexExit(report));
  }
  return worstExit(exits);
}

async function rebuildOne(target: ArchiveTarget, request: IndexRequest, context: CommandContext): Promise<IndexReport> {
  const { clock, signal } = context;
  if (target.file === undefined) throw new Failure("E_INTERNAL", "an index is made where the archive is");
  const file = indexFileOf(target.file);
  const startedMs = clock.now();
  const damages: string[] = [];
  let damageCount = 0;
  const report = (result: IndexReport["result"], entries: number, indexBytes: number): IndexReport => {
    const durationMs = clock.now() - startedMs;
    return { archive: target.name, index: file, result, entries, indexBytes, damages, damageCount, durationMs };
  };
  const { archive, index, close } = await target.open();
  try {
    if (index !== undefined) {
      const entries = request.force ? undefined : await entriesOfGood(index, archive.size);
      if (entries !== undefined) return report("kept", entries, index.size);
      await checkReplaceable(index, file, request.force);
    }
    const made = newIndexFile(target.file, file, context);
    try {
      await withReadingProgress(request.progress, "reading", archive, context, (access) =>
        rebuildIndex({
          ...{ access, signal, archive: target.row === undefined ? undefined : target.name },
          write: (stored) => made.write(stored),
          onDamage: ({ message }) => {
            damageCount += 1;
            if (damages.length < NAMED_MAX) damages.push(message);
          },
        }),
      );
      const { totals } = await IndexReader.open(indexSource(made.access));
      const { size } = made.access;
      made.putInPlace();
      return report("rebuilt", totals.entries, size);
    } finally {
      made.close();
    }
  } finally {
    await close();
  }
}

/** How many entries an index has that can be read to its end and is of this archive; undefined for any other. */
async function entriesOfGood(access: ArchiveAccess, archiveBytes: number): Promise<number | undefined> {
  try {
    const index = await IndexReader.open(indexSource(access));
    const { totals } = index;
    if (totals.storedBytes !== archiveBytes) return undefined;
    for await (const _batch of index.entries());
    for await (const _batch of index.chunks());
    return totals.entries;
  } catch (error) {
    if (toFailure(error).code !== "E_INDEX_DAMAGED") throw error;
    return undefined;
  }
}

/** What does not even begin as an index does is somebody's own file. */
async function checkReplaceable(access: ArchiveAccess, file: string, force: boolean): Promise<void> {
  const head = new Uint8Array(4);
  const length = await access.read(head, 0);
  const gzip = head[0] === 0x1f && head[1] === 0x8b;
  const zstd = new DataView(head.buffer).getUint32(0, true) === 0xfd2fb528;
  if (length === 0 || gzip || zstd || force) return;
  throw new Failure("E_WRITE", `${file} is no index, and is not replaced`, {
    hint: "Move it away, or replace it with --force.",
  });
}
