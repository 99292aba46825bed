/** The commands that read one archive, as both programs have them: restore, verify, cat. */
import { type Overwrite, OVERWRITES } from "#base/overwrite.ts";
import { type ParsedArguments, usage } from "./parse.ts";
import type { CommandSpec, OptionSpec } from "./program.ts";

export interface RestoreRequest {
  readonly archive: string;
  /** Empty: everything. */
  readonly paths: readonly string[];
  /** A directory; `/` for `--in-place`; undefined for `--stdout-tar`. */
  readonly to: string | undefined;
  readonly overwrite: Overwrite;
  readonly dryRun: boolean;
  readonly stripComponents: number;
  readonly owners: boolean;
  readonly progress: boolean;
  readonly json: boolean;
}

export interface VerifyRequest {
  readonly archive: string;
  readonly progress: boolean;
  readonly json: boolean;
}

const PROGRESS: OptionSpec = {
  name: "progress",
  what: "Show progress on standard error: a bar on a terminal, lines otherwise.",
};
const ARCHIVE = { name: "ARCHIVE", what: "The archive's file.", required: true };
const STRIP_MAX = 1000;

export const RESTORE_COMMAND: CommandSpec = {
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
      what: "What happens to files that are there already: always (the default with --to), if-changed (kept if type, size, time, mode and owner are the same), if-newer, never (the default with --in-place).",
    },
    { name: "strip-components", value: "N", what: "Leave the first N directories of each name out." },
    { name: "no-owner", what: "Let everything belong to who runs this." },
    { name: "dry-run", what: "Change nothing; say what would be done." },
    { name: "stdout-tar", what: "Write a tar to standard output instead of restoring." },
    PROGRESS,
    {
      name: "json",
      what: "Print one JSON object: archive, target, result, restored, kept, deleted, bytes, problems[], problemCount, damaged[], damagedCount and durationMs.",
    },
  ],
  positionals: [
    ARCHIVE,
    { name: "PATH", what: "A path in the archive; everything below it is restored too.", required: false, many: true },
  ],
  details: [
    "An archive of nbackup or of another program: .tar.gz, .tar.zst or .tar. Damaged parts are named and passed over. Run again with --overwrite if-changed it goes on where it was interrupted.",
    "Run as root it restores owners, devices and all attributes. What the archive says cannot lead out of the directory.",
    "Exits with 3 when something could not be restored as it was (it was named).",
  ],
};

export const VERIFY_COMMAND: CommandSpec = {
  name: "verify",
  what: "Read an archive to its end and say whether all of it is whole, and which files are hit if it is not.",
  options: [
    PROGRESS,
    {
      name: "json",
      what: "Print one JSON object: archive, ok, chunks, entries, archiveBytes, sha256, sha256Expected, damaged[], damagedCount and durationMs.",
    },
  ],
  positionals: [ARCHIVE],
  details: [
    "Every compressed chunk, every tar header, and the SHA-256 of the file beside the archive, if there is one. Exits with 1 when anything is damaged.",
  ],
};

export const CAT_COMMAND: CommandSpec = {
  name: "cat",
  what: "Write the content of one file in an archive to standard output.",
  options: [],
  positionals: [ARCHIVE, { name: "PATH", what: "The file's path in the archive.", required: true }],
  details: ["Exits with 3 when some of the file is damaged: the damaged part is zeros then."],
};

type Parsed = Extract<ParsedArguments, { kind: "command" }>;

/** Throws Failure E_USAGE. */
export function restoreRequest({ flags, values, positionals }: Parsed): RestoreRequest {
  const [archive = "", ...paths] = positionals;
  const places = [values.has("to"), flags.has("in-place"), flags.has("stdout-tar")].filter(Boolean).length;
  if (places !== 1) {
    throw usage(
      places === 0 ? "restore wants to know where to" : "--to, --in-place and --stdout-tar exclude each other",
      "Give one of --to DIR, --in-place and --stdout-tar.",
    );
  }
  const stripComponents = wholeNumber("strip-components", values.get("strip-components") ?? "0", STRIP_MAX);
  const toTar = flags.has("stdout-tar");
  const useless = ["dry-run", "no-owner", "json"].find((flag) => flags.has(flag));
  const valued = ["overwrite", "strip-components"].find((name) => values.has(name));
  const senseless = useless ?? valued;
  if (toTar && senseless !== undefined) {
    throw usage(`--${senseless} does not go with --stdout-tar`, "The tar has the entries as the archive has them.");
  }
  return {
    ...{ archive, paths, stripComponents },
    to: toTar ? undefined : flags.has("in-place") ? "/" : values.get("to"),
    overwrite: overwriteOf(values.get("overwrite") ?? (flags.has("in-place") ? "never" : "always")),
    dryRun: flags.has("dry-run"),
    owners: !flags.has("no-owner"),
    progress: flags.has("progress"),
    json: flags.has("json"),
  };
}

export function verifyRequest({ flags, positionals }: Parsed): VerifyRequest {
  return { archive: positionals[0] ?? "", progress: flags.has("progress"), json: flags.has("json") };
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
