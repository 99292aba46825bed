/** `list`: which archives there are. */
import {
  type ArchiveScope,
  archiveScope,
  ENTRY_POSITIONAL,
  jsonOption,
  type ParsedCommand,
  placeOptions,
  type ProgramSide,
} from "./archive-arguments.ts";
import type { CommandSpec } from "./program.ts";

export interface ListRequest {
  readonly command: "list";
  readonly scope: ArchiveScope;
  readonly json: boolean;
}

export function listCommand(side: ProgramSide): CommandSpec {
  return {
    name: "list",
    what: side === "server" ? "List the archives in the storages." : "List this agent's archives on the server.",
    options: [
      ...placeOptions(side),
      jsonOption(
        "Print one JSON object per archive: archive, storage, agent, backup, time, archiveBytes, entries, rawBytes, durationMs, problems, sha256, index and damage.",
      ),
    ],
    positionals: side === "server" ? [ENTRY_POSITIONAL] : [],
    details: [
      "The newest of each backup entry first. What nobody recorded is shown as -, in JSON null. Exits with 1 when a storage cannot be read: the others are listed all the same.",
    ],
  };
}

/** Throws Failure E_USAGE or E_NAME. */
export function listRequest(parsed: ParsedCommand): ListRequest {
  return { command: "list", scope: archiveScope(parsed, parsed.positionals[0]), json: parsed.flags.has("json") };
}
