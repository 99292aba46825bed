/** The command line of nbackup-agent. */
import { parseAddress } from "#config/address.ts";
import { DEFAULT_AGENT_CONFIG_FILE } from "#config/defaults.ts";
import type { Address } from "#config/types.ts";
import { archivePlace } from "./archive-arguments.ts";
import { archiveCommands, type ArchiveRequest, archiveRequest } from "./archive-command.ts";
import { completionCommand, type CompletionRequest, completionRequest, type NameKind } from "./completion-command.ts";
import { enrollCommand, type EnrollRequest, enrollRequest } from "./enroll-command.ts";
import { helpText } from "./help.ts";
import { parseArguments, usage } from "./parse.ts";
import { configOption, type ProgramSpec } from "./program.ts";

export type AgentCommand =
  /** Print the text to standard output, exit 0. */
  | { readonly command: "print"; readonly text: string }
  | {
      readonly command: "once";
      readonly configFile: string;
      /** undefined: all entries in the order of the file. */
      readonly backup: string | undefined;
      readonly progress: boolean;
      readonly json: boolean;
      /** Stay until the server has verified the archives. */
      readonly waitVerify: boolean;
    }
  /** The daemon. */
  | { readonly command: "serve"; readonly configFile: string }
  | { readonly command: "status"; readonly configFile: string; readonly json: boolean }
  | { readonly command: "check-config"; readonly configFile: string; readonly json: boolean }
  /** One of those that look into archives. */
  | { readonly command: "archives"; readonly configFile: string; readonly request: ArchiveRequest }
  | CompletionRequest
  | { readonly command: "enroll"; readonly request: EnrollRequest }
  | {
      readonly command: "health";
      readonly configFile: string;
      /** Instead of `server.address`. */
      readonly server: Address;
      readonly json: boolean;
    };

const CONFIG = configOption(DEFAULT_AGENT_CONFIG_FILE);
const NAMES: readonly NameKind[] = ["backups", "storages"];

export const AGENT_PROGRAM: ProgramSpec = {
  name: "nbackup-agent",
  what: "backs up this machine to an nbackup-server",
  commands: [
    {
      name: "",
      what: "Back up by the schedules of the configuration until told to stop, or now and exit with --once.",
      options: [
        CONFIG,
        { name: "once", what: "Run the backup entries of the configuration once, in its order." },
        { name: "backup", value: "NAME", what: "Only this entry." },
        {
          name: "wait-verify",
          what: "Where the storage has verify_integrity: true, wait until the server has verified the archive; one that is damaged is exit code 1.",
        },
        { name: "progress", what: "Show progress on standard error: a bar on a terminal, lines otherwise." },
        {
          name: "json",
          what: "Print one JSON object per entry on standard output: backup, storage, session, result, archive, sha256, entries, rawBytes, archiveBytes, resentBytes, skipped[], sockets[] (the first), socketCount, durationMs and verify.",
        },
      ],
      positionals: [],
      details: [
        "Without --once: SIGHUP reads the configuration and certificates again and opens the log file anew, without touching backups that run; SIGTERM gives those up and ends.",
      ],
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
    enrollCommand(CONFIG),
    ...archiveCommands("agent"),
    {
      name: "health",
      what: "Ask a server whether it can take a backup now.",
      options: [
        CONFIG,
        {
          name: "json",
          what: "Print one JSON object: server, state, software, sessions, storages[] and storageCount.",
        },
      ],
      positionals: [{ name: "HOST:PORT", what: "The server, in place of server.address.", required: true }],
      details: [
        "Certificates are those of the configuration. Exit codes: 0 READY; 1 unreachable; 2 wrong usage or configuration; 10 BUSY: all sessions are taken, or agents wait in line; 11 LOW DISK: a storage has less free than its reserve, is full or cannot be used; 12 MAINTENANCE.",
      ],
    },
    {
      name: "status",
      what: "Show what the daemon on this machine is at: next runs, last results, progress.",
      options: [
        CONFIG,
        {
          name: "json",
          what: "Print one JSON object: software, pid, agent, server, entries[] with schedule, nextWallMs, activity, running, last, lastCommitted …",
        },
      ],
      positionals: [],
      details: ["It finds the daemon by agent.state_dir. Exits with 1 when none runs."],
    },
    completionCommand(CONFIG, NAMES),
  ],
  footer: [
    "Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but some files could not be read as they are, or not be restored as they were (their names were printed); 130 interrupted; 141 nobody read the output to its end. With several entries the worst of them: 1 before 3 before 0.",
    "In paths, bytes that are not UTF-8 are printed as \\xNN, control characters as \\n, \\t or \\xNN, a backslash as two.",
  ],
};

/** What the arguments (without the program's own name) ask for. Throws Failure E_USAGE. */
export function parseAgentCommand(argv: readonly string[], version: string): AgentCommand {
  const parsed = parseArguments(AGENT_PROGRAM, argv);
  if (parsed.kind === "help") return { command: "print", text: helpText(AGENT_PROGRAM, parsed.command) };
  if (parsed.kind === "version") return { command: "print", text: `${AGENT_PROGRAM.name} ${version}\n` };
  const request = archiveRequest(parsed);
  if (request !== undefined) {
    return { command: "archives", configFile: archivePlace(parsed, "agent").configFile, request };
  }
  if (parsed.command === "enroll") return { command: "enroll", request: enrollRequest(parsed) };
  const { flags, values } = parsed;
  const configFile = values.get("config") ?? DEFAULT_AGENT_CONFIG_FILE;
  if (parsed.command === "completion") return completionRequest(AGENT_PROGRAM, parsed, { configFile, names: NAMES });
  const json = flags.has("json");
  if (parsed.command === "check-config") return { command: "check-config", configFile, json };
  if (parsed.command === "status") return { command: "status", configFile, json };
  if (parsed.command === "health") {
    return { command: "health", configFile, server: serverAddress(parsed.positionals[0] ?? ""), json };
  }
  if (!flags.has("once")) {
    const alone =
      ["progress", "json", "wait-verify"].find((flag) => flags.has(flag)) ??
      (values.has("backup") ? "backup" : undefined);
    if (alone !== undefined) throw usage(`--${alone} goes with --once`, "Add --once.");
    return { command: "serve", configFile };
  }
  const [backup, progress, waitVerify] = [values.get("backup"), flags.has("progress"), flags.has("wait-verify")];
  return { command: "once", configFile, backup, progress, json, waitVerify };
}

function serverAddress(text: string): Address {
  const address = parseAddress(text);
  if (typeof address !== "string") return address;
  throw usage(`${text} is not the address of a server: ${address}`, "Write HOST:PORT, as in server.address.");
}
