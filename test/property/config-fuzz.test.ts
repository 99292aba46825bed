/** Whatever the configuration files hold, loading them ends soon, in a configuration or in problems that name their place. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import fc from "fast-check";
import type { Loaded } from "#config/load.ts";
import { ConfigFailure } from "#config/problem.ts";
import { inProject } from "#scripts/lib/project.ts";
import { anyDocument, bombs, oneWrongValue, wrongBytes, wrongLines } from "#test/support/config-arbitraries.ts";
import { agentOf, FIXTURES, serverOf } from "#test/support/config-fixtures.ts";

setDefaultTimeout(60_000);

type Parts = Pick<Loaded<unknown>, "config" | "content">;

const AGENT = { file: "agent.yaml", load: (bytes: Uint8Array): Parts => agentOf(bytes) };
const SERVER = { file: "/etc/nbackup/server.yaml", load: (bytes: Uint8Array): Parts => serverOf(bytes) };
type Loader = typeof AGENT;

const read = (...parts: string[]): Buffer => fs.readFileSync(path.join(...parts));
const valid = (name: string): Buffer => read(FIXTURES, "valid", name);

const REAL: readonly (readonly [string, Loader, Buffer])[] = [
  ["agent.yaml.example", AGENT, read(inProject("src/config/examples/agent.yaml.example"))],
  ["server.yaml.example", SERVER, read(inProject("src/config/examples/server.yaml.example"))],
  ["agent-full.yaml", AGENT, valid("agent-full.yaml.in")],
  ["server-full.yaml", SERVER, valid("server-full.yaml.in")],
];

/** One load may take so long on a machine that is busy with other things; an exhausted parser takes minutes. */
const LOAD_LIMIT_MS = 10_000;
const PROBLEMS_MAX = 50;

let loads = 0;
let refusals = 0;

/** True when it ends as it should; throws when not, so that a failure says how. */
function endsWell({ file, load }: Loader, bytes: Uint8Array): boolean {
  const startedAtMs = performance.now();
  try {
    const loaded = load(bytes);
    loads += 1;
    expectCounts(loaded.config);
    expectFinite(loaded.content);
  } catch (error) {
    if (!(error instanceof ConfigFailure)) throw error;
    refusals += 1;
    const lines = Buffer.from(bytes)
      .toString("latin1")
      .split(/\r\n|\r|\n/).length;
    expect(error.problems.length).toBeWithin(1, PROBLEMS_MAX + 1);
    for (const problem of error.problems) {
      expect(problem.file).toBe(file);
      // A problem of the whole file has no line; every other one has one that exists.
      if (problem.line !== undefined) expect(problem.line).toBeWithin(1, lines + 1);
      else expect(problem.key).toBe("");
      expect(problem.message.length).toBeWithin(1, 3000);
      expect(problem.message).not.toContain("PRIVATE KEY");
    }
  }
  return performance.now() - startedAtMs < LOAD_LIMIT_MS;
}

/** No NaN, Infinity or negative count has got into the configuration. */
function expectCounts(value: unknown): void {
  if (typeof value === "number") expect(value).toBeWithin(0, Number.MAX_SAFE_INTEGER + 1);
  if (typeof value === "object" && value !== null) for (const child of Object.values(value)) expectCounts(child);
}

/** What the file holds may be any number where a key has no effect, but none that JSON has no word for. */
function expectFinite(value: unknown): void {
  if (typeof value === "number") expect(value).toBeFinite();
  if (typeof value === "object" && value !== null) for (const child of Object.values(value)) expectFinite(child);
}

const both = (bytes: Uint8Array): boolean => endsWell(AGENT, bytes) && endsWell(SERVER, bytes);

describe("whatever the configuration file holds", () => {
  test("a number that is none counts as the text that it is, also under keys without effect", () => {
    const text = valid("server-full.yaml.in").toString("utf8");
    for (const written of [".nan", "-.INF", "1e999", "9".repeat(400)]) {
      const { content } = serverOf(
        text.replace(/^gap_detection:.*(\n +.*)*$/m, `gap_detection: {enabled: [${written}]}`),
      );
      expect(content).toMatchObject({ gap_detection: { enabled: [written] } });
      expect(() => serverOf(text.replace(/max_sessions: \d+/, `max_sessions: ${written}`))).toThrow(
        `found "${written.slice(0, 20)}`,
      );
    }
  });

  test("random bytes are refused with a problem, never with anything else", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), both), { numRuns: 300 });
  });

  test("random YAML punctuation is refused with a problem, never with anything else", () => {
    const piece = fc.constantFrom(
      ...["agent", "backups", ":", ": ", "- ", "\n", "  ", "[", "]", "{", "}", "*a", "&a ", "<<", "'", '"', "|", ">"],
      ...["!x ", "#", "?", "---\n", "\t", "0", "~", "%", "@", "...\n", "\r", "!!binary ", "!!set ", "\u2028", "\ufeff"],
    );
    const text = fc.array(piece, { maxLength: 40 }).map((pieces) => Buffer.from(pieces.join("")));
    fc.assert(fc.property(text, both), { numRuns: 1500 });
  });

  test("documents of any shape, with the keys of ours and others, load or are refused", () => {
    fc.assert(fc.property(anyDocument, both), { numRuns: 600 });
  });

  test("files that are small to write and large to read are refused or read in a moment, within a bounded memory", () => {
    const before = process.memoryUsage().heapUsed;
    fc.assert(fc.property(bombs, both), { numRuns: 60 });
    Bun.gc(true);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 * 2 ** 20);
  });

  for (const [name, loader, bytes] of REAL) {
    const text = bytes.toString("utf8");
    test(`${name} loads untouched`, () => {
      const before = loads;
      expect(endsWell(loader, bytes)).toBe(true);
      expect(loads).toBe(before + 1);
    });
    test(`${name} with bytes changed, cut out or put in loads or is refused with a problem`, () => {
      fc.assert(
        fc.property(wrongBytes(bytes), (mutated) => endsWell(loader, mutated)),
        { numRuns: 250 },
      );
    });
    test(`${name} with lines dropped, doubled, swapped or shifted loads or is refused with a problem`, () => {
      fc.assert(
        fc.property(wrongLines(text), (mutated) => endsWell(loader, mutated)),
        { numRuns: 250 },
      );
    });
    test(`${name} with one value replaced, removed or added loads or is refused with a problem`, () => {
      fc.assert(
        fc.property(oneWrongValue(text), (mutated) => endsWell(loader, mutated)),
        { numRuns: 250 },
      );
    });
  }

  test("every refused sample with a byte changed is refused or loads, too", () => {
    for (const sample of fs.readdirSync(path.join(FIXTURES, "invalid"))) {
      if (!sample.endsWith(".in")) continue;
      const loader = sample.startsWith("agent") ? AGENT : SERVER;
      const mutated = wrongBytes(read(FIXTURES, "invalid", sample));
      fc.assert(
        fc.property(mutated, (changed) => endsWell(loader, changed)),
        { numRuns: 15 },
      );
    }
  });

  test("both ends were reached, each often", () => {
    expect(loads).toBeGreaterThan(200);
    expect(refusals).toBeGreaterThan(1000);
  });
});
