/** What docs/operations.md says of codes, events, outcomes and commands is what the programs have. */
import { describe, expect, test } from "bun:test";
import { SERVER_PROGRAM } from "#cli/server-command.ts";
import { OUTCOMES } from "#observe/records.ts";
import { errorRows } from "#scripts/lib/error-table.ts";
import { inProject } from "#scripts/lib/project.ts";

const page = await Bun.file(inProject("docs/operations.md")).text();

/** Cells of a table's row, without the spaces that align them. */
const cells = (row: string): string => row.replaceAll(/ *\| */g, "|").trim();

/** Rows of the tables whose first cell is in back quotes. */
const rows = page
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .map(cells);

/** Back-quoted words of the first cell. */
function firstWords(of: (word: string) => boolean): string[] {
  const words = rows.flatMap((row) =>
    [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ""),
  );
  return words.filter(of).sort();
}

async function eventKinds(): Promise<string[]> {
  const kinds = new Set<string>();
  for await (const file of new Bun.Glob("src/{server,bin,agent,observe,web}/*.ts").scan({ cwd: inProject(".") })) {
    const text = await Bun.file(inProject(file)).text();
    const pattern =
      /"((?:agent|session|storage|admission|connection|archives?|index|scrub|server|rotation|run|schedule|certificate|stream|maintenance|page|enroll)\.[a-z-]+|[a-z]+_(?:changed|shrunk))"/g;
    for (const [, kind] of text.matchAll(pattern))
      if (kind !== undefined && !/\.(?:pem|yaml)$/.test(kind)) kinds.add(kind);
  }
  // Lines of the log only.
  for (const line of ["agent.stats", "server.stats", "stream.stats", "page.started"]) kinds.delete(line);
  // Keys of the configuration.
  for (const key of ["agent.name", "agent.state_dir", "server.listen"]) kinds.delete(key);
  return [...kinds].sort();
}

describe("the page for administrators", () => {
  test("has the error catalogue (bun scripts/docs.ts errors)", () => {
    expect(rows.filter((row) => row.startsWith("|`E_"))).toEqual(errorRows().map(cells));
  });

  test("explains every event, and no other", async () => {
    expect(
      firstWords((word) => /^(?:[a-z]+\.[a-z-]+|[a-z]+_[a-z]+)$/.test(word) && !/\.(?:jsonl?|sock)$/.test(word)),
    ).toEqual(await eventKinds());
  });

  test("explains every outcome, and no other", () => {
    const outcomes = firstWords((word) => (OUTCOMES as readonly string[]).includes(word));
    expect(outcomes).toEqual([...OUTCOMES].sort());
  });

  test("names every command that asks a running server", () => {
    const own = new Set(["", "pki", "check-config", "restore", "verify", "cat", "completion"]);
    for (const { name } of SERVER_PROGRAM.commands)
      if (!own.has(name)) expect(page).toContain(`nbackup-server ${name}`);
  });
});
