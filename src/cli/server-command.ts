/** The command line of nbackup-server. */
import { DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import { helpText } from "./help.ts";
import { parseArguments } from "./parse.ts";
import { configOption, type ProgramSpec } from "./program.ts";
import {
  CAT_COMMAND,
  RESTORE_COMMAND,
  type RestoreRequest,
  restoreRequest,
  VERIFY_COMMAND,
  type VerifyRequest,
  verifyRequest,
} from "./restore-command.ts";

export type ServerCommand =
  /** Print the text to standard output, exit 0. */
  | { readonly command: "print"; readonly text: string }
  | { readonly command: "serve"; readonly configFile: string }
  | { readonly command: "check-config"; readonly configFile: string; readonly json: boolean }
  | { readonly command: "restore"; readonly request: RestoreRequest }
  | { readonly command: "verify"; readonly request: VerifyRequest }
  | { readonly command: "cat"; readonly archive: string; readonly path: string }
  /** What stands after `pki`, unread: pki-tools has its own command line and help. */
  | { readonly command: "pki"; readonly args: readonly string[] };

const CONFIG = configOption(DEFAULT_SERVER_CONFIG_FILE);

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
    RESTORE_COMMAND,
    VERIFY_COMMAND,
    CAT_COMMAND,
    {
      name: "pki",
      what: "Make and show the CA and certificates; nbackup-server pki --help says more.",
      options: [],
      positionals: [],
      details: [],
      passThrough: true,
    },
  ],
  footer: [
    "Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but something could not be restored as it was (it was named); 130 interrupted.",
    "In paths, bytes that are not UTF-8 are printed as \\xNN, control characters as \\n, \\t or \\xNN, a backslash as two.",
  ],
};

/** What the arguments (without the program's own name) ask for. Throws Failure E_USAGE. */
export function parseServerCommand(argv: readonly string[], version: string): ServerCommand {
  const parsed = parseArguments(SERVER_PROGRAM, argv);
  if (parsed.kind === "help") return { command: "print", text: helpText(SERVER_PROGRAM, parsed.command) };
  if (parsed.kind === "version") return { command: "print", text: `${SERVER_PROGRAM.name} ${version}\n` };
  if (parsed.command === "pki") return { command: "pki", args: parsed.positionals };
  if (parsed.command === "restore") return { command: "restore", request: restoreRequest(parsed) };
  if (parsed.command === "verify") return { command: "verify", request: verifyRequest(parsed) };
  if (parsed.command === "cat") {
    const [archive = "", path = ""] = parsed.positionals;
    return { command: "cat", archive, path };
  }
  const configFile = parsed.values.get("config") ?? DEFAULT_SERVER_CONFIG_FILE;
  if (parsed.command === "check-config") return { command: "check-config", configFile, json: parsed.flags.has("json") };
  return { command: "serve", configFile };
}
