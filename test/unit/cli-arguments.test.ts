import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { nearest } from "#base/nearest.ts";
import { AGENT_PROGRAM, parseAgentCommand } from "#cli/agent-command.ts";
import { helpText } from "#cli/help.ts";
import { parseArguments } from "#cli/parse.ts";
import { commandNamed, type ProgramSpec } from "#cli/program.ts";
import { selectBackups } from "#cli/select-backups.ts";
import { parseServerCommand, SERVER_PROGRAM } from "#cli/server-command.ts";
import { columnsOf } from "#cli/terminal-text.ts";
import { agentOf, agentYaml } from "#test/support/config-fixtures.ts";

const agent = (line: string): unknown => parseAgentCommand(words(line), "1.2.3");
const server = (line: string): unknown => parseServerCommand(words(line), "1.2.3");

function words(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

function usageOf(parse: () => unknown): { readonly message: string; readonly hint: string } {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    expect([error.code, error.exitCode]).toEqual(["E_USAGE", 2]);
    return { message: error.message, hint: error.hint };
  }
  throw new Error("the arguments were accepted");
}

describe("the command line of nbackup-agent", () => {
  const ONCE = {
    command: "once",
    configFile: "/etc/nbackup/agent.yaml",
    backup: undefined,
    progress: false,
    json: false,
    waitVerify: false,
  };
  const cases: readonly [string, unknown][] = [
    ["--once", ONCE],
    ["--config a.yaml --once", { ...ONCE, configFile: "a.yaml" }],
    [
      "--once --config=a.yaml --backup=home --progress --json",
      { ...ONCE, configFile: "a.yaml", backup: "home", progress: true, json: true },
    ],
    ["--once --wait-verify", { ...ONCE, waitVerify: true }],
    ["--once --backup=-odd", { ...ONCE, backup: "-odd" }],
    ["--once --config -", { ...ONCE, configFile: "-" }],
    ["check-config --config a.yaml", { command: "check-config", configFile: "a.yaml", json: false }],
    ["--config a.yaml check-config --json", { command: "check-config", configFile: "a.yaml", json: true }],
    ["check-config", { command: "check-config", configFile: "/etc/nbackup/agent.yaml", json: false }],
    [
      "health backup.example.com:9847 --config a.yaml",
      {
        ...{ command: "health", configFile: "a.yaml", json: false },
        server: { host: "backup.example.com", port: 9847 },
      },
    ],
    [
      "--json health [::1]:1",
      { command: "health", configFile: "/etc/nbackup/agent.yaml", server: { host: "::1", port: 1 }, json: true },
    ],
    ["", { command: "serve", configFile: "/etc/nbackup/agent.yaml" }],
    ["--config a.yaml", { command: "serve", configFile: "a.yaml" }],
    ["status --config a.yaml --json", { command: "status", configFile: "a.yaml", json: true }],
    ["--version", { command: "print", text: "nbackup-agent 1.2.3\n" }],
    ["--help", { command: "print", text: helpText(AGENT_PROGRAM, undefined) }],
    ["check-config --help", { command: "print", text: helpText(AGENT_PROGRAM, AGENT_PROGRAM.commands[1]) }],
    ["help", { command: "print", text: helpText(AGENT_PROGRAM, undefined) }],
    ["help help", { command: "print", text: helpText(AGENT_PROGRAM, undefined) }],
    ["help --help", { command: "print", text: helpText(AGENT_PROGRAM, undefined) }],
    ["help check-config", { command: "print", text: helpText(AGENT_PROGRAM, AGENT_PROGRAM.commands[1]) }],
    [
      "--config a.yaml help check-config x",
      { command: "print", text: helpText(AGENT_PROGRAM, AGENT_PROGRAM.commands[1]) },
    ],
  ];
  for (const [line, command] of cases) {
    if (command !== undefined) test(`reads: ${line}`, () => expect(agent(line)).toEqual(command));
  }
  const wrong: readonly [string, string, string][] = [
    ["--progress", "--progress goes with --once", "Add --once."],
    ["--wait-verify", "--wait-verify goes with --once", "Add --once."],
    ["--backup home", "--backup goes with --once", "Add --once."],
    ["--once --progess", "unknown option --progess", "Did you mean --progress?"],
    ["--once -p", "unknown option -p", "See nbackup-agent --help."],
    ["check-config --once", "nbackup-agent check-config does not take --once", "--once goes with nbackup-agent."],
    ["chek-config", "unknown command chek-config", "Did you mean check-config?"],
    ["help chek-config", "unknown command chek-config", "Did you mean check-config?"],
    ["hlep", "unknown command hlep", "Did you mean help?"],
    [
      "now",
      "unknown command now",
      "The commands are check-config, enroll, list, ls, find, diff, cat, restore, verify, health, status, completion; see nbackup-agent --help.",
    ],
    [
      "health",
      "nbackup-agent health wants HOST:PORT",
      "HOST:PORT: The server, in place of server.address. See nbackup-agent health --help.",
    ],
    [
      "health backup",
      "backup is not the address of a server: the port is missing",
      "Write HOST:PORT, as in server.address.",
    ],
    ["--once --config", "--config wants a value", "Write --config FILE, or --config=FILE if it begins with a dash."],
    [
      "--once --config --json",
      "--config wants a value",
      "Write --config FILE, or --config=FILE if it begins with a dash.",
    ],
    ["--once --config=", "--config wants a value", "Write --config FILE, or --config=FILE if it begins with a dash."],
    ["--once --json=yes", "--json takes no value", "Run the command with --help to see what it takes."],
    ["--once --once", "--once is given twice", "Run the command with --help to see what it takes."],
    ["--once --config a --config b", "--config is given twice", "Run the command with --help to see what it takes."],
    ["--once -- home", "nbackup-agent does not take the argument home", "See nbackup-agent --help."],
    [
      "check-config a.yaml",
      "nbackup-agent check-config does not take the argument a.yaml",
      "See nbackup-agent check-config --help.",
    ],
  ];
  for (const [line, message, hint] of wrong) {
    test(`refuses: ${line === "" ? "nothing at all" : line}`, () =>
      expect(usageOf(() => agent(line))).toEqual({ message, hint }));
  }
});

