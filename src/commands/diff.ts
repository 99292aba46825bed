/** diff: what is different between two archives, in the order of paths. */
import { diffIndexes } from "#archive/index-diff.ts";
import type { ArchiveArgument } from "#cli/archive-arguments.ts";
import type { DiffRequest } from "#cli/diff-command.ts";
import { type DiffCounts, diffJson, diffLine, diffSummary, type ListedDifference } from "#cli/diff-report.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { ArchiveIndex, askIndexes } from "./archive-index.ts";
import { type ArchiveTarget, findArchive } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";
import { writeLines } from "./write-lines.ts";

export async function runDiff(request: DiffRequest, context: CommandContext): Promise<number> {
  const first = await findArchive(request.before, context);
  const second = await findArchive(sameEntry(request.after, first), context);
  const before = await ArchiveIndex.open(first, context);
  try {
    const after = await ArchiveIndex.open(second, context);
    try {
      const counts: DiffCounts = { added: 0, removed: 0, changed: 0 };
      const line = (item: ListedDifference): string => {
        counts[item.change] += 1;
        return request.json ? diffJson(item) : diffLine(item);
      };
      const both = [before, after];
      await writeLines(
        askIndexes(both, () => diffIndexes(before.reader, after.reader)),
        line,
        context,
      );
      if (!request.json) await context.stdout.write(diffSummary(counts));
      return both.some(({ damageCount }) => damageCount > 0) ? EXIT.partial : EXIT.done;
    } finally {
      await after.close();
    }
  } finally {
    await before.close();
  }
}

/** A time alone is of the entry that the other one is of. */
function sameEntry({ text, scope }: ArchiveArgument, { row }: ArchiveTarget): ArchiveArgument {
  if (row === undefined || text.includes("/")) return { text, scope };
  return { text, scope: { ...scope, agent: row.agent, backup: row.backup } };
}
