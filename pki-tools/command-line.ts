/** The arguments of `nbackup-server pki`, read into a typed command. Names and hosts are judged by those who use them. */
import { parseArgs } from "node:util";
import { errnoName, Failure } from "#base/errors.ts";
import { quoted } from "#pki/printable.ts";
import { CA_DAYS, LEAF_DAYS } from "#pki/validity.ts";
import { HELP_TOPICS, type HelpTopic } from "./help.ts";

/** What the commands that make something share. */
export interface MakeOptions {
  readonly dir: string;
  readonly days: number;
  readonly force: boolean;
  readonly json: boolean;
}

/** Asks the running server for a token: the CA's directory does not matter. */
export interface EnrollTokenCommand {
  readonly command: "enroll-token";
  readonly agent: string;
  readonly replace: boolean;
  /** Of the running server; undefined: the default one. */
  readonly configFile: string | undefined;
  readonly json: boolean;
}

export interface RevokeCommand {
  readonly command: "revoke";
  readonly agent: string;
  /** Of the CA; undefined: that of the server's configuration. */
  readonly dir: string | undefined;
  /** Of the server; undefined: the default one. */
  readonly configFile: string | undefined;
  readonly json: boolean;
}

export type PkiCommand =
  | { readonly command: "help"; readonly topic: HelpTopic }
  | ({ readonly command: "init" } & MakeOptions)
  | ({ readonly command: "server"; readonly hosts: string } & MakeOptions)
  | ({ readonly command: "agent"; readonly agent: string } & MakeOptions)
  | ({ readonly command: "renew"; readonly name: string } & MakeOptions)
  | EnrollTokenCommand
  | RevokeCommand
  | {
      readonly command: "show";
      readonly files: readonly string[];
      readonly dir: string | undefined;
      readonly json: boolean;
    };

const DAYS_MAX = 36_500;

