/**
 * Reads arguments by a program's table. Pure: what the arguments ask for comes back as a value, what is wrong with them is
 * a Failure E_USAGE.
 */
import { Failure } from "#base/errors.ts";
import { nearest } from "#base/nearest.ts";
import {
  type CommandSpec,
  commandNamed,
  HELP_OPTION,
  type OptionSpec,
  type ProgramSpec,
  VERSION_OPTION,
} from "./program.ts";

export type ParsedArguments =
  /** `command` is undefined for the help of the whole program. */
  | { readonly kind: "help"; readonly command: CommandSpec | undefined }
  | { readonly kind: "version" }
  | {
      readonly kind: "command";
      readonly command: string;
      readonly flags: ReadonlySet<string>;
      readonly values: ReadonlyMap<string, string>;
      /** Of options that may be given several times, in their order. */
      readonly lists: ReadonlyMap<string, readonly string[]>;
      readonly positionals: readonly string[];
    };

/** `argv` without the program's own name. */
export function parseArguments(program: ProgramSpec, argv: readonly string[]): ParsedArguments {
  const at = commandIndex(program, argv);
  const name = at === undefined ? "" : (argv[at] ?? "");
  const command = commandNamed(program, name);
  if (at !== undefined && command === undefined && name === HELP_OPTION.name) {
    return parseArguments(program, asHelpOption(argv.toSpliced(at, 1)));
  }
  if (command === undefined) throw unknownCommand(program, name);
  if (at !== undefined && command.passThrough === true) {
    const before = readArguments(program, command, argv.slice(0, at));
    return before.kind === "command" ? { ...before, positionals: argv.slice(at + 1) } : before;
  }
  const rest = at === undefined ? argv : argv.toSpliced(at, 1);
  return readArguments(program, command, rest);
}

/** `help COMMAND` is `COMMAND --help`, and `help` by itself is `--help`. */
function asHelpOption(argv: readonly string[]): readonly string[] {
  const option = `--${HELP_OPTION.name}`;
  return argv.includes(option) || argv.includes("-h") ? argv : [...argv, option];
}

/** The first argument that is neither an option nor an option's value. */
function commandIndex(program: ProgramSpec, argv: readonly string[]): number | undefined {
  const valued = new Set(
    program.commands.flatMap(({ options }) =>
      options.filter(({ value }) => value !== undefined).map(({ name }) => `--${name}`),
    ),
  );
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] ?? "";
    if (argument === "--") return undefined;
    if (valued.has(argument)) index += 1;
    else if (!argument.startsWith("-")) return index;
  }
  return undefined;
}

function readArguments(program: ProgramSpec, command: CommandSpec, argv: readonly string[]): ParsedArguments {
  const known = [...command.options, HELP_OPTION, VERSION_OPTION];
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const lists = new Map<string, string[]>();
  const positionals: string[] = [];
  const queue = [...argv];
  for (let argument = queue.shift(); argument !== undefined; argument = queue.shift()) {
    if (argument === "--") {
      positionals.push(...queue.splice(0));
    } else if (argument.startsWith("-") && argument !== "-") {
      const { option, inline } = findOption(program, command, known, argument);
      if (flags.has(option.name) || values.has(option.name)) throw usage(`--${option.name} is given twice`);
      if (option.value === undefined) {
        if (inline !== undefined) throw usage(`--${option.name} takes no value`);
        flags.add(option.name);
      } else if (option.many === true) {
        lists.set(option.name, [...(lists.get(option.name) ?? []), optionValue(option, inline, queue)]);
      } else {
        values.set(option.name, optionValue(option, inline, queue));
      }
    } else {
      positionals.push(argument);
    }
  }
  if (flags.has(HELP_OPTION.name)) return { kind: "help", command: command.name === "" ? undefined : command };
  if (flags.has(VERSION_OPTION.name)) return { kind: "version" };
  checkPositionals(program, command, positionals);
  return { kind: "command", command: command.name, flags, values, lists, positionals };
}

function findOption(
  program: ProgramSpec,
  command: CommandSpec,
  known: readonly OptionSpec[],
  argument: string,
): { readonly option: OptionSpec; readonly inline: string | undefined } {
  const equals = argument.indexOf("=");
  const written = equals < 0 ? argument : argument.slice(0, equals);
  const inline = equals < 0 ? undefined : argument.slice(equals + 1);
  const option = known.find(({ name }) => `--${name}` === written || (written === "-h" && name === HELP_OPTION.name));
  if (option !== undefined) return { option, inline };
  const meant = nearest(
    written.replace(/^-+/, ""),
    known.map(({ name }) => name),
  );
  const elsewhere = program.commands.find((other) => other.options.some(({ name }) => `--${name}` === written));
  const where = commandText(program, command);
  if (elsewhere !== undefined) {
    throw usage(`${where} does not take ${written}`, `${written} goes with ${commandText(program, elsewhere)}.`);
  }
  throw usage(`unknown option ${written}`, meant === undefined ? `See ${where} --help.` : `Did you mean --${meant}?`);
}

/** A value that begins with a dash is only taken after `=`: more often the value was forgotten. */
function optionValue(option: OptionSpec, inline: string | undefined, queue: string[]): string {
  const next = queue[0];
  const separate = inline === undefined && next !== undefined && (!next.startsWith("-") || next === "-");
  const value = separate ? queue.shift() : inline;
  if (value !== undefined && value !== "") return value;
  const name = option.value ?? "";
  throw usage(
    `--${option.name} wants a value`,
    `Write --${option.name} ${name}, or --${option.name}=${name} if it begins with a dash.`,
  );
}

function checkPositionals(program: ProgramSpec, command: CommandSpec, positionals: readonly string[]): void {
  const surplus = command.positionals.at(-1)?.many === true ? undefined : positionals[command.positionals.length];
  const where = commandText(program, command);
  if (surplus !== undefined) throw usage(`${where} does not take the argument ${surplus}`, `See ${where} --help.`);
  const missing = command.positionals.find(({ required }, index) => required && positionals[index] === undefined);
  if (missing === undefined) return;
  throw usage(`${where} wants ${missing.name}`, `${missing.name}: ${missing.what} See ${where} --help.`);
}

function unknownCommand(program: ProgramSpec, name: string): Failure {
  const names = program.commands.map((command) => command.name).filter((candidate) => candidate !== "");
  if (name === "") return usage(`${program.name} wants a command`, `The commands are ${names.join(", ")}.`);
  const meant = nearest(name, [...names, HELP_OPTION.name]);
  const hint =
    meant === undefined
      ? `The commands are ${names.join(", ")}; see ${program.name} --help.`
      : `Did you mean ${meant}?`;
  return usage(`unknown command ${name}`, hint);
}

function commandText(program: ProgramSpec, command: CommandSpec): string {
  return command.name === "" ? program.name : `${program.name} ${command.name}`;
}

/** A Failure E_USAGE. */
export function usage(message: string, hint?: string): Failure {
  return new Failure("E_USAGE", message, hint === undefined ? {} : { hint });
}
