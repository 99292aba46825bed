/**
 * What a program's command line consists of, as a table. parse.ts reads arguments by it, help.ts prints it, completions and the man
 * page are made of it.
 */

export interface OptionSpec {
  /** Without the dashes. */
  readonly name: string;
  /** What its value is called in the help, for instance FILE; an option without one is a flag. */
  readonly value?: string;
  readonly what: string;
  /** All values there are, for completions. */
  readonly choices?: readonly string[];
  /** It may be given any number of times. */
  readonly many?: boolean;
}

export interface PositionalSpec {
  readonly name: string;
  readonly what: string;
  readonly required: boolean;
  /** The last one may be given any number of times. */
  readonly many?: boolean;
  /** Words that it may be, for completions; there may be others. */
  readonly choices?: readonly string[];
}

/** A word after a command's name that has options of its own, of a command that passes them through. */
export interface SubcommandSpec {
  readonly name: string;
  readonly what: string;
  readonly options: readonly OptionSpec[];
  readonly positionals: readonly PositionalSpec[];
}

export interface CommandSpec {
  /** The word on the command line; empty for what the program does without one. */
  readonly name: string;
  readonly what: string;
  /** Paragraphs of its own help. */
  readonly details: readonly string[];
  readonly options: readonly OptionSpec[];
  readonly positionals: readonly PositionalSpec[];
  /** Everything after the command's name goes to it unread, `--help` included. */
  readonly passThrough?: boolean;
  /** For completions: what is behind it is read elsewhere. */
  readonly subcommands?: readonly SubcommandSpec[];
}

export interface ProgramSpec {
  readonly name: string;
  readonly what: string;
  readonly commands: readonly CommandSpec[];
  /** Paragraphs at the end of the whole help. */
  readonly footer: readonly string[];
}

export const HELP_OPTION: OptionSpec = { name: "help", what: "Print this and exit." };
export const VERSION_OPTION: OptionSpec = { name: "version", what: "Print the version and exit." };

export function commandNamed(program: ProgramSpec, name: string): CommandSpec | undefined {
  return program.commands.find((command) => command.name === name);
}

export function configOption(defaultFile: string): OptionSpec {
  return { name: "config", value: "FILE", what: `The configuration file; without it ${defaultFile}.` };
}
