/** The completion script for bash. It needs bash 4 and nothing else: not the functions of Debian's bash-completion. */
import { type CommandWords, commandWords, valuedOptions, type ValueWords } from "./completion-words.ts";
import type { ProgramSpec } from "./program.ts";

export function bashCompletion(program: ProgramSpec): string {
  const commands = commandWords(program);
  const name = `_${program.name.replaceAll("-", "_")}`;
  const parents = commands.filter(({ path, next }) => path !== "" && next.length > 0).map(({ path }) => path);
  return `# Completion of ${program.name} in bash. Made by: ${program.name} completion bash

${name}() {
    local cur=\${COMP_WORDS[COMP_CWORD]} command='' option='' config='' count=0 i word
    COMPREPLY=()
    # Bash takes --option=VALUE for three words.
    [[ $cur == '=' ]] && cur=''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=\${COMP_WORDS[i]}
        if [[ $word == '=' ]]; then
            continue
        elif [[ -n $option ]]; then
            [[ $option == --config ]] && config=$word
            option=''
        elif [[ ' ${valuedOptions(commands).join(" ")} ' == *" $word "* ]]; then
            option=$word
        elif [[ $word == -* ]]; then
            continue
        elif [[ -z $command ]]; then
            command=$word
        elif [[ ' ${parents.join(" ")} ' == *" $command "* ]]; then
            command+=" $word"
        else
            count=$((count + 1))
        fi
    done
    if [[ -n $option ]]; then
        case "$command $option" in
${valueCases(program, commands)}
        esac
        return
    fi
    if [[ $cur == -* ]]; then
        case "$command" in
${commands
  .map((command) =>
    wordsCase(
      quoted(command.path),
      command.options.map(({ word }) => word),
    ),
  )
  .join("\n")}
        esac
        return
    fi
    case "$command $count" in
${positionalCases(program, commands)}
    esac
}

complete -F ${name} ${program.name}
`;
}

function valueCases(program: ProgramSpec, commands: readonly CommandWords[]): string {
  const patterns = new Map<string, string[]>();
  for (const { path, options } of commands) {
    for (const { word, value } of options) {
      const action = value === undefined ? undefined : fill(program, value);
      if (action === undefined) continue;
      const places = patterns.get(action) ?? [];
      places.push(quoted(`${path} ${word}`));
      patterns.set(action, places);
    }
  }
  return [...patterns].map(([action, places]) => caseOf(places.join(" | "), action)).join("\n");
}

function positionalCases(program: ProgramSpec, commands: readonly CommandWords[]): string {
  return commands
    .flatMap(({ path, next, positionals }) => {
      const words =
        next.length === 0
          ? []
          : [
              wordsCase(
                quoted(`${path} 0`),
                next.map(({ word }) => word),
                OUTER,
              ),
            ];
      const places = positionals.map(({ value, many }, index) => {
        const action = fill(program, value);
        const pattern = many ? `${quoted(`${path} `)}*` : quoted(`${path} ${index}`);
        return action === undefined ? [] : [caseOf(pattern, action, OUTER)];
      });
      return [...words, ...places.flat()];
    })
    .join("\n");
}

const OUTER = " ".repeat(8);
const INNER = " ".repeat(12);

function wordsCase(pattern: string, words: readonly string[], indent = INNER): string {
  return caseOf(pattern, compgen(`-W '${words.join(" ")}'`), indent);
}

function caseOf(pattern: string, action: string, indent = INNER): string {
  return `${indent}${pattern}) ${action} ;;`;
}

function fill(program: ProgramSpec, value: ValueWords): string | undefined {
  switch (value.kind) {
    case "none":
      return undefined;
    case "files":
      return `compopt -o filenames 2>/dev/null; ${compgen("-f")}`;
    case "directories":
      return `compopt -o filenames 2>/dev/null; ${compgen("-d")}`;
    case "choices":
      return compgen(`-W '${value.choices.join(" ")}'`);
    case "names": {
      const ask = `${program.name} completion ${value.of} \${config:+--config "$config"} 2>/dev/null`;
      return compgen(`-W "$(${ask})"`);
    }
  }
}

function compgen(what: string): string {
  return `mapfile -t COMPREPLY < <(compgen ${what} -- "$cur")`;
}

function quoted(text: string): string {
  return `'${text}'`;
}
