/** `index rebuild`: an archive's index made again from the archive; only on the server. */
import {
  type ArchiveArgument,
  archiveArgument,
  archivePositional,
  jsonOption,
  type ParsedCommand,
  placeOptions,
  PROGRESS_OPTION,
} from "./archive-arguments.ts";
import { usage } from "./parse.ts";
import type { CommandSpec } from "./program.ts";

export interface IndexRequest {
  readonly command: "index";
  readonly archive: ArchiveArgument;
  /** Also where there is a good one. */
  readonly force: boolean;
  readonly progress: boolean;
  readonly json: boolean;
}

export const INDEX_COMMAND: CommandSpec = {
  name: "index",
  what: "Make the index of archives again, by reading them once: also of a .tar.gz that another program made.",
  options: [
    ...placeOptions("server"),
    { name: "force", what: "Replace an index that is good, too." },
    PROGRESS_OPTION,
    jsonOption(
      "Print one JSON object per archive: archive, index, result, entries, indexBytes, damages[], damageCount and durationMs.",
    ),
  ],
  positionals: [
    { name: "rebuild", what: "What is done; there is nothing else.", required: true, choices: ["rebuild"] },
    archivePositional("server", { more: "; all, AGENT/all, AGENT/BACKUP/all" }),
  ],
  details: [
    "The index lies beside the archive as .idx. It is written under another name and takes its place when it is complete. An index that is good stays, because one made afterwards knows less: no ctime and inode, nor what was backed up and excluded.",
    "Exits with 3 when the archive is damaged: the index has what could be read.",
  ],
};

/** Throws Failure E_USAGE. */
export function indexRequest(parsed: ParsedCommand): IndexRequest {
  const { flags, positionals } = parsed;
  const [action, archive] = positionals;
  if (action !== "rebuild") throw usage(`index ${action ?? ""} is not known`, "Write index rebuild ARCHIVE.");
  return {
    ...{ command: "index", archive: archiveArgument(parsed, archive), force: flags.has("force") },
    ...{ progress: flags.has("progress"), json: flags.has("json") },
  };
}