const MAKE_OPTIONS = {
  dir: { type: "string" },
  days: { type: "string" },
  force: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

const RENEW_OPTIONS = {
  dir: MAKE_OPTIONS.dir,
  days: MAKE_OPTIONS.days,
  json: MAKE_OPTIONS.json,
  help: MAKE_OPTIONS.help,
} as const;

const ENROLL_TOKEN_OPTIONS = {
  config: { type: "string" },
  replace: { type: "boolean" },
  json: MAKE_OPTIONS.json,
  help: MAKE_OPTIONS.help,
} as const;

const REVOKE_OPTIONS = {
  dir: MAKE_OPTIONS.dir,
  config: ENROLL_TOKEN_OPTIONS.config,
  json: MAKE_OPTIONS.json,
  help: MAKE_OPTIONS.help,
} as const;

const SHOW_OPTIONS = { dir: MAKE_OPTIONS.dir, json: MAKE_OPTIONS.json, help: MAKE_OPTIONS.help } as const;

const [LAST_COMMAND = "", ...OTHER_COMMANDS] = HELP_TOPICS.filter((topic) => topic !== "pki").toReversed();
const commands = (word: "and" | "or"): string => `${OTHER_COMMANDS.toReversed().join(", ")} ${word} ${LAST_COMMAND}`;

/** `argv` is what stands after `pki`. Throws Failure E_USAGE. */
export function parseCommandLine(argv: readonly string[]): PkiCommand {
  const [name, ...rest] = argv;
  switch (name) {
    case "init":
    case "server":
    case "agent":
    case "renew":
      return parseMake(name, rest);
    case "enroll-token":
      return parseEnrollToken(rest);
    case "revoke":
      return parseRevoke(rest);
    case "show":
      return parseShow(rest);
    case "help":
    case "--help":
    case "-h":
      return { command: "help", topic: isTopic(rest[0]) ? rest[0] : "pki" };
    case undefined:
      throw usage(`pki needs a command: ${commands("or")}`, "pki");
    default:
      throw usage(`${quoted(name)} is not a command of pki, which has ${commands("and")}`, "pki");
  }
}

type MakeTopic = "init" | "server" | "agent" | "renew";

function parseMake(command: MakeTopic, args: readonly string[]): PkiCommand {
  const { values, positionals } = parsing(command, () =>
    parseArgs({ args: [...args], options: command === "renew" ? RENEW_OPTIONS : MAKE_OPTIONS, allowPositionals: true }),
  );
  if (values.help === true) return { command: "help", topic: command };
  const wanted = { init: [], server: ["HOST[,IP…]"], agent: ["NAME"], renew: ["NAME, server or ca"] }[command];
  if (positionals.length !== wanted.length) {
    const found = positionals.length === 0 ? "nothing" : positionals.map(quoted).join(" ");
    throw usage(`pki ${command} takes ${wanted[0] ?? "no argument"}, and found ${found}`, command);
  }
  if (values.dir === undefined || values.dir === "") throw usage(`pki ${command} needs --dir DIRECTORY`, command);
  const options: MakeOptions = {
    dir: values.dir,
    days: days(values.days, command),
    force: "force" in values && values.force === true,
    json: values.json === true,
  };
  const argument = positionals[0] ?? "";
  if (command === "server") return { command, hosts: argument, ...options };
  if (command === "agent") return { command, agent: argument, ...options };
  if (command === "renew") return { command, name: argument, ...options, days: daysOfRenewal(values.days, argument) };
  return { command, ...options };
}

function parseEnrollToken(args: readonly string[]): PkiCommand {
  const command = "enroll-token";
  const { values, positionals } = parsing(command, () =>
    parseArgs({ args: [...args], options: ENROLL_TOKEN_OPTIONS, allowPositionals: true }),
  );
  if (values.help === true) return { command: "help", topic: command };
  const [agent, ...more] = positionals;
  if (agent === undefined || more.length > 0) throw usage("pki enroll-token takes one AGENT", command);
  const configFile = values.config === "" ? undefined : values.config;
  return { command, agent, replace: values.replace === true, configFile, json: values.json === true };
}

function parseRevoke(args: readonly string[]): PkiCommand {
  const command = "revoke";
  const { values, positionals } = parsing(command, () =>
    parseArgs({ args: [...args], options: REVOKE_OPTIONS, allowPositionals: true }),
  );
  if (values.help === true) return { command: "help", topic: command };
  const [agent, ...more] = positionals;
  if (agent === undefined || more.length > 0) throw usage("pki revoke takes one AGENT", command);
  const given = (text: string | undefined): string | undefined => (text === "" ? undefined : text);
  return { command, agent, dir: given(values.dir), configFile: given(values.config), json: values.json === true };
}

function parseShow(args: readonly string[]): PkiCommand {
  const { values, positionals } = parsing("show", () =>
    parseArgs({ args: [...args], options: SHOW_OPTIONS, allowPositionals: true }),
  );
  if (values.help === true) return { command: "help", topic: "show" };
  if (positionals.length === 0 && (values.dir === undefined || values.dir === "")) {
    throw usage("pki show needs --dir DIRECTORY or files", "show");
  }
  return { command: "show", files: positionals, dir: values.dir, json: values.json === true };
}

/** A CA lives longer than what it issues. */
function daysOfRenewal(text: string | undefined, name: string): number {
  return text === undefined && name === "ca" ? CA_DAYS : days(text, "renew");
}

function days(text: string | undefined, command: MakeTopic): number {
  if (text === undefined) return command === "init" ? CA_DAYS : LEAF_DAYS;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= DAYS_MAX) return value;
  throw usage(`--days is ${quoted(text)}, expected a whole number from 1 to ${DAYS_MAX}`, command);
}

function parsing<T>(command: HelpTopic, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof Error) || errnoName(error)?.startsWith("ERR_PARSE_ARGS") !== true) throw error;
    // The first sentence says it; the rest explains things that pki has no use for.
    const [sentence = ""] = error.message.split(/\. |\n/);
    throw usage(`pki ${command}: ${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`, command, error);
  }
}

function isTopic(text: string | undefined): text is HelpTopic {
  return HELP_TOPICS.some((topic) => topic === text);
}

function usage(message: string, topic: HelpTopic, cause?: unknown): Failure {
  const hint = `Run nbackup-server pki ${topic === "pki" ? "" : `${topic} `}--help to see what it takes.`;
  return new Failure("E_USAGE", message, cause === undefined ? { hint } : { hint, cause });
}
