/** `completion`: prints the script that completes the program's command line in a shell, or names that such a script asks for. */
import type { ParsedCommand } from "./archive-arguments.ts";
import { bashCompletion } from "./completion-bash.ts";
import { fishCompletion } from "./completion-fish.ts";
import { zshCompletion } from "./completion-zsh.ts";
import { usage } from "./parse.ts";
import type { CommandSpec, OptionSpec, ProgramSpec } from "./program.ts";

export type Shell = "bash" | "zsh" | "fish";

export const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];

/** Names that the configuration file has. */
export type NameKind = "backups" | "storages";

export type CompletionRequest =
  | { readonly command: "print"; readonly text: string }
  /** One name a line. */
  | { readonly command: "names"; readonly of: NameKind; readonly configFile: string };

const SCRIPTS: Readonly<Record<Shell, (program: ProgramSpec) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

/** `names`: those of which the program's configuration has any. */
export function completionCommand(config: OptionSpec, names: readonly NameKind[]): CommandSpec {
  return {
    name: "completion",
    what: "Print a script that completes this program's command line in a shell.",
    options: [config],
    positionals: [
      {
        name: "SHELL",
        what: `${SHELLS.join(", ")}; or ${names.join(", ")}, for the scripts: such names of the configuration file, one a line.`,
        required: true,
        choices: SHELLS,
      },
    ],
    details: ["The Debian package has the scripts in place. Without it: source <(… completion bash) in ~/.bashrc."],
  };
}

export function completionScript(program: ProgramSpec, shell: Shell): string {
  return SCRIPTS[shell](program);
}

/** Throws Failure E_USAGE. */
export function completionRequest(
  program: ProgramSpec,
  { positionals }: ParsedCommand,
  options: { readonly configFile: string; readonly names: readonly NameKind[] },
): CompletionRequest {
  const [word = ""] = positionals;
  const shell = SHELLS.find((name) => name === word);
  if (shell !== undefined) return { command: "print", text: completionScript(program, shell) };
  const of = options.names.find((name) => name === word);
  if (of !== undefined) return { command: "names", of, configFile: options.configFile };
  throw usage(`completion does not know ${word}`, `It takes ${[...SHELLS, ...options.names].join(", ")}.`);
}

/** Each name once, in the order of the file. */
export function namesText(names: readonly string[]): string {
  return [...new Set(names)].map((name) => `${name}\n`).join("");
}
