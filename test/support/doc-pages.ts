/**
 * The pages of the manual as values: headings with their anchors, links, blocks, and the commands that a reader is told to type. Only the Markdown
 * that these pages use: `#` headings, fences, blocks indented by four spaces (which are commands), inline code, links.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { parseAgentCommand } from "#cli/agent-command.ts";
import { parseServerCommand } from "#cli/server-command.ts";
import { parseCommandLine } from "#pki-tools/command-line.ts";
import { inProject } from "#scripts/lib/project.ts";

export interface DocPage {
  /** Relative to the project. */
  readonly file: string;
  readonly text: string;
  readonly anchors: ReadonlySet<string>;
  readonly links: readonly string[];
  /** In the order of the page. */
  readonly blocks: readonly DocBlock[];
  /** Inline code outside of blocks. */
  readonly inline: readonly string[];
}

export interface DocBlock {
  /** The nearest heading above. */
  readonly section: string;
  /** `commands` for an indented block; else the word behind the fence. */
  readonly kind: string;
  /** Without indentation. */
  readonly lines: readonly string[];
}

/** Pages that somebody types from. */
export function manualPages(): readonly DocPage[] {
  const found = [...new Bun.Glob("docs/*.md").scanSync({ cwd: inProject(".") })].sort();
  return ["README.md", "README.pt-BR.md", ...found].map(docPage);
}

/** Those, and what they lead to for who changes the code. */
export function allPages(): readonly DocPage[] {
  return [...manualPages(), ...["CHANGELOG.md", "src/ARCHITECTURE.md", "src/wire/PROTOCOL.md"].map(docPage)];
}

export function docPage(file: string): DocPage {
  return parsePage(file, readFileSync(inProject(file), "utf8"));
}

export function parsePage(file: string, text: string): DocPage {
  const anchors = new Set<string>();
  const blocks: { section: string; kind: string; lines: string[] }[] = [];
  const prose: string[] = [];
  let section = "";
  let fence: string | undefined;
  let open = false;
  for (const line of text.split("\n")) {
    const fenced = /^ *```(\w*)$/.exec(line);
    const typed = /^ {4,}(\S.*)$/.exec(line);
    if (fenced !== null) {
      if (fence === undefined) blocks.push({ section, kind: fenced[1] ?? "", lines: [] });
      fence = fence === undefined ? line : undefined;
      open = false;
    } else if (fence !== undefined) blocks.at(-1)?.lines.push(line.slice(fence.indexOf("`")));
    else if (typed !== null) {
      if (!open) blocks.push({ section, kind: "commands", lines: [] });
      blocks.at(-1)?.lines.push(typed[1] ?? "");
      open = true;
    } else {
      open = false;
      const [, heading] = /^#+ (.+)$/.exec(line) ?? [];
      if (heading !== undefined) {
        section = heading;
        anchors.add(anchorOf(heading));
      }
      prose.push(line);
    }
  }
  const inline = [...prose.join("\n").matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);
  const withoutCode = prose.join("\n").replaceAll(/`[^`\n]+`/g, "");
  const links = [...withoutCode.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return { file, text, anchors, links, blocks, inline };
}

/** As GitHub makes them. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
    .replaceAll(" ", "-");
}

/** Where a link leads: a file relative to the project and an anchor; undefined for another site. */
export function linkTarget(page: DocPage, link: string): { file: string; anchor: string | undefined } | undefined {
  if (/^[a-z]+:/.test(link)) return undefined;
  const [name = "", anchor] = link.split("#");
  const file = name === "" ? page.file : path.join(path.dirname(page.file), name);
  return { file, anchor };
}

/** Lines to be typed of all indented blocks, with their comments taken off; those joined that end in a backslash. */
export function typedLines(page: DocPage): readonly string[] {
  const lines = page.blocks.filter(({ kind }) => kind === "commands").flatMap((block) => block.lines);
  return lines.map(withoutComment).filter((line) => line !== "");
}

export function withoutComment(line: string): string {
  return line.replace(/(^| +)# .*$/, "").trim();
}

/** The words of each command of a line: of all parts of a pipe. Quotes as a shell takes them; no escapes. */
export function commandsOf(line: string): readonly (readonly string[])[] {
  const commands: string[][] = [[]];
  for (const [whole] of line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'|&;]|(?<=\S)&(?=\S))+|[|;]|&&?/g)) {
    if (/^(?:[|;]|&&?)$/.test(whole)) commands.push([]);
    else commands.at(-1)?.push(whole.replaceAll(/"([^"]*)"|'([^']*)'/g, "$1$2"));
  }
  return commands.filter((words) => words.length > 0);
}

/** Programs that run the command behind their own options. */
const WRAPPERS = new Set(["nice", "sudo"]);

/** From the program's name on, where it is a command of ours, also behind `nice -n 19`. */
export function ownCommand(words: readonly string[]): readonly string[] | undefined {
  if (!/^nbackup-/.test(words[0] ?? "") && !WRAPPERS.has(words[0] ?? "")) return undefined;
  const at = words.findIndex((word) => word === "nbackup-agent" || word === "nbackup-server");
  return at < 0 ? undefined : words.slice(at);
}

/** What the program makes of it: the name of a command. Throws Failure. */
export function understood(words: readonly string[]): string {
  const [program, ...args] = words;
  if (program === "nbackup-agent") return parseAgentCommand(args, "").command;
  const command = parseServerCommand(args, "");
  return command.command === "pki" ? `pki ${parseCommandLine(command.args).command}` : command.command;
}
