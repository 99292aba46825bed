import { describe, expect, test } from "bun:test";
import { AGENT_PROGRAM, parseAgentCommand } from "#cli/agent-command.ts";
import { completionScript, namesText, SHELLS } from "#cli/completion-command.ts";
import { commandWords, valuedOptions } from "#cli/completion-words.ts";
import { PKI_SUBCOMMANDS } from "#cli/pki-words.ts";
import { parseServerCommand, SERVER_PROGRAM } from "#cli/server-command.ts";
import { HELP_TOPICS, helpText } from "#pki-tools/help.ts";

const PROGRAMS = [AGENT_PROGRAM, SERVER_PROGRAM];

describe("completion", () => {
  test("prints the script of a shell, or asks for names of the configuration file", () => {
    expect(parseAgentCommand(["completion", "bash"], "1")).toEqual({
      ...{ command: "print", text: completionScript(AGENT_PROGRAM, "bash") },
    });
    expect(parseAgentCommand(["completion", "backups", "--config", "a.yaml"], "1")).toEqual({
      ...{ command: "names", of: "backups", configFile: "a.yaml" },
    });
    expect(parseServerCommand(["completion", "storages"], "1")).toEqual({
      ...{ command: "names", of: "storages", configFile: "/etc/nbackup/server.yaml" },
    });
  });
  test("says what it takes when it is asked for something else", () => {
    const refused = expect(() => parseServerCommand(["completion", "tcsh"], "1"));
    refused.toThrow(
      expect.objectContaining({
        code: "E_USAGE",
        message: "completion does not know tcsh",
        hint: "It takes bash, zsh, fish, storages.",
      }),
    );
  });
  test("prints each name once, in the order of the file", () => {
    expect(namesText(["main", "slow", "main"])).toBe("main\nslow\n");
  });
  for (const program of PROGRAMS) {
    for (const shell of SHELLS) {
      test(`knows every command and option in ${shell}: ${program.name}`, () => {
        const script = completionScript(program, shell);
        const commands = program.commands.map(({ name }) => name).filter((name) => name !== "");
        const options = program.commands.flatMap(({ options }) => options.map(({ name }) => name));
        const missing = [...commands, ...options].filter((name) => !new RegExp(`\\b${name}\\b`).test(script));
        expect(missing).toEqual([]);
      });
    }
  }
  test("completes values by what they are", () => {
    const restore = commandWords(SERVER_PROGRAM).find(({ path }) => path === "restore");
    const kinds = restore?.options.map(({ word, value }) => `${word} ${value?.kind ?? "flag"}`);
    expect(kinds).toContain("--to directories");
    expect(kinds).toContain("--config files");
    expect(kinds).toContain("--overwrite choices");
    expect(kinds).toContain("--storage names");
    expect(kinds).toContain("--strip-components none");
    expect(kinds).toContain("--json flag");
    expect(valuedOptions(commandWords(SERVER_PROGRAM))).not.toContain("--json");
  });
});

describe("what completions know of pki", () => {
  test("is every command and option of its own help, and nothing else", () => {
    const commands = HELP_TOPICS.filter((topic) => topic !== "pki");
    expect(PKI_SUBCOMMANDS.map(({ name }) => name).toSorted()).toEqual(commands.toSorted());
    for (const { name, options } of PKI_SUBCOMMANDS) {
      const topic = commands.find((one) => one === name);
      const [usage = ""] = topic === undefined ? [] : helpText(topic).split("\n");
      const told = Array.from(usage.matchAll(/--([a-z-]+)/g), ([, option = ""]) => option);
      expect(options.map((option) => option.name).toSorted()).toEqual(told.toSorted());
    }
  });
});
