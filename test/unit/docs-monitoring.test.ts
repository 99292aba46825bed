/** What docs/monitoring.md and docs/agent.md say of events, outcomes and commands is what the programs have. */
import { describe, expect, test } from "bun:test";
import { OUTCOMES } from "#observe/records.ts";
import { inProject } from "#scripts/lib/project.ts";

const texts = ["monitoring.md", "agent.md"].map((name) => Bun.file(inProject("docs", name)).text());
const page = (await Promise.all(texts)).join("\n");

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
      /"((?:agent|backup|session|storage|admission|connection|archives?|index|scrub|server|rotation|run|schedule|certificate|stream|maintenance|page|enroll)\.[a-z-]+|[a-z]+_(?:changed|shrunk))"/g;
    for (const [, kind] of text.matchAll(pattern)) if (kind !== undefined) kinds.add(kind);
  }
  // Lines of the log only.
  for (const line of ["agent.stats", "server.stats", "stream.stats", "page.started"]) kinds.delete(line);
  // Keys of the configuration.
  for (const key of ["agent.name", "agent.state_dir", "server.listen"]) kinds.delete(key);
  // Names of files.
  return [...kinds].filter((kind) => !/\.(?:pem|yaml)$/.test(kind)).sort();
}

describe("the pages about what one sees", () => {
  test("explains every event, and no other", async () => {
    expect(
      firstWords((word) => /^(?:[a-z]+\.[a-z-]+|[a-z]+_[a-z]+)$/.test(word) && !/\.(?:jsonl?|sock)$/.test(word)),
    ).toEqual(await eventKinds());
  });

  test("explains every outcome, and no other", () => {
    const outcomes = firstWords((word) => (OUTCOMES as readonly string[]).includes(word));
    expect(outcomes).toEqual([...OUTCOMES].sort());
  });
});
