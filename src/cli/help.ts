/** Help texts, made from the tables: never wider than 100 columns. */
import { type CommandSpec, HELP_OPTION, type OptionSpec, type ProgramSpec, VERSION_OPTION } from "./program.ts";
import { columnsOf, wrap } from "./terminal-text.ts";

const COLUMNS_MAX = 100;
const INDENT = "  ";

/** The help of one command, or of the whole program. */
export function helpText(program: ProgramSpec, command: CommandSpec | undefined): string {
  const lines = command === undefined ? programHelp(program) : commandHelp(program, command);
  return `${lines.join("\n")}\n`;
}

function programHelp(program: ProgramSpec): string[] {
  const own = program.commands.find(({ name }) => name === "");
  const rows = program.commands.map((command): Row => [usageLine(program, command), command.what]);
  const help = { ...HELP_OPTION, what: `${HELP_OPTION.what} help COMMAND does it for a command.` };
  const options = [...(own?.options ?? []), help, VERSION_OPTION];
  return [
    ...wrap(`${program.name}: ${program.what}`, COLUMNS_MAX),
    "",
    ...rows.flatMap(([usage, what]) => [...indented(usage), ...indented(what, INDENT.repeat(3))]),
    "",
    ...table(options.map(optionRow)),
    ...(own?.details ?? []).flatMap((paragraph) => ["", ...wrap(paragraph, COLUMNS_MAX)]),
    ...program.footer.flatMap((paragraph) => ["", ...wrap(paragraph, COLUMNS_MAX)]),
  ];
}

function commandHelp(program: ProgramSpec, command: CommandSpec): string[] {
  const rows = [
    ...command.positionals.map(({ name, what }): Row => [name, what]),
    ...[...command.options, HELP_OPTION].map(optionRow),
  ];
  return [
    ...wrap(usageLine(program, command), COLUMNS_MAX),
    "",
    ...wrap(command.what, COLUMNS_MAX),
    "",
    ...table(rows),
    ...command.details.flatMap((paragraph) => ["", ...wrap(paragraph, COLUMNS_MAX)]),
  ];
}

function usageLine(program: ProgramSpec, command: CommandSpec): string {
  const words = [program.name, command.name].filter((word) => word !== "");
  const positionals = command.positionals.map(({ name, required, many }) => {
    const text = many === true ? `${name}…` : name;
    return required ? text : `[${text}]`;
  });
  const options = command.options.map(({ name, value, many }) =>
    value === undefined ? `[--${name}]` : `[--${name} ${value}]${many === true ? "…" : ""}`,
  );
  return [...words, ...positionals, ...options, ...(command.passThrough === true ? ["…"] : [])].join(" ");
}

type Row = readonly [term: string, what: string];

function optionRow({ name, value, what }: OptionSpec): Row {
  return [value === undefined ? `--${name}` : `--${name} ${value}`, what];
}

/** Terms in one column, what they mean beside them. */
function table(rows: readonly Row[]): string[] {
  const width = Math.max(...rows.map(([term]) => columnsOf(term)));
  return rows.flatMap(([term, what]) => {
    const [first = "", ...more] = wrap(what, COLUMNS_MAX - width - 4);
    const beside = " ".repeat(width - columnsOf(term));
    return [`${INDENT}${term}${beside}  ${first}`, ...more.map((line) => `${" ".repeat(width + 4)}${line}`)];
  });
}

function indented(text: string, indent = INDENT): string[] {
  return wrap(text, COLUMNS_MAX - indent.length).map((line) => `${indent}${line}`);
}
