/** `ls`: what is in an archive. */
import {
  type ArchiveArgument,
  archiveArgument,
  archivePositional,
  jsonOption,
  type ParsedCommand,
  placeOptions,
  type ProgramSide,
  TIME_DETAIL,
} from "./archive-arguments.ts";
import type { CommandSpec } from "./program.ts";

export interface LsRequest {
  readonly command: "ls";
  readonly archive: ArchiveArgument;
  /** Undefined: the top of the archive. */
  readonly path: string | undefined;
  readonly recursive: boolean;
  readonly json: boolean;
}

export function lsCommand(side: ProgramSide): CommandSpec {
  return {
    name: "ls",
    what: "List the files of an archive: mode, owner, size, time and name, as ls -l does.",
    options: [
      ...placeOptions(side),
      { name: "recursive", what: "Also everything below the directories; names are whole paths then." },
      jsonOption(
        "Print one JSON object per file: path, type, mode, uid, gid, size, mtime, linkTarget, device, sparse, changed and short.",
      ),
    ],
    positionals: [
      archivePositional(side),
      { name: "PATH", what: "A directory or file in the archive; without it, its top.", required: false },
    ],
    details: [
      TIME_DETAIL,
      "Times are UTC. A directory above what was backed up is not in the archive itself and is shown with dashes. Without an index beside it the archive is read whole, which takes longer.",
    ],
  };
}

export function lsRequest(parsed: ParsedCommand): LsRequest {
  const { flags, positionals } = parsed;
  const [archive, path] = positionals;
  return {
    ...{ command: "ls", archive: archiveArgument(parsed, archive), path },
    ...{ recursive: flags.has("recursive"), json: flags.has("json") },
  };
}
