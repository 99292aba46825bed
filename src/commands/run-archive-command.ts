/** The archive commands of both programs: from a request to an exit status. */
import type { ArchiveRequest } from "#cli/archive-command.ts";
import { runCat } from "./cat.ts";
import type { CommandContext } from "./command-context.ts";
import { runList } from "./list.ts";
import { runRestore } from "./restore.ts";
import { runVerify } from "./verify.ts";

/** Rejects with Failure; E_OUTPUT_CLOSED is no more than the end of it. */
export async function runArchiveCommand(request: ArchiveRequest, context: CommandContext): Promise<number> {
  switch (request.command) {
    case "cat":
      return await runCat(request, context);
    case "list":
      return await runList(request, context);
    case "restore":
      return await runRestore(request, context);
    case "verify":
      return await runVerify(request, context);
  }
}
