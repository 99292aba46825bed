/** The archive commands of both programs: from a request to an exit status. */
import { errnoName, Failure } from "#base/errors.ts";
import type { ArchiveRequest } from "#cli/archive-command.ts";
import { runCat } from "./cat.ts";
import type { CommandContext } from "./command-context.ts";
import { runDiff } from "./diff.ts";
import { runFind } from "./find.ts";
import { runIndexRebuild } from "./index-rebuild.ts";
import { runList } from "./list.ts";
import { runLs } from "./ls.ts";
import { runRestore } from "./restore.ts";
import { runVerify } from "./verify.ts";

/** Rejects with Failure; E_OUTPUT_CLOSED is no more than the end of it. */
export async function runArchiveCommand(request: ArchiveRequest, context: CommandContext): Promise<number> {
  try {
    return await run(request, context);
  } catch (error) {
    throw errnoName(error) === undefined ? error : unreadable(error);
  }
}

/** What a disk answered where an archive was read; everything else that touches a disk says itself what it was doing. */
function unreadable(cause: unknown): Failure {
  return new Failure("E_ARCHIVE_READ", `the disk cannot read the archive (${errnoName(cause) ?? ""})`, {
    hint: "Check the disk. What of the archive can be read, restore and cat give.",
    cause,
  });
}

async function run(request: ArchiveRequest, context: CommandContext): Promise<number> {
  switch (request.command) {
    case "cat":
      return await runCat(request, context);
    case "diff":
      return await runDiff(request, context);
    case "find":
      return await runFind(request, context);
    case "index":
      return await runIndexRebuild(request, context);
    case "ls":
      return await runLs(request, context);
    case "list":
      return await runList(request, context);
    case "restore":
      return await runRestore(request, context);
    case "verify":
      return await runVerify(request, context);
  }
}