describe("the command line of nbackup-server", () => {
  const cases: readonly [string, unknown][] = [
    ["", { command: "serve", configFile: "/etc/nbackup/server.yaml" }],
    ["--config s.yaml", { command: "serve", configFile: "s.yaml" }],
    ["check-config --config s.yaml", { command: "check-config", configFile: "s.yaml", json: false }],
    ["--version", { command: "print", text: "nbackup-server 1.2.3\n" }],
    ["pki", { command: "pki", args: [] }],
    ["pki --help", { command: "pki", args: ["--help"] }],
    ["help pki", { command: "pki", args: ["--help"] }],
    ["help pki agent", { command: "pki", args: ["agent", "--help"] }],
    [
      "pki agent web-01 --dir D --days=3 -- x",
      { command: "pki", args: ["agent", "web-01", "--dir", "D", "--days=3", "--", "x"] },
    ],
    ["status --json --config s.yaml", { command: "status", configFile: "s.yaml", json: true }],
    ["sessions", { command: "sessions", configFile: "/etc/nbackup/server.yaml", json: false }],
    ["history --limit 3 --config s", { command: "history", configFile: "s", json: false, limit: 3, agent: undefined }],
    ["events --config s", { command: "events", configFile: "s", json: false, limit: 50 }],
    ["abort 7 --config s", { command: "abort", configFile: "s", json: false, session: "7" }],
    [
      "prune web-1 home --dry-run --storage main --config s",
      {
        ...{ command: "prune", configFile: "s", json: false, agent: "web-1", backup: "home" },
        ...{ storage: "main", dryRun: true },
      },
    ],
    ["--help pki", { command: "print", text: helpText(SERVER_PROGRAM, commandNamed(SERVER_PROGRAM, "pki")) }],
  ];
  for (const [line, command] of cases) {
    test(`reads: ${line === "" ? "nothing at all" : line}`, () => expect(server(line)).toEqual(command));
  }
  test("refuses a limit that is none and a name that is none", () => {
    for (const limit of ["0", "x", "1e3", "10001", "-1"]) {
      expect(usageOf(() => server(`history --limit=${limit}`)).message).toBe(`--limit is ${limit}`);
    }
    expect(() => server("prune ../..")).toThrow('AGENT is "../.."');
    expect(usageOf(() => server("abort")).message).toBe("nbackup-server abort wants SESSION");
  });
  test("refuses an option before pki that pki-tools would never see", () => {
    expect(usageOf(() => server("--config s.yaml pki init")).message).toBe("nbackup-server pki does not take --config");
  });
});

