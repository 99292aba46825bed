/** The page for the day of the disaster has a way for each loss, and its codes are those that there are. */
import { describe, expect, test } from "bun:test";
import { EXIT } from "#cli/exit-codes.ts";
import { commandsOf, docPage, ownCommand, typedLines, understood } from "#test/support/doc-pages.ts";

const page = docPage("docs/restore.md");

describe("the page for the day of the disaster", () => {
  const commands = typedLines(page).flatMap(commandsOf);
  const own = commands.map(ownCommand).filter((words) => words !== undefined);

  test("shows each way to get something back", () => {
    const shown = new Set(own.map((words) => `${words[0]} ${understood(words)}`));
    for (const side of ["agent", "server"]) expect([...shown]).toContain(`nbackup-${side} archives`);
    for (const word of ["restore", "cat", "find", "ls", "diff", "list", "verify", "index rebuild", "pki agent"])
      expect(own.some((words) => words.join(" ").includes(` ${word}`))).toBe(true);
  });

  test("types nothing but nbackup's programs, and tools of every Linux machine", () => {
    const tools = commands.filter((words) => ownCommand(words) === undefined).map(([tool]) => tool);
    expect([...new Set(tools)].sort()).toEqual(["cp", "gunzip", "mkdir", "psql", "sha256sum", "ssh", "tar"]);
  });

  test("explains the exit codes that exist", () => {
    const exits = [...page.text.matchAll(/^\| (\d+) +\|/gm)].map(([, code]) => Number(code));
    const { done, failed, usage, partial, interrupted, outputClosed } = EXIT;
    expect(exits).toEqual([done, failed, usage, partial, interrupted, outputClosed]);
  });
});
