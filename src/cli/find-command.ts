/** `find`: in which archives a file is, in which versions. */
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

export interface FindRequest {
  readonly command: "find";
  readonly pattern: string;
  readonly scope: ArchiveScope;
  readonly json: boolean;
}

export function findCommand(side: ProgramSide): CommandSpec {
  return {
    name: "find",
    what: "Find files in all archives, with each version of them and the archives that have it.",
    options: [
      ...placeOptions(side),
      jsonOption(
        "Print one JSON object per version: storage, agent, backup, path, type, mode, uid, gid, size, mtime, linkTarget, first, last, archives and changed[].",
      ),
    ],
    positionals: [
      { name: "GLOB", what: 'A pattern, as under exclude: "*.conf", "/etc/**", "nginx/*.conf".', required: true },
      ...(side === "server" ? [ENTRY_POSITIONAL] : []),
    ],
    details: [
      "A pattern without a slash is matched against names, one that begins with a slash against whole paths, any other against the last names of paths. Quote it, or the shell takes it for itself.",
      "One version is what archives that follow each other have unchanged: size, time, mode, owner and attributes. Archives without an index are read whole, which takes longer. Exits with 1 when nothing was found or an archive could not be searched.",
    ],
  };
}

/** Throws Failure E_USAGE or E_NAME. */
export function findRequest(parsed: ParsedCommand): FindRequest {
  const [pattern = "", entry] = parsed.positionals;
  return { command: "find", pattern, scope: archiveScope(parsed, entry), json: parsed.flags.has("json") };
}
