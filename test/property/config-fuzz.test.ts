import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { ConfigFailure } from "#config/problem.ts";
import { agentOf, FIXTURES } from "#test/support/config-fixtures.ts";

const full = fs.readFileSync(path.join(FIXTURES, "valid", "agent-full.yaml.in"));

/** True when it loads, or is refused as it should be. */
function endsWell(bytes: Uint8Array): boolean {
  try {
    return agentOf(bytes).config.backups.length > 0;
  } catch (error) {
    return error instanceof ConfigFailure && error.problems.length > 0 && error.message.length > 0;
  }
}

describe("whatever the configuration file holds", () => {
  test("random bytes are refused with a problem, never with anything else", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), endsWell), { numRuns: 300 });
  });
  test("random YAML punctuation is refused with a problem, never with anything else", () => {
    const piece = fc.constantFrom(
      "agent",
      "backups",
      ":",
      ": ",
      "- ",
      "\n",
      "  ",
      "[",
      "]",
      "{",
      "}",
      "*a",
      "&a ",
      "<<",
      "'",
      '"',
      "|",
      ">",
      "!x ",
      "#",
      "?",
      "---\n",
      "\t",
      "0",
      "~",
      "%",
      "@",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => endsWell(Buffer.from(pieces.join("")))),
      { numRuns: 1500 },
    );
  });
  test("a real file with bytes changed, cut out or repeated loads or is refused with a problem", () => {
    const edit = fc.tuple(fc.nat(full.length), fc.nat(12), fc.uint8Array({ maxLength: 6 }));
    const mutated = fc
      .array(edit, { minLength: 1, maxLength: 4 })
      .map((edits) =>
        edits.reduce<Uint8Array>(
          (bytes, [at, cut, put]) => Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)]),
          full,
        ),
      );
    fc.assert(fc.property(mutated, endsWell), { numRuns: 400 });
  });
  test("the untouched file loads", () => expect(endsWell(full)).toBe(true));
});
