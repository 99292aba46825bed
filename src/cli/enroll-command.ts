/** `nbackup-agent enroll`: what it takes. */
import { parseAddress } from "#config/address.ts";
import { DEFAULT_AGENT_CONFIG_FILE } from "#config/defaults.ts";
import type { Address } from "#config/types.ts";
import { type ParsedArguments, usage } from "./parse.ts";
import type { CommandSpec, OptionSpec } from "./program.ts";

export interface EnrollRequest {
  /** The enrolment port. */
  readonly server: Address;
  /** `-`: on standard input. */
  readonly token: string;
  /** What to back up; empty: what machines usually have. */
  readonly sources: readonly string[];
  readonly configFile: string;
  readonly force: boolean;
}

export function enrollCommand(config: OptionSpec): CommandSpec {
  return {
    name: "enroll",
    what: "Make this machine an agent of a server: a key of its own, its certificate, and an agent.yaml.",
    options: [
      {
        name: "source",
        value: "DIR",
        what: "Back this up; may be given several times. Without it what machines usually have.",
        many: true,
      },
      {
        ...config,
        what: `Where to write the configuration, certificates beside it; without it ${DEFAULT_AGENT_CONFIG_FILE}.`,
      },
      {
        name: "force",
        what: "Replace an agent.yaml, key and certificate that are there; the old agent.yaml stays as agent.yaml.old.",
      },
    ],
    positionals: [
      { name: "HOST:PORT", what: "The server's enrolment port, as enroll-token printed it.", required: true },
      {
        name: "TOKEN",
        what: "What nbackup-server pki enroll-token printed; - reads it from standard input.",
        required: true,
      },
    ],
    details: [
      "The key never leaves this machine. The token names the server's CA: nothing secret is sent before the server has proved that it is the one. A token is good for an hour and for one agent; when the command was interrupted, run it again with the same token.",
      "Exit codes: 0 done; 1 refused, or the server was not reached; 2 wrong usage, or files are there already.",
    ],
  };
}

/** Throws Failure E_USAGE. */
export function enrollRequest(parsed: Extract<ParsedArguments, { readonly kind: "command" }>): EnrollRequest {
  const { positionals, values, flags, lists } = parsed;
  const [where = "", token = ""] = positionals;
  const server = parseAddress(where);
  if (typeof server === "string") {
    throw usage(
      `${where} is not the address of a server: ${server}`,
      "Write HOST:PORT as nbackup-server pki enroll-token printed it.",
    );
  }
  const sources = lists.get("source") ?? [];
  const relative = sources.find((source) => !source.startsWith("/"));
  if (relative !== undefined) throw usage(`--source ${relative} is not an absolute path`);
  return {
    server,
    token,
    sources,
    configFile: values.get("config") ?? DEFAULT_AGENT_CONFIG_FILE,
    force: flags.has("force"),
  };
}
