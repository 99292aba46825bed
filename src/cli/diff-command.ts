/** `diff`: what is different between two archives. */
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

export interface DiffRequest {
  readonly command: "diff";
  readonly before: ArchiveArgument;
  readonly after: ArchiveArgument;
  readonly json: boolean;
}

export function diffCommand(side: ProgramSide): CommandSpec {
  return {
    name: "diff",
    what: "Say what is different between two archives: added, removed, changed, and what about it.",
    options: [
      ...placeOptions(side),
      jsonOption("Print one JSON object per path: change, path, what[], before and after."),
    ],
    positionals: [
      archivePositional(side, { name: "A" }),
      archivePositional(
        side,
        side === "server" ? { name: "B", more: "; TIME or latest alone: of the same entry as A" } : { name: "B" },
      ),
    ],
    details: [
      TIME_DETAIL,
      "Told from what the archives say of their files; contents are not compared: a file whose size, time and attributes are the same counts as the same. Exits with 0 whether there are differences or not.",
    ],
  };
}

export function diffRequest(parsed: ParsedCommand): DiffRequest {
  const [before, after] = parsed.positionals;
  return {
    ...{ command: "diff", before: archiveArgument(parsed, before), after: archiveArgument(parsed, after) },
    json: parsed.flags.has("json"),
  };
}
