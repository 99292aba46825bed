/** Every command, example and link of the manual is one that the programs take, accept and have. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import path from "node:path";
import { parse, stringify } from "yaml";
import { CATALOGUE } from "#base/catalogue.ts";
import { AGENT_PROGRAM } from "#cli/agent-command.ts";
import { PKI_SUBCOMMANDS } from "#cli/pki-words.ts";
import { SERVER_PROGRAM } from "#cli/server-command.ts";
import { inProject } from "#scripts/lib/project.ts";
import { agentOf, agentYaml, serverOf, serverYaml } from "#test/support/config-fixtures.ts";
import {
  allPages,
  commandsOf,
  docPage,
  type DocPage,
  linkTarget,
  manualPages,
  ownCommand,
  parsePage,
  typedLines,
  understood,
} from "#test/support/doc-pages.ts";

/** `nbackup-server pki WORD`. */
const PKI_WORDS = PKI_SUBCOMMANDS.map(({ name }) => name);
const ALL = allPages();
const MANUAL = manualPages();

/** What a page may tell somebody to type beside our programs: on every Linux machine, or said on the page. */
const TOOLS = new Set(
  "apt bun cd chown cmp cp diff echo install journalctl mkdir npm sha256sum systemctl tar useradd".split(" "),
);
/** Behind a pipe. */
const RECEIVERS = new Set(["gunzip", "psql", "ssh"]);
/** Kinds of blocks that nobody types: output and drawings, files of other programs; and scripts, which test/e2e/web-api.test.ts runs. */
const OTHER_KINDS = new Set(["text", "ini", "yaml", "sh"]);

function refusal(words: readonly string[]): string | undefined {
  try {
    understood(words);
    return undefined;
  } catch (error) {
    return `${words.join(" ")}: ${String(error)}`;
  }
}

for (const page of MANUAL) {
  describe(page.file, () => {
    const commands = typedLines(page).flatMap((line) => commandsOf(line).map((words) => ({ line, words })));

    test("has no command that the programs do not take", () => {
      const own = commands.map(({ words }) => ownCommand(words)).filter((words) => words !== undefined);
      expect(own.flatMap((words) => refusal(words) ?? [])).toEqual([]);
    });
    test("nor one in a sentence", () => {
      const whole = page.inline.filter((code) => code.includes(" ") && !code.endsWith(" …"));
      const own = whole.flatMap(commandsOf).flatMap((words) => [ownCommand(words) ?? []]);
      expect(own.filter((words) => words.length > 0).flatMap((words) => inSentence(words) ?? [])).toEqual([]);
    });
    test("types nothing but what is known", () => {
      const unknown = commands.filter(
        ({ line, words }) =>
          ownCommand(words) === undefined &&
          !TOOLS.has(words[0] ?? "") &&
          !(line.includes("|") && RECEIVERS.has(words[0] ?? "")),
      );
      expect(unknown.map(({ line }) => line)).toEqual([]);
      expect(
        page.blocks.map(({ kind }) => kind).filter((kind) => kind !== "commands" && !OTHER_KINDS.has(kind)),
      ).toEqual([]);
    });
    test("has no example of a configuration that check-config would not take", () => {
      for (const { kind, lines } of page.blocks) if (kind === "yaml") acceptExample(lines.join("\n"));
    });
    test("names no code that there is not", () => {
      const codes = [...page.text.matchAll(/\bE_[A-Z_]+\b/g)].map(([code]) => code);
      expect(codes.filter((code) => !Object.hasOwn(CATALOGUE, code))).toEqual([]);
    });
  });
}

/** In a sentence the bare name of a command stands for it, with names in capitals for what else it takes or nothing. */
function inSentence(words: readonly string[]): string | undefined {
  const [program, name = "", ...rest] = words;
  const { commands } = program === "nbackup-agent" ? AGENT_PROGRAM : SERVER_PROGRAM;
  const known = commands.some((command) => command.name === name);
  const part = { pki: PKI_WORDS, index: ["rebuild"] }[name];
  const more = part?.includes(rest[0] ?? "") === true ? rest.slice(1) : rest;
  return known && more.every((word) => /^[A-Z:]+$/.test(word)) ? undefined : refusal(words);
}

