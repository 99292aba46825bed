/** `cat`: one file of an archive to standard output. */
import {
  type ArchiveArgument,
  archiveArgument,
  archivePositional,
  type ParsedCommand,
  placeOptions,
  type ProgramSide,
  TIME_DETAIL,
} from "./archive-arguments.ts";
import type { CommandSpec } from "./program.ts";

export interface CatRequest {
  readonly command: "cat";
  readonly archive: ArchiveArgument;
  readonly path: string;
}

export function catCommand(side: ProgramSide): CommandSpec {
  return {
    name: "cat",
    what: "Write the content of one file in an archive to standard output.",
    options: placeOptions(side),
    positionals: [archivePositional(side), { name: "PATH", what: "The file's path in the archive.", required: true }],
    details: [
      TIME_DETAIL,
      "Exits with 3 when some of the file is damaged: the damaged part is zeros then; and when an archive without an index has several files of that path, of which the first is written and the last would be restored, or has another SHA-256 than is stored beside it.",
    ],
  };
}

export function catRequest(parsed: ParsedCommand): CatRequest {
  const [archive, path = ""] = parsed.positionals;
  return { command: "cat", archive: archiveArgument(parsed, archive), path };
}
