/** `restore`: an archive, or some of it, back to a disk. */
import { type Overwrite, OVERWRITES } from "#base/overwrite.ts";
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
import { usage } from "./parse.ts";
import type { CommandSpec } from "./program.ts";

export interface RestoreRequest {
  readonly command: "restore";
  readonly archive: ArchiveArgument;
  /** Empty: everything. */
  readonly paths: readonly string[];
  /** A directory; `/` for `--in-place`; undefined for `--stdout-tar`. */
  readonly to: string | undefined;
  readonly overwrite: Overwrite;
  /** What the archive does not have goes from the directories that are restored. */
  readonly deletes: boolean;
  readonly dryRun: boolean;
  readonly stripComponents: number;
  readonly owners: boolean;
  readonly progress: boolean;
  readonly json: boolean;
}

const STRIP_MAX = 1000;

export function restoreCommand(side: ProgramSide): CommandSpec {
  return {
    name: "restore",
    what: "Restore an archive, or some paths of it, into a directory.",
    options: [
      { name: "to", value: "DIR", what: "Restore below this directory, which is made if it is missing." },
      {
        name: "in-place",
        what: "Restore to where everything came from. Nothing that is there is replaced unless --overwrite says so.",
      },
      {
        name: "overwrite",
        value: "WHEN",
        choices: OVERWRITES,
        what: "What happens to files that are there already: always (the default with --to), if-changed (kept if type, size, time, mode and owner are the same), if-newer, never (the default with --in-place).",
      },
      {
        name: "delete",
        what: "Remove from directories that are restored what the archive does not have, but nothing that the backup left out on purpose or could not read. Refused if the backup does not know all that it missed, if something that it could not read is no longer in its place in DIR, and together with --strip-components.",
      },
      { name: "strip-components", value: "N", what: "Leave the first N directories of each name out." },
      { name: "no-owner", what: "Let everything belong to who runs this." },
      { name: "dry-run", what: "Change nothing; say what would be done." },
      { name: "stdout-tar", what: "Write a tar to standard output instead of restoring." },
      ...placeOptions(side),
      PROGRESS_OPTION,
      jsonOption(
        "Print one JSON object: archive, target, result, restored, kept, deleted, bytes, problems[], problemCount, damaged[], damagedCount, replacedLinks[], replacedLinkCount, sha256Differs and durationMs.",
      ),
    ],
    positionals: [
      archivePositional(side),
      {
        name: "PATH",
        what: "A path in the archive; everything below it is restored too.",
        required: false,
        many: true,
      },
    ],
    details: [
      ...(side === "server" ? ["An archive's file may be of another program: .tar.gz, .tar.zst or .tar."] : []),
      TIME_DETAIL,
      "Damaged parts are named and passed over. Run again with --overwrite if-changed it goes on where it was interrupted. Run as root it restores owners, devices and all attributes. What the archive says cannot lead out of the directory.",
      "Exits with 3 when something could not be restored as it was, or some of the paths are not in the archive (they were named); with 1 when none of them is.",
    ],
  };
}

/** Throws Failure E_USAGE. */
export function restoreRequest(parsed: ParsedCommand): RestoreRequest {
  const { flags, values, positionals } = parsed;
  const [archive, ...paths] = positionals;
  const places = [values.has("to"), flags.has("in-place"), flags.has("stdout-tar")].filter(Boolean).length;
  if (places !== 1) {
    throw usage(
      places === 0 ? "restore wants to know where to" : "--to, --in-place and --stdout-tar exclude each other",
      "Give one of --to DIR, --in-place and --stdout-tar.",
    );
  }
  // A variable of a shell that is not set: it would bring back, and in place replace, everything.
  if (paths.includes("")) {
    throw usage("a path to restore is empty", "Name it; without any path, or with /, all of the archive is restored.");
  }
  const stripComponents = wholeNumber("strip-components", values.get("strip-components") ?? "0", STRIP_MAX);
  const toTar = flags.has("stdout-tar");
  const useless = ["dry-run", "no-owner", "delete", "json"].find((flag) => flags.has(flag));
  const valued = ["overwrite", "strip-components"].find((name) => values.has(name));
  const senseless = useless ?? valued;
  if (toTar && senseless !== undefined) {
    throw usage(`--${senseless} does not go with --stdout-tar`, "The tar has the entries as the archive has them.");
  }
  // Two directories of the archive can become one, and each would take away what the other has.
  if (flags.has("delete") && stripComponents > 0) {
    throw usage(
      "--delete does not go with --strip-components",
      "Restore without --delete, and remove by hand what should not be there.",
    );
  }
  return {
    ...{ command: "restore", archive: archiveArgument(parsed, archive), paths, stripComponents },
    to: toTar ? undefined : flags.has("in-place") ? "/" : values.get("to"),
    overwrite: overwriteOf(values.get("overwrite") ?? (flags.has("in-place") ? "never" : "always")),
    deletes: flags.has("delete"),
    dryRun: flags.has("dry-run"),
    owners: !flags.has("no-owner"),
    progress: flags.has("progress"),
    json: flags.has("json"),
  };
}

function overwriteOf(text: string): Overwrite {
  const found = OVERWRITES.find((one) => one === text);
  if (found !== undefined) return found;
  throw usage(`--overwrite takes ${OVERWRITES.join(", ")}, not ${text}`, "Give one of them.");
}

function wholeNumber(option: string, text: string, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= most) return value;
  throw usage(`--${option} takes a number from 0 to ${most}, not ${text}`, "Give a whole number.");
}
