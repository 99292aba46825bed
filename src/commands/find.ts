/** find: the files that a pattern matches in all archives of a scope, one backup entry after another. */
import { comparePaths, equalBytes } from "#archive/bytes.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import { findPattern } from "#archive/index-queries.ts";
import type { Batches } from "#archive/index-reader.ts";
import { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { failureText } from "#cli/failure-text.ts";
import type { FindRequest } from "#cli/find-command.ts";
import { findJson, findText, type ListedHistory } from "#cli/find-report.ts";
import type { ArchiveRow } from "#restore/archive-stock.ts";
import { ArchiveIndex, askIndexes } from "./archive-index.ts";
import { rowTarget } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";
import { attempted } from "./failures.ts";
import { type ArchiveFinds, type FileHistory, fileHistories } from "#restore/file-versions.ts";
import { IndexPool } from "./index-pool.ts";
import { writeLines } from "./write-lines.ts";

const OPEN_MAX = 64;
/** Of an archive that is not sorted what is found is sorted in memory: about 500 bytes each. */
const UNSORTED_FOUND_MAX = 1_000_000;

export async function runFind(request: FindRequest, context: CommandContext): Promise<number> {
  const { stderr } = context;
  const stock = await context.stock();
  const { rows, failures } = await stock.list(request.scope);
  for (const failure of failures) stderr.write(failureText(failure));
  let [found, incomplete] = [0, failures.length > 0];
  const entries = Map.groupBy(rows, ({ agent, backup }) => `${agent}/${backup}`);
  for (const entry of entries.values()) {
    const oldestFirst = entry.toSorted((a, b) => a.timeMs - b.timeMs);
    const pool = new IndexPool(OPEN_MAX);
    const opened: (readonly [ArchiveRow, ArchiveIndex])[] = [];
    try {
      for (const row of oldestFirst) {
        const target = pool.pooled(rowTarget(row, stock));
        // One that cannot be searched does not keep the others from being.
        const index = await attempted(target.name, stderr, () => ArchiveIndex.open(target, context));
        if (index === undefined) incomplete = true;
        else opened.push([row, index]);
      }
      found += await search(request, opened, context);
      if (opened.some(([, index]) => index.damageCount > 0)) incomplete = true;
    } finally {
      for (const [, index] of opened) await index.close();
    }
  }
  if (found === 0)
    stderr.write(
      `nothing matches ${safeText(request.pattern)} in ${rows.length === 1 ? "1 archive" : `${rows.length} archives`}\n`,
    );
  return found === 0 || incomplete ? EXIT.failed : EXIT.done;
}

async function search(
  { pattern: text, json }: FindRequest,
  opened: readonly (readonly [ArchiveRow, ArchiveIndex])[],
  context: CommandContext,
): Promise<number> {
  const pattern = context.argumentBytes(text);
  const finds = opened.map(([archive, index]): ArchiveFinds<ArchiveRow> => {
    return { archive, entries: askIndexes([index], () => inOrder(index, pattern)) };
  });
  return await writeLines(fileHistories(finds), (one) => (json ? findJson : findText)(listed(one)), context);
}

/** What an index has found, by path and every path once: of several entries the last one counts. */
async function* inOrder(index: ArchiveIndex, pattern: Uint8Array): Batches<IndexEntry> {
  const { reader, target } = index;
  if (reader.totals.sorted) {
    yield* findPattern(reader, pattern);
    return;
  }
  const all: IndexEntry[] = [];
  for await (const batch of findPattern(reader, pattern)) {
    all.push(...batch);
    if (all.length > UNSORTED_FOUND_MAX) {
      throw new Failure("E_INDEX_UNSORTED", `${target.name} has more than ${UNSORTED_FOUND_MAX} matches, in no order`);
    }
  }
  all.sort((a, b) => comparePaths(a.path, b.path) || a.number - b.number);
  const last = all.filter((entry, i) => {
    const next = all[i + 1];
    return next === undefined || !equalBytes(entry.path, next.path);
  });
  if (last.length > 0) yield last;
}

function listed({ path, versions }: FileHistory<ArchiveRow>): ListedHistory {
  const [oldest] = versions;
  return {
    ...{ agent: oldest?.last.agent ?? "", backup: oldest?.last.backup ?? "", path },
    versions: versions.map(({ file, first, last, archiveCount, changed }) => ({
      ...{ file, storage: last.storage, first: first.name, last: last.name, archiveCount, changed },
    })),
  };
}
