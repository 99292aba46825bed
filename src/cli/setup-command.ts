/** `nbackup-server setup`: what it takes. What it asks for when something is not given is bin/setup-questions.ts. */
import { Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import { parseListenAddress } from "#config/address.ts";
import { DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import { type ParsedArguments, usage } from "./parse.ts";
import type { CommandSpec, OptionSpec } from "./program.ts";

export interface SetupStorage {
  readonly name: string;
  readonly baseDir: string;
}

export interface SetupRequest {
  readonly configFile: string;
  /** Undefined: asked for, or the default. */
  readonly listen: string | undefined;
  readonly enrollListen: string | undefined;
  /** As `pki server` takes them. */
  readonly hosts: string | undefined;
  /** Empty: asked for, or the default. */
  readonly storages: readonly SetupStorage[];
  readonly maxBackups: number | undefined;
  readonly pkiDir: string | undefined;
  /** The CA's key is not this server's to use. */
  readonly noEnroll: boolean;
  /** Nothing is asked: what is not given is the default. */
  readonly yes: boolean;
  readonly force: boolean;
}

const MAX_BACKUPS_MAX = 1_000_000;

export function setupCommand(config: OptionSpec): CommandSpec {
  return {
    name: "setup",
    what: "Make this machine a server: CA, certificate, server.yaml and directories, asking for what is not given.",
    options: [
      { ...config, what: `Where to write the configuration; without it ${DEFAULT_SERVER_CONFIG_FILE}.` },
      { name: "listen", value: "HOST:PORT", what: "Where agents connect to; without it 0.0.0.0:9847." },
      { name: "enroll-listen", value: "HOST:PORT", what: "Where new agents enrol; without it 0.0.0.0:9846." },
      {
        name: "hosts",
        value: "HOST[,IP…]",
        what: "Every name and address under which agents reach this server; without it those of this machine.",
      },
      {
        name: "storage",
        value: "NAME=DIR",
        what: "A storage and its directory; may be given several times. Without it main=/srv/nbackup.",
        many: true,
      },
      { name: "max-backups", value: "N", what: "Archives kept of each agent and backup entry; without it 14." },
      {
        name: "pki-dir",
        value: "DIR",
        what: "Where CA and certificates lie; without it pki beside the configuration.",
      },
      {
        name: "no-enroll",
        what: "Do not let this server use the CA's key: no agent enrols and none is renewed by itself.",
      },
      { name: "yes", what: "Ask nothing." },
      {
        name: "force",
        what: "Write server.yaml (the old one stays as server.yaml.old) and the server's certificate anew; the CA stays.",
      },
    ],
    positionals: [],
    details: [
      "Nothing that is there is overwritten: run again it completes what is missing, also what an interrupted setup left, and opens directories of storages that were added to server.yaml since. Run as root it gives directories and keys to the user nbackup, where there is one, and writes /etc/systemd/system/nbackup-server.service.d/50-setup.conf, which lets the service write there. Anybody else may run it with --config and --storage in directories of his own.",
      "Exit codes: 0 done; 1 something could not be written; 2 wrong usage, or a configuration or certificate that is there cannot be used.",
    ],
  };
}

/** Throws Failure E_USAGE, E_NAME. */
export function setupRequest(parsed: Extract<ParsedArguments, { readonly kind: "command" }>): SetupRequest {
  const { values, flags, lists } = parsed;
  return {
    configFile: values.get("config") ?? DEFAULT_SERVER_CONFIG_FILE,
    listen: listenOption(values.get("listen"), "listen"),
    enrollListen: listenOption(values.get("enroll-listen"), "enroll-listen"),
    hosts: values.get("hosts"),
    storages: (lists.get("storage") ?? []).map(storageOption),
    maxBackups: maxBackupsOption(values.get("max-backups")),
    pkiDir: values.get("pki-dir"),
    noEnroll: flags.has("no-enroll"),
    yes: flags.has("yes"),
    force: flags.has("force"),
  };
}

function listenOption(text: string | undefined, name: string): string | undefined {
  if (text === undefined) return undefined;
  const problem = parseListenAddress(text);
  if (typeof problem === "string") throw usage(`--${name} ${text} is no address to listen on: ${problem}`);
  return text;
}

/** `main=/srv/nbackup`; a path may hold further equals signs. */
function storageOption(text: string): SetupStorage {
  const equals = text.indexOf("=");
  if (equals < 1 || equals === text.length - 1)
    throw usage(`--storage ${text} is not NAME=DIR`, "Write --storage main=/srv/nbackup.");
  const name = text.slice(0, equals);
  if (!isName(name)) throw new Failure("E_NAME", `the storage is called ${JSON.stringify(name)}`);
  return { name, baseDir: text.slice(equals + 1) };
}

function maxBackupsOption(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= MAX_BACKUPS_MAX) return value;
  throw usage(`--max-backups is ${text}`, `Write a whole number from 1 to ${MAX_BACKUPS_MAX}.`);
}
