/**
 * What can be completed on a program's command line, in a form that the three shells share: for each command its options and what their
 * values and its positionals are. Values are told apart by the names that the table gives them.
 */
import type { OptionSpec, PositionalSpec, ProgramSpec } from "./program.ts";
import { HELP_OPTION, VERSION_OPTION } from "./program.ts";

export type ValueWords =
  /** Nothing that could be known. */
  | { readonly kind: "none" }
  | { readonly kind: "files" }
  | { readonly kind: "directories" }
  | { readonly kind: "choices"; readonly choices: readonly string[] }
  /** The program is asked for them: `PROGRAM completion backups`. */
  | { readonly kind: "names"; readonly of: "backups" | "storages" };

export interface OptionWords {
  /** With the dashes. */
  readonly word: string;
  readonly what: string;
  /** Undefined for a flag. */
  readonly value: (ValueWords & { readonly name: string }) | undefined;
}

export interface PositionalWords {
  readonly name: string;
  readonly required: boolean;
  readonly many: boolean;
  readonly value: ValueWords;
}

export interface CommandWords {
  /** What stands after the program's name, for instance `pki init`; empty for the program without a command. */
  readonly path: string;
  readonly what: string;
  readonly options: readonly OptionWords[];
  readonly positionals: readonly PositionalWords[];
  /** Words that may stand next. */
  readonly next: readonly { readonly word: string; readonly what: string }[];
}

export function commandWords(program: ProgramSpec): readonly CommandWords[] {
  const top = program.commands.filter(({ name }) => name !== "").map(nextWord);
  return program.commands.flatMap((command) => [
    {
      path: command.name,
      what: shortly(command.what),
      options: [...command.options, HELP_OPTION, ...(command.name === "" ? [VERSION_OPTION] : [])].map(optionWords),
      positionals: command.positionals.map(positionalWords),
      next: command.name === "" ? top : (command.subcommands ?? []).map(nextWord),
    },
    ...(command.subcommands ?? []).map((sub): CommandWords => ({
      path: `${command.name} ${sub.name}`,
      what: shortly(sub.what),
      options: [...sub.options, HELP_OPTION].map(optionWords),
      positionals: sub.positionals.map(positionalWords),
      next: [],
    })),
  ]);
}

/** Options with a value, of whatever command: the word behind one is no command. */
export function valuedOptions(commands: readonly CommandWords[]): readonly string[] {
  const all = commands.flatMap(({ options }) => options.filter(({ value }) => value !== undefined));
  return [...new Set(all.map(({ word }) => word))].sort();
}

function nextWord({ name, what }: { readonly name: string; readonly what: string }) {
  return { word: name, what: shortly(what) };
}

function optionWords({ name, value, what, choices }: OptionSpec): OptionWords {
  const found = value === undefined ? undefined : { ...valueWords(value, name, choices), name: value };
  return { word: `--${name}`, what: shortly(what), value: found };
}

function positionalWords({ name, required, many = false, choices }: PositionalSpec): PositionalWords {
  return { name, required, many, value: valueWords(name, undefined, choices) };
}

const FILES = new Set(["FILE", "ARCHIVE", "A", "B"]);
const DIRECTORIES = new Set(["DIR", "D"]);

function valueWords(name: string, option: string | undefined, choices: readonly string[] | undefined): ValueWords {
  if (choices !== undefined) return { kind: "choices", choices };
  if (FILES.has(name)) return { kind: "files" };
  if (DIRECTORIES.has(name)) return { kind: "directories" };
  if (option === "backup") return { kind: "names", of: "backups" };
  if (option === "storage") return { kind: "names", of: "storages" };
  return { kind: "none" };
}

/** Its first clause: there is one line for it. */
function shortly(what: string): string {
  return (/^.*?(?=[.:;] |\.$|$)/s.exec(what)?.[0] ?? what).replaceAll("…", "...");
}