/** Keys that the example does not show are filled in; what it shows has to stand as it is. */
function acceptExample(text: string): void {
  const [, file] = /^# (\S+)\n/.exec(text) ?? [];
  const shown = parse(text) as Record<string, unknown>;
  if (file === "agent.yaml") {
    const { warnings } = agentOf(stringify({ ...(parse(agentYaml("")) as object), ...shown }));
    expect(warnings.map(({ message }) => message)).toEqual([]);
  } else if (file === "server.yaml") {
    const { warnings } = serverOf(stringify({ ...(parse(serverYaml("")) as object), ...shown }));
    expect(warnings.map(({ message }) => message)).toEqual([]);
  } else expect(file).toBeOneOf(["prometheus.yml", "rules.yml"]);
}

describe("links", () => {
  const anchorsOf = new Map<string, ReadonlySet<string>>(ALL.map(({ file, anchors }) => [file, anchors]));
  for (const page of ALL) {
    test(`of ${page.file} lead somewhere`, () => {
      expect(page.links.filter((link) => !leadsSomewhere(page, link))).toEqual([]);
    });
  }
  function leadsSomewhere(page: DocPage, link: string): boolean {
    const target = linkTarget(page, link);
    if (target === undefined) return true;
    const { file, anchor } = target;
    if (!existsSync(inProject(file))) return false;
    return anchor === undefined || (anchorsOf.get(file)?.has(anchor) ?? false);
  }
  test("lead to every page from the index", () => {
    const index = docPage("docs/README.md");
    const linked = new Set(index.links.map((link) => linkTarget(index, link)?.file));
    expect(ALL.map(({ file }) => file).filter((file) => !linked.has(file) && file !== index.file)).toEqual([]);
  });
  test("lead from each README to the other", () => {
    expect(docPage("README.md").links).toContain("README.pt-BR.md");
    expect(docPage("README.pt-BR.md").links).toContain("README.md");
  });
  test("of a page's table of contents are its sections, in their order", () => {
    for (const { file, text } of MANUAL) {
      const contents = [...text.matchAll(/^- \[(.+)\]\(#.+\)$/gm)].map(([, name]) => name);
      if (contents.length === 0) continue;
      const sections = [...text.matchAll(/^## (.+)$/gm)].map(([, name]) => name);
      expect([file, contents]).toEqual([file, sections]);
    }
  });
});

describe("how pages are read", () => {
  const page = parsePage(
    "docs/x.md",
    "# A `b`: c's\n\n[x](y.md#z) `nbackup-agent ls` `[no](link)`\n\n    nbackup-agent list | head  # all\n    a 'b c' && d &\n\n```yaml\n# agent.yaml\n```\n",
  );
  test("headings, links, inline code and blocks are told apart", () => {
    expect([...page.anchors]).toEqual(["a-b-cs"]);
    expect(page.links).toEqual(["y.md#z"]);
    expect(linkTarget(page, "y.md#z")).toEqual({ file: path.join("docs", "y.md"), anchor: "z" });
    expect(page.inline).toEqual(["b", "nbackup-agent ls", "[no](link)"]);
    expect(page.blocks.map(({ kind }) => kind)).toEqual(["commands", "yaml"]);
  });
  test("a line is cut into commands and words as a shell does it", () => {
    expect(typedLines(page).map(commandsOf)).toEqual([
      [["nbackup-agent", "list"], ["head"]],
      [["a", "b c"], ["d"]],
    ]);
    expect(ownCommand(["nice", "-n", "19", "nbackup-server", "scrub"])).toEqual(["nbackup-server", "scrub"]);
  });
  test("a command that the programs do not take is found", () => {
    expect(refusal(["nbackup-agent", "restore", "latest", "--too", "x"])).toContain("E_USAGE");
    expect(refusal(["nbackup-server", "pki", "agend"])).toContain("E_USAGE");
  });
});
