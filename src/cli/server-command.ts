/** The command line of nbackup-server. */
import { Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import { DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import { completionCommand, type CompletionRequest, completionRequest, type NameKind } from "./completion-command.ts";
import { helpText } from "./help.ts";
import { type ParsedArguments, parseArguments, usage } from "./parse.ts";
import { PKI_SUBCOMMANDS } from "./pki-words.ts";
import { type CommandSpec, configOption, type OptionSpec, type ProgramSpec } from "./program.ts";
import { type ArchivePlace, archivePlace } from "./archive-arguments.ts";
import { SCRUB_COMMAND, type ScrubRequest, scrubRequest } from "./scrub-command.ts";
import { setupCommand, type SetupRequest, setupRequest } from "./setup-command.ts";
import { type OrderCommand, orderCommand, orderCommands } from "./order-commands.ts";
import { archiveCommands, type ArchiveRequest, archiveRequest } from "./archive-command.ts";

export type ServerCommand =
  /** Print the text to standard output, exit 0. */
  | { readonly command: "print"; readonly text: string }
  | { readonly command: "serve"; readonly configFile: string }
  | { readonly command: "check-config"; readonly configFile: string; readonly json: boolean }
  | { readonly command: "setup"; readonly request: SetupRequest }
  /** One of those that look into archives. */
  | { readonly command: "archives"; readonly place: ArchivePlace; readonly request: ArchiveRequest }
  | { readonly command: "scrub"; readonly request: ScrubRequest }
  /** What stands after `pki`, unread: pki-tools has its own command line and help. */
  | { readonly command: "pki"; readonly args: readonly string[] }
  /** Undefined: to standard output. */
  | { readonly command: "web-password"; readonly output: string | undefined }
  | CompletionRequest
  | AskCommand;

/** Those that ask the running server. */
export type AskCommand = { readonly configFile: string; readonly json: boolean } & (
  | { readonly command: "status" | "sessions" | "agents" }
  | { readonly command: "run"; readonly agent: string; readonly backup: string }
  | { readonly command: "history"; readonly limit: number; readonly agent: string | undefined }
  | { readonly command: "events"; readonly limit: number }
  | { readonly command: "abort"; readonly session: string }
  | OrderCommand
  | {
      readonly command: "prune";
      readonly agent: string | undefined;
      readonly backup: string | undefined;
      readonly storage: string | undefined;
      readonly dryRun: boolean;
    }
);

const ROWS_DEFAULT = 50;
const ROWS_MAX = 10_000;

const CONFIG = configOption(DEFAULT_SERVER_CONFIG_FILE);
const NAMES: readonly NameKind[] = ["storages"];
const LIMIT: OptionSpec = {
  name: "limit",
  value: "N",
  what: `At most so many, the newest; without it ${ROWS_DEFAULT}.`,
};
const BY_SOCKET =
  "Talks to the running server over control.sock in its state directory, so it wants root or the user that the server runs as. Exits with 1 when no server runs.";

const jsonOption = (what: string): OptionSpec => ({ name: "json", what });

const ASK_COMMANDS: readonly CommandSpec[] = [
  {
    name: "status",
    what: "Show what the running server does and how its storages are.",
    options: [CONFIG, jsonOption("Print one JSON object, metrics included.")],
    positionals: [],
    details: [BY_SOCKET],
  },
  {
    name: "sessions",
    what: "List the sessions that run and the agents that wait for one.",
    options: [CONFIG, jsonOption("Print one JSON object per session.")],
    positionals: [],
    details: [BY_SOCKET],
  },
  {
    name: "agents",
    what: "List the agents: those that are connected, with what they run, those that were seen before, and those that have only enrolled.",
    options: [CONFIG, jsonOption("Print one JSON object per agent.")],
    positionals: [],
    details: [BY_SOCKET, "An agent is connected while its daemon runs with daemon.control_channel.enabled."],
  },
  {
    name: "run",
    what: "Have a connected agent run a backup entry now, and wait until it says whether it does.",
    options: [CONFIG, jsonOption("Print one JSON object: agent, backup and message.")],
    positionals: [
      { name: "AGENT", what: "Its name, as nbackup-server agents shows it.", required: true },
      { name: "BACKUP", what: "The backup entry of its configuration.", required: true },
    ],
    details: [
      BY_SOCKET,
      "Exits with 0 when the run begins or waits for others of that agent; with 1 when the agent is not connected, has no such entry (E_BACKUP_UNKNOWN), runs it already (E_BUSY), is stopping, or says nothing for 30 s. How it ends is in nbackup-server history.",
    ],
  },
  {
    name: "history",
    what: "List how the last sessions ended and which agents were refused, the newest first.",
    options: [
      CONFIG,
      LIMIT,
      { name: "agent", value: "NAME", what: "Only of this agent." },
      jsonOption("Print one JSON object per session."),
    ],
    positionals: [],
    details: [BY_SOCKET],
  },
  {
    name: "events",
    what: "List the last events, the newest first.",
    options: [CONFIG, LIMIT, jsonOption("Print one JSON object per event.")],
    positionals: [],
    details: [BY_SOCKET],
  },
  {
    name: "abort",
    what: "End a session that runs: what it stored is removed, and its agent is told not to try again by itself.",
    options: [CONFIG, jsonOption("Print one JSON object: session and outcome.")],
    positionals: [{ name: "SESSION", what: "Its id, as nbackup-server sessions shows it.", required: true }],
    details: [BY_SOCKET, "A commit that has begun wins: then the archive stands, and the command exits with 1."],
  },
  ...orderCommands(CONFIG, BY_SOCKET),
  {
    name: "prune",
    what: "Apply the rotation now: remove what max_backups and min_age of the configuration file do not keep.",
    options: [
      CONFIG,
      { name: "dry-run", what: "Only say what would be removed." },
      { name: "storage", value: "NAME", what: "Only in this storage." },
      jsonOption("Print one JSON object: dryRun, entries[] and failures[]."),
    ],
    positionals: [
      { name: "AGENT", what: "Only of this agent.", required: false },
      { name: "BACKUP", what: "Only this backup entry of it.", required: false },
    ],
    details: [
      "Works on a disk without a free byte. A running server does it; without one the command does it by itself. A storage that cannot be pruned is named, and the others are pruned all the same; then it exits with 1.",
    ],
  },
];

export const SERVER_PROGRAM: ProgramSpec = {
  name: "nbackup-server",
  what: "receives backups from agents and keeps the newest of them",
  commands: [
    {
      name: "",
      what: "Serve agents until SIGTERM or SIGINT.",
      options: [CONFIG],
      positionals: [],
      details: [],
    },
    {
      name: "check-config",
      what: "Read the configuration and say everything that is wrong with it, without starting anything.",
      options: [CONFIG, { name: "json", what: "Print one JSON object: file, ok, problems[] and warnings[]." }],
      positionals: [],
      details: [
        "Each problem names file, line, key, what was found and what is allowed. Certificates are loaded too. Exits with 0 when the configuration can be used, else with 2.",
      ],
    },
    setupCommand(CONFIG),
    ...archiveCommands("server"),
    SCRUB_COMMAND,
    {
      name: "pki",
      what: "Make and show the CA and certificates; nbackup-server pki --help says more.",
      options: [],
      positionals: [],
      details: [],
      passThrough: true,
      subcommands: PKI_SUBCOMMANDS,
    },
    {
      name: "web-password",
      what: "Make the hash of a password for the page, for web_ui.password_file.",
      options: [
        { name: "output", value: "FILE", what: "Write it there, for this user only; without it to standard output." },
      ],
      positionals: [],
      details: [
        "Asks for the password, twice, or takes the first line of standard input. The hash is argon2id. A server that runs uses a new password after a restart.",
      ],
    },
    ...ASK_COMMANDS,
    completionCommand(CONFIG, NAMES),
  ],
  footer: [
    "Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but something could not be restored as it was (it was named); 130 interrupted; 141 nobody read the output to its end.",
    "In paths, bytes that are not UTF-8 are printed as \\xNN, control characters as \\n, \\t or \\xNN, a backslash as two.",
  ],
};

/** What the arguments (without the program's own name) ask for. Throws Failure E_USAGE. */
export function parseServerCommand(argv: readonly string[], version: string): ServerCommand {
  const parsed = parseArguments(SERVER_PROGRAM, argv);
  if (parsed.kind === "help") return { command: "print", text: helpText(SERVER_PROGRAM, parsed.command) };
  if (parsed.kind === "version") return { command: "print", text: `${SERVER_PROGRAM.name} ${version}\n` };
  if (parsed.command === "setup") return { command: "setup", request: setupRequest(parsed) };
  if (parsed.command === "pki") return { command: "pki", args: parsed.positionals };
  const request = archiveRequest(parsed);
  if (request !== undefined) return { command: "archives", place: archivePlace(parsed, "server"), request };
  if (parsed.command === "web-password") return { command: "web-password", output: parsed.values.get("output") };
  if (parsed.command === "scrub") return { command: "scrub", request: scrubRequest(parsed) };
  const configFile = parsed.values.get("config") ?? DEFAULT_SERVER_CONFIG_FILE;
  if (parsed.command === "completion") return completionRequest(SERVER_PROGRAM, parsed, { configFile, names: NAMES });
  const json = parsed.flags.has("json");
  if (parsed.command === "check-config") return { command: "check-config", configFile, json };
  if (parsed.command === "") return { command: "serve", configFile };
  return askCommand(parsed, { configFile, json });
}

type Parsed = Extract<ParsedArguments, { readonly kind: "command" }>;

function askCommand(parsed: Parsed, common: { readonly configFile: string; readonly json: boolean }): AskCommand {
  const order = orderCommand(parsed);
  if (order !== undefined) return { ...common, ...order };
  const { command, flags, values, positionals } = parsed;
  const [first, second] = positionals;
  switch (command) {
    case "history":
      return { ...common, command, limit: limitOf(values), agent: values.get("agent") };
    case "events":
      return { ...common, command, limit: limitOf(values) };
    case "abort":
      return { ...common, command, session: first ?? "" };
    case "run": {
      const agent = named("AGENT", first ?? "") ?? "";
      return { ...common, command, agent, backup: named("BACKUP", second ?? "") ?? "" };
    }
    case "agents":
      return { ...common, command };
    case "prune":
      return {
        ...{ ...common, command, agent: named("AGENT", first), backup: named("BACKUP", second) },
        ...{ storage: values.get("storage"), dryRun: flags.has("dry-run") },
      };
    default:
      return { ...common, command: command === "sessions" ? "sessions" : "status" };
  }
}

/** Throws Failure E_NAME. */
function named(what: string, name: string | undefined): string | undefined {
  if (name !== undefined && !isName(name)) throw new Failure("E_NAME", `${what} is ${JSON.stringify(name)}`);
  return name;
}

function limitOf(values: ReadonlyMap<string, string>): number {
  const text = values.get("limit") ?? String(ROWS_DEFAULT);
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= ROWS_MAX) return limit;
  throw usage(`--limit is ${text}`, `Write a whole number from 1 to ${ROWS_MAX}.`);
}
