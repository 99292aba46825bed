/** The completion script for fish. */
import { type CommandWords, commandWords, valuedOptions, type ValueWords } from "./completion-words.ts";
import type { ProgramSpec } from "./program.ts";

export function fishCompletion(program: ProgramSpec): string {
  const commands = commandWords(program);
  const name = `__${program.name.replaceAll("-", "_")}`;
  const parents = commands.filter(({ path, next }) => path !== "" && next.length > 0).map(({ path }) => path);
  const lines = commands.flatMap((command) => commandLines(program, name, command));
  return `# Completion of ${program.name} in fish. Made by: ${program.name} completion fish

# Whether the words so far are this command: options and their values do not count.
function ${name}_at
    set -l command
    set -l skip 0
    set -l tokens (commandline -opc)
    set -e tokens[1]
    for word in $tokens
        if test $skip -eq 1
            set skip 0
        else if contains -- $word ${valuedOptions(commands).join(" ")}
            set skip 1
        else if not string match -q -- '-*' $word
            if test (count $command) -eq 0; or contains -- "$command" ${parents.length === 0 ? "''" : parents.join(" ")}
                set -a command $word
            end
        end
    end
    test "$command" = "$argv[1]"
end

# Names of the configuration file that the command line tells.
function ${name}_names
    set -l config (string match -r -- '--config[= ]+(\\S+)' (commandline -pc))[2]
    if test -n "$config"
        ${program.name} completion $argv[1] --config $config 2>/dev/null
    else
        ${program.name} completion $argv[1] 2>/dev/null
    end
end

complete -c ${program.name} -f
${lines.join("\n")}
`;
}

function commandLines(program: ProgramSpec, name: string, command: CommandWords): readonly string[] {
  const start = `complete -c ${program.name} -n ${quoted(`${name}_at ${command.path === "" ? '""' : `"${command.path}"`}`)}`;
  const next = command.next.map(({ word, what }) => `${start} -a ${word} -d ${quoted(what)}`);
  const positionals = new Set(command.positionals.map(({ value }) => filler(name, value)));
  positionals.delete("");
  const options = command.options.map(({ word, what, value }) => {
    const taken = value === undefined ? "" : value.kind === "files" ? " -r -F" : ` -x${padded(filler(name, value))}`;
    return `${start} -l ${word.slice(2)}${taken} -d ${quoted(what)}`;
  });
  return [...next, ...[...positionals].map((filled) => `${start} ${filled}`), ...options];
}

function filler(name: string, value: ValueWords): string {
  switch (value.kind) {
    case "none":
      return "";
    case "files":
      return "-F";
    case "directories":
      return "-a '(__fish_complete_directories)'";
    case "choices":
      return `-a ${quoted(value.choices.join(" "))}`;
    case "names":
      return `-a '(${name}_names ${value.of})'`;
  }
}

function padded(text: string): string {
  return text === "" ? "" : ` ${text}`;
}

function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
