/** `verify`: whether archives are whole. */
import {
  type ArchiveArgument,
  archiveArgument,
  archivePositional,
  jsonOption,
  type ParsedCommand,
  placeOptions,
  PROGRESS_OPTION,
  type ProgramSide,
  TIME_DETAIL,
} from "./archive-arguments.ts";
import type { CommandSpec } from "./program.ts";

export interface VerifyRequest {
  readonly command: "verify";
  readonly archive: ArchiveArgument;
  readonly progress: boolean;
  readonly json: boolean;
}

export function verifyCommand(side: ProgramSide): CommandSpec {
  const more =
    side === "server"
      ? "; latest or all alone: of every entry; AGENT/all, AGENT/BACKUP/all"
      : ", or all; without --backup, latest and all are of every entry";
  return {
    name: "verify",
    what: "Read archives to their end and say whether all of them is whole, and which files are hit if not.",
    options: [
      ...placeOptions(side),
      PROGRESS_OPTION,
      jsonOption(
        "Print one JSON object per archive: archive, ok, chunks, entries, archiveBytes, sha256, sha256Expected, index (none, agrees, damaged or unchecked), indexDamage, damaged[], damagedCount and durationMs.",
      ),
    ],
    positionals: [archivePositional(side, { more })],
    details: [
      TIME_DETAIL,
      "Every chunk's checksums, every compressed chunk, every tar header, and the SHA-256 of the archive, if it was recorded; and that the index beside it tells of this archive. Exits with 1 when an archive is damaged. A damaged index is a warning: index rebuild makes it again.",
    ],
  };
}

export function verifyRequest(parsed: ParsedCommand): VerifyRequest {
  const { flags, positionals } = parsed;
  return {
    ...{ command: "verify", archive: archiveArgument(parsed, positionals[0]) },
    ...{ progress: flags.has("progress"), json: flags.has("json") },
  };
}
