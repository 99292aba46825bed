/** What docs/restore.md tells somebody to type is what the programs take, and what it says of codes is what they have. */
import { describe, expect, test } from "bun:test";
import { CATALOGUE } from "#base/catalogue.ts";
import { parseAgentCommand } from "#cli/agent-command.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { parseServerCommand } from "#cli/server-command.ts";
import { parseCommandLine } from "#pki-tools/command-line.ts";
import { inProject } from "#scripts/lib/project.ts";

const page = await Bun.file(inProject("docs/restore.md")).text();

/** Lines to be typed: they are indented, by more in a numbered list. */
const typed = page
  .split("\n")
  .filter((line) => /^ {4}/.test(line))
  .map((line) => line.trim());
/** Also those within sentences, when they are whole. */
const inSentences = [...page.matchAll(/`(nbackup-[a-z]+ [^`]+)`/g)].map(([, command = ""]) => command);

/** As a shell takes them: words of a line's first command, up to a pipe. Only what the page uses: quotes, and no escapes. */
function words(line: string): string[] {
  const found = [...line.matchAll(/"([^"]*)"|'([^']*)'|([^\s"'|]+)|(\|)/g)];
  const end = found.findIndex((match) => match[4] !== undefined);
  return found.slice(0, end < 0 ? found.length : end).map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

/** What the program makes of it. Throws Failure. */
function parsed(command: string): string {
  const [program, ...args] = words(command);
  if (program === "nbackup-agent") return parseAgentCommand(args, "").command;
  const understood = parseServerCommand(args, "");
  if (understood.command !== "pki") return understood.command;
  return `pki ${parseCommandLine(understood.args).command}`;
}

const outcome = (command: string): string => {
  try {
    return parsed(command);
  } catch (error) {
    return String(error);
  }
};

describe("the page for the day of the disaster", () => {
  const commands = typed.filter((line) => line.startsWith("nbackup-"));

  test("has no command that the programs do not take", () => {
    const refused = commands.map((line) => [line, outcome(line)]).filter(([, result]) => /[:]/.test(result ?? ""));
    expect(refused).toEqual([]);
  });

  test("nor one in a sentence", () => {
    // A bare name of a command stands for it, not for something to type.
    const whole = inSentences.filter((line) => words(line).length > 2);
    expect(whole.length).toBeGreaterThan(0);
    expect(whole.map((line) => [line, outcome(line)]).filter(([, result]) => /[:]/.test(result ?? ""))).toEqual([]);
  });

  test("shows each way to get something back", () => {
    const shown = new Set(commands.map((line) => `${words(line)[0]} ${outcome(line)}`));
    for (const side of ["agent", "server"]) expect([...shown]).toContain(`nbackup-${side} archives`);
    for (const word of ["restore", "cat", "find", "ls", "diff", "list", "verify", "index rebuild", "pki agent"])
      expect(commands.some((line) => line.includes(` ${word}`))).toBe(true);
  });

  test("types nothing but what is known: nbackup's programs, and tools of every Linux machine", () => {
    const tools = typed.map((line) => words(line)[0] ?? "").filter((word) => !word.startsWith("nbackup-"));
    expect([...new Set(tools)].sort()).toEqual(["cp", "mkdir", "sha256sum", "tar"]);
  });

  test("explains codes and exit codes that exist", () => {
    for (const [code] of page.matchAll(/\bE_[A-Z_]+/g)) expect(Object.keys(CATALOGUE)).toContain(code);
    const exits = [...page.matchAll(/^\| (\d+) +\|/gm)].map(([, code]) => Number(code));
    const { done, failed, usage, partial, interrupted, outputClosed } = EXIT;
    expect(exits).toEqual([done, failed, usage, partial, interrupted, outputClosed]);
  });

  test("has every section in its table of contents, and no other", () => {
    const headings = [...page.matchAll(/^## (.+)$/gm)].map(([, heading = ""]) => heading);
    const anchors = headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, "")
        .replaceAll(" ", "-"),
    );
    const contents = [...page.matchAll(/^- \[(.+)\]\(#(.+)\)$/gm)].map(([, name, anchor]) => [name, anchor]);
    expect(contents).toEqual(headings.map((heading, index) => [heading, anchors[index]]));
    for (const [, anchor = ""] of page.matchAll(/\]\(#([^)]+)\)/g)) expect(anchors).toContain(anchor);
  });
});
