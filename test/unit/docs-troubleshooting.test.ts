/** The page of symptoms and codes is whole and current, and names every command that one looks with. */
import { describe, expect, test } from "bun:test";
import { CATALOGUE } from "#base/catalogue.ts";
import { AGENT_PROGRAM } from "#cli/agent-command.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { SERVER_PROGRAM } from "#cli/server-command.ts";
import { errorReference, REFERENCE_MARK } from "#scripts/lib/error-reference.ts";
import { ERROR_PROSE } from "#scripts/lib/error-prose.ts";
import { docPage, manualPages } from "#test/support/doc-pages.ts";

const page = docPage("docs/troubleshooting.md");
const [byHand = "", made] = page.text.split(REFERENCE_MARK);

describe("troubleshooting", () => {
  test("has the error catalogue as it is (bun scripts/docs.ts)", () => {
    expect(`${REFERENCE_MARK}${made}`).toBe(errorReference());
  });
  test("has each code once, with its meaning, exit status, retry and hint", () => {
    const sections = page.text.split(/^### (?=E_)/m).slice(1);
    expect(sections.map((text) => text.split("\n")[0] ?? "")).toEqual(Object.keys(CATALOGUE).sort());
    for (const text of sections) {
      const [code = "", , meaning, , status, , hint] = text.split("\n");
      const { exit, retry, hint: said } = CATALOGUE[code as keyof typeof CATALOGUE];
      expect(meaning).toBe(ERROR_PROSE[code as keyof typeof CATALOGUE]);
      expect(status).toBe(`Exit status ${exit}. ${retry ? "The agent tries" : "It is not tried"} again by itself.`);
      expect(hint).toBe(`HINT: ${said}`);
    }
  });
  test("says of each code in whole sentences what the hint does not", () => {
    for (const [code, prose] of Object.entries(ERROR_PROSE)) {
      expect([code, /^[A-Z`].*\.$/.test(prose)]).toEqual([code, true]);
      expect(prose).not.toBe(CATALOGUE[code as keyof typeof CATALOGUE].hint);
    }
  });
  test("explains every exit code", () => {
    const exits = [...byHand.matchAll(/^\| (\d+) +\|/gm)].map(([, code]) => Number(code));
    expect(exits).toEqual([...new Set(Object.values(EXIT))].sort((a, b) => a - b));
  });
});

describe("the manual", () => {
  test("names every command of both programs somewhere", () => {
    const text = manualPages()
      .map((one) => one.text)
      .join("\n");
    const words = [AGENT_PROGRAM, SERVER_PROGRAM].flatMap(({ commands }) => commands.map(({ name }) => name));
    const unnamed = words.filter((word) => !new RegExp(`nbackup-(?:agent|server) ${word}\\b`).test(text));
    expect(unnamed.filter((word) => word !== "")).toEqual([]);
  });
});
