/** The completion script for zsh: a file for its fpath, which may also be sourced. */
import {
  type CommandWords,
  commandWords,
  type OptionWords,
  type PositionalWords,
  type ValueWords,
} from "./completion-words.ts";
import type { ProgramSpec } from "./program.ts";

export function zshCompletion(program: ProgramSpec): string {
  const commands = commandWords(program);
  const name = `_${program.name.replaceAll("-", "_")}`;
  const own = commands.find(({ path }) => path === "");
  return `#compdef ${program.name}
# Completion of ${program.name} in zsh. Made by: ${program.name} completion zsh

${name}_names() {
  local config=\${(Q)opt_args[--config]}
  compadd -- \${(f)"$(${program.name} completion $1 \${config:+--config} \${config:+"$config"} 2>/dev/null)"}
}

${name}() {
  local curcontext=$curcontext line state ret=1
  typeset -A opt_args
${own === undefined ? "" : withNext(name, own, commands)}
  return ret
}

if [[ $funcstack[1] == ${name} ]]; then
  ${name} "$@"
else
  compdef ${name} ${program.name}
fi
`;
}

/** A command whose next word is a command too. */
function withNext(name: string, command: CommandWords, commands: readonly CommandWords[]): string {
  const below = command.path === "" ? "" : `${command.path} `;
  const ways = command.next.map(({ word }) => {
    const next = commands.find(({ path }) => path === `${below}${word}`);
    const body =
      next === undefined || next.next.length === 0
        ? argumentsCall(
            name,
            next?.options ?? [],
            (next?.positionals ?? []).map((item, i) => positional(name, item, i)),
          )
        : withNext(name, next, commands);
    return `        ${word})\n${body}\n          ;;`;
  });
  const described = command.next.map(({ word, what }) => `        ${quoted(`${word}:${escaped(what)}`)}`);
  return `${argumentsCall(name, command.options, ["'1: :->command'", "'*:: :->rest'"], "-C")}
  case $state in
    command)
      local -a words_next=(
${described.join("\n")}
      )
      _describe -t commands command words_next && ret=0
      ;;
    rest)
      case $words[1] in
${ways.join("\n")}
      esac
      ;;
  esac`;
}

function argumentsCall(
  name: string,
  options: readonly OptionWords[],
  positionals: readonly string[],
  flag = "",
): string {
  const specs = [...options.map((option) => optionSpec(name, option)), ...positionals];
  return `  _arguments ${flag === "" ? "" : `${flag} `}\\\n${specs.map((spec) => `    ${spec} \\`).join("\n")}\n    && ret=0`;
}

function optionSpec(name: string, { word, what, value }: OptionWords): string {
  const description = `[${escaped(what)}]`;
  if (value === undefined) return quoted(`${word}${description}`);
  return quoted(`${word}=${description}:${escaped(value.name)}:${action(name, value)}`);
}

function positional(name: string, item: PositionalWords, index: number): string {
  const place = item.many ? "*:" : item.required ? `${index + 1}:` : `${index + 1}::`;
  return quoted(`${place}${escaped(item.name)}:${action(name, item.value)}`);
}

function action(name: string, value: ValueWords): string {
  switch (value.kind) {
    case "none":
      return " ";
    case "files":
      return "_files";
    case "directories":
      return "_files -/";
    case "choices":
      return `(${value.choices.join(" ")})`;
    case "names":
      return `${name}_names ${value.of}`;
  }
}

/** In a spec of _arguments brackets and colons have a meaning. */
function escaped(text: string): string {
  return text.replace(/[[\]:\\]/g, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
