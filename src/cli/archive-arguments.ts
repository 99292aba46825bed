/**
 * What the arguments of the archive commands have in common, in both programs: where archives are looked for, which of them, and how an
 * ARCHIVE is written. The agent sees only its own, so it names a backup entry by an option; the server has those of all agents.
 */
import { Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import { DEFAULT_AGENT_CONFIG_FILE, DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import { type ParsedArguments, usage } from "./parse.ts";
import { configOption, type OptionSpec, type PositionalSpec } from "./program.ts";

export type ProgramSide = "server" | "agent";

export type ParsedCommand = Extract<ParsedArguments, { readonly kind: "command" }>;

/** Which archives; undefined: of all. */
export interface ArchiveScope {
  readonly storage: string | undefined;
  readonly agent: string | undefined;
  readonly backup: string | undefined;
}

/** Where the stock of archives is. */
export interface ArchivePlace {
  readonly configFile: string;
  /** A storage's base directory, instead of those that the configuration names. */
  readonly storageDir: string | undefined;
}

/** As a person wrote it: the reference is read by #commands/archive-reference.ts, which knows what there is. */
export interface ArchiveArgument {
  readonly text: string;
  readonly scope: ArchiveScope;
}

const STORAGE: OptionSpec = { name: "storage", value: "NAME", what: "Only in this storage." };
const BACKUP: OptionSpec = {
  name: "backup",
  value: "NAME",
  what: "Of this backup entry; wanted where there are archives of several.",
};
const STORAGE_DIR: OptionSpec = {
  name: "storage-dir",
  value: "DIR",
  what: "A storage's base directory, in place of those of the configuration file, which is not read then.",
};

/** Options that say where archives are, and which. */
export function placeOptions(side: ProgramSide): readonly OptionSpec[] {
  return side === "server"
    ? [configOption(DEFAULT_SERVER_CONFIG_FILE), STORAGE_DIR, STORAGE]
    : [configOption(DEFAULT_AGENT_CONFIG_FILE), BACKUP, STORAGE];
}

/** `--json`. */
export function jsonOption(what: string): OptionSpec {
  return { name: "json", what };
}

export const PROGRESS_OPTION: OptionSpec = {
  name: "progress",
  what: "Show progress on standard error: a bar on a terminal, lines otherwise.",
};

/** One archive. `more` are words that the command takes as well. */
export function archivePositional(side: ProgramSide, options: { readonly name?: string; readonly more?: string } = {}) {
  const { name = "ARCHIVE", more = "" } = options;
  const what =
    side === "server"
      ? "An archive's file, AGENT/BACKUP/TIME or AGENT/BACKUP/latest"
      : "The time of an archive, or latest";
  // On the server a file is more often meant; on the agent there are none.
  const choices = side === "server" ? {} : { choices: ["latest"] };
  return { name, what: `${what}${more}.`, required: true, ...choices } satisfies PositionalSpec;
}

/** How a TIME may be written, for the help. */
export const TIME_DETAIL =
  'TIME is as list shows it: 2026-02-12T02-00-00-123Z, "2026-02-12 02:00", or any beginning of it that only one archive has. latest is the newest that has not been found damaged.';

/** Which entries, for commands about many archives: the server's last positional. */
export const ENTRY_POSITIONAL: PositionalSpec = {
  name: "AGENT[/BACKUP]",
  what: "Only of this agent, or of this backup entry of it.",
  required: false,
};

export function archivePlace({ values }: ParsedCommand, side: ProgramSide): ArchivePlace {
  const [config, storageDir] = [values.get("config"), values.get("storage-dir")];
  if (config !== undefined && storageDir !== undefined) {
    throw usage("--config and --storage-dir exclude each other", "With --storage-dir no configuration is read.");
  }
  const byDefault = side === "server" ? DEFAULT_SERVER_CONFIG_FILE : DEFAULT_AGENT_CONFIG_FILE;
  return { configFile: config ?? byDefault, storageDir };
}

/** Throws Failure E_USAGE or E_NAME. */
export function archiveScope({ values }: ParsedCommand, entry?: string): ArchiveScope {
  const [agent, backup, ...more] = entry?.split("/") ?? [];
  if (more.length > 0) throw usage(`${entry ?? ""} is no AGENT/BACKUP`, "Name an agent, or an agent and its backup.");
  const scope = {
    storage: values.get("storage"),
    agent,
    // A slash at the end, as shells complete it.
    backup: backup === "" ? undefined : (backup ?? values.get("backup")),
  };
  // A storage's name may be a directory, where it has no other.
  for (const [what, name] of [["agent", scope.agent] as const, ["backup", scope.backup] as const]) {
    if (name !== undefined && !isName(name)) throw new Failure("E_NAME", `the ${what} is ${JSON.stringify(name)}`);
  }
  return scope;
}

export function archiveArgument(parsed: ParsedCommand, text: string | undefined): ArchiveArgument {
  return { text: text ?? "", scope: archiveScope(parsed) };
}