describe("a table with positional arguments", () => {
  const program: ProgramSpec = {
    name: "tool",
    what: "does things",
    commands: [
      {
        name: "copy",
        what: "Copy.",
        details: [],
        options: [{ name: "depth", value: "N", what: "How deep." }],
        positionals: [
          { name: "FROM", what: "Where from.", required: true },
          { name: "TO", what: "Where to.", required: false },
        ],
      },
    ],
    footer: [],
  };
  test("takes them in order, the optional ones or not, and after -- whatever they look like", () => {
    const positionals = (argv: string[]): unknown => {
      const parsed = parseArguments(program, argv);
      return parsed.kind === "command" ? parsed.positionals : parsed;
    };
    expect(positionals(["copy", "a"])).toEqual(["a"]);
    expect(positionals(["copy", "a", "--depth", "3", "b"])).toEqual(["a", "b"]);
    expect(positionals(["--depth", "3", "copy", "a"])).toEqual(["a"]);
    expect(positionals(["copy", "--", "--depth", "-"])).toEqual(["--depth", "-"]);
  });
  test("names the one that is missing", () => {
    expect(usageOf(() => parseArguments(program, ["copy"]))).toEqual({
      message: "tool copy wants FROM",
      hint: "FROM: Where from. See tool copy --help.",
    });
  });
  test("without a command of no name wants one", () => {
    expect(usageOf(() => parseArguments(program, [])).message).toBe("tool wants a command");
  });
});

describe("help", () => {
  for (const program of [AGENT_PROGRAM, SERVER_PROGRAM]) {
    for (const command of [undefined, ...program.commands.filter(({ name }) => name !== "")]) {
      test(`of ${program.name} ${command?.name ?? ""} names every option and is at most 100 columns wide`, () => {
        const text = helpText(program, command);
        const shown = command ?? program.commands.find(({ name }) => name === "");
        for (const { name } of shown?.options ?? []) expect(text).toContain(`--${name}`);
        for (const line of text.split("\n")) expect(columnsOf(line)).toBeLessThanOrEqual(100);
        expect(text).toEndWith("\n");
        expect(text).not.toMatch(/ \n/);
      });
    }
  }
  test("of a whole program names every command with its usage", () => {
    const text = helpText(SERVER_PROGRAM, undefined);
    for (const line of [
      "nbackup-server [--config FILE]",
      "nbackup-server check-config [--config FILE] [--json]",
      "nbackup-server pki …",
    ]) {
      expect(text).toContain(line);
    }
  });
});

describe("--backup", () => {
  const { backups } = agentOf(agentYaml("  - {name: mail, storage: main, sources: [{path: /mail}]}")).config;
  test("without a name runs all entries in the order of the file", () => {
    expect(selectBackups(backups, undefined).map(({ name }) => name)).toEqual(["home", "mail"]);
  });
  test("with a name runs that one", () => {
    expect(selectBackups(backups, "mail").map(({ name }) => name)).toEqual(["mail"]);
  });
  test("with an unknown name says what was probably meant, or what there is", () => {
    expect(usageOf(() => selectBackups(backups, "mial")).hint).toBe("Did you mean mail?");
    expect(usageOf(() => selectBackups(backups, "database")).hint).toBe("The configuration has home, mail.");
  });
});

describe("did you mean", () => {
  const cases: readonly [string, string[], string | undefined][] = [
    ["max_atempts", ["max_attempts", "max_delay"], "max_attempts"],
    ["maxBackups", ["max_backups"], "max_backups"],
    ["MODE", ["mode"], "mode"],
    ["lsit", ["list", "last"], "list"],
    ["xy", ["ab"], undefined],
    ["nothing", ["something-else"], undefined],
    ["x".repeat(100_000), ["x".repeat(99_999)], undefined],
  ];
  for (const [word, candidates, expected] of cases) {
    test(`${word.slice(0, 20)} is ${expected ?? "nothing known"}`, () =>
      expect(nearest(word, candidates)).toBe(expected));
  }
});
