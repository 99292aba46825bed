/**
 * A program's man page, from the tables that --help prints and the texts of manual.ts. It has every command, option, positional and exit
 * code of them. Pure: how it is compressed and where it goes is the package's.
 */
import { type CommandSpec, HELP_OPTION, type OptionSpec, type ProgramSpec, VERSION_OPTION } from "#cli/program.ts";
import { helpRows, type HelpRow } from "./help-rows.ts";
import type { Manual } from "./manual.ts";
import { bold, literal, optionTerm, paragraph, placeTerm, roffText, section, subsection, tagged } from "./roff.ts";

export interface ManPage {
  readonly program: ProgramSpec;
  readonly manual: Manual;
  readonly version: string;
  /** `2026-02-12`. */
  readonly date: string;
  /** Help texts of commands that have their own command line; each begins with how it is written. */
  readonly passedThrough: readonly string[];
}

export const MAN_SECTION = 8;

export function manPage({ program, manual, version, date, passedThrough }: ManPage): string {
  const own = program.commands.find(({ name }) => name === "");
  const commands = program.commands.filter(({ name }) => name !== "");
  const lines = [
    `.\\" Made from the tables of the command line. Change those.`,
    `.TH ${program.name.toUpperCase().replaceAll("-", "\\-")} ${MAN_SECTION} ${date} "nbackup ${version}" "nbackup manual"`,
    section("Name"),
    `${roffText(program.name)} \\- ${roffText(program.what)}`,
    section("Synopsis"),
    ...(own === undefined ? [] : synopsis(program, own)),
    `.br`,
    `${bold(program.name)} ${placeTerm("COMMAND")} [${placeTerm("ARGUMENT\u2026")}]`,
    section("Description"),
    ...manual.description.flatMap((text) => [".P", ...paragraph(text)]).slice(1),
    section("Options"),
    ...(own === undefined ? [] : [...paragraph(`Without a command: ${own.what}`), ...options(own.options)]),
    ...options([HELP_OPTION, VERSION_OPTION]),
    ...(own?.details ?? []).flatMap((text) => [".P", ...paragraph(text)]),
    section("Commands"),
    ...commands.flatMap((command) => commandLines(program, command)),
    ...passedThrough.flatMap((text) => helpRows(text).flatMap(passedLines)),
    section("Exit status"),
    ...program.footer.flatMap(exitLines),
    section("Signals"),
    ...manual.signals.flatMap(([name, text]) => tagged(bold(name), text)),
    section("Environment"),
    ...manual.environment.flatMap(([name, text]) => tagged(bold(name), text)),
    section("Files"),
    ...manual.files.flatMap(([name, text]) => tagged(placeTerm(name), text)),
    section("Notes"),
    ...program.footer
      .filter((text) => exitCodes(text) === undefined)
      .flatMap((text) => [".P", ...paragraph(text)])
      .slice(1),
    section("Examples"),
    ...manual.examples.flatMap(([command, text]) => [".P", ...paragraph(text), ...literal([command])]).slice(1),
    section("See also"),
    manual.seeAlso.map(([name, part]) => `${bold(name)}(${part})`).join(", "),
    ".P",
    ...paragraph(manual.documentation),
  ];
  return `${lines.join("\n")}\n`;
}

function synopsis(program: ProgramSpec, command: CommandSpec): readonly string[] {
  const words = [program.name, command.name].filter((word) => word !== "");
  const places = command.positionals.map(({ name, required, many }) => {
    const text = `${placeTerm(name)}${many === true ? roffText("\u2026") : ""}`;
    return required ? text : `[${text}]`;
  });
  const taken = command.options.map(
    ({ name, value, many }) => `[${optionTerm(name, value)}]${many === true ? roffText("\u2026") : ""}`,
  );
  const rest = command.passThrough === true ? [roffText("\u2026")] : [];
  return [[bold(words.join(" ")), ...places, ...taken, ...rest].join(" ")];
}

function commandLines(program: ProgramSpec, command: CommandSpec): readonly string[] {
  return [
    subsection(command.name),
    ...synopsis(program, command),
    ".P",
    ...paragraph(command.what),
    ...command.positionals.flatMap(({ name, what }) => tagged(placeTerm(name), what)),
    ...options(command.options),
    ...command.details.flatMap((text) => [".P", ...paragraph(text)]),
  ];
}

function options(list: readonly OptionSpec[]): readonly string[] {
  return list.flatMap(({ name, value, what }) => tagged(optionTerm(name, value), what));
}

function passedLines(row: HelpRow): readonly string[] {
  switch (row.kind) {
    case "usage":
      return [
        subsection(row.text.replace(/^nbackup-\w+ /, "").split(/[ :] ?(?=[[A-Z-]|a )/)[0] ?? ""),
        ...paragraph(row.text),
      ];
    case "row":
      return tagged(bold(row.term), row.text);
    case "paragraph":
      return [".P", ...paragraph(row.text)];
  }
}

/** `Exit codes: 0 done; 1 failed; …` as a list; anything behind its first sentence stays text. */
function exitLines(text: string): readonly string[] {
  const found = exitCodes(text);
  if (found === undefined) return [];
  const more = found.more === "" ? [] : [".P", ...paragraph(found.more)];
  return [...found.codes.flatMap(([code, meaning]) => tagged(bold(code), meaning)), ...more];
}

interface ExitCodes {
  readonly codes: readonly (readonly [code: string, meaning: string])[];
  readonly more: string;
}

function exitCodes(text: string): ExitCodes | undefined {
  const start = "Exit codes: ";
  if (!text.startsWith(start)) return undefined;
  const [list = "", ...more] = text.slice(start.length).split(/(?<=\.) /);
  const codes = list
    .replace(/\.$/, "")
    .split(/; (?=\d)/)
    .map((one) => {
      const [, code = "", meaning = ""] = /^(\d+) (.*)$/s.exec(one) ?? [];
      return [code, `${meaning}.`] as const;
    });
  return { codes, more: more.join(" ") };
}
