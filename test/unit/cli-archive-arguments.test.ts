/** The archive commands' arguments in both programs: what they ask for, and what is refused. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import type { ParsedCommand, ProgramSide } from "#cli/archive-arguments.ts";
import { archiveCommands, archiveRequest } from "#cli/archive-command.ts";
import { helpText } from "#cli/help.ts";
import { parseArguments } from "#cli/parse.ts";
import type { ProgramSpec } from "#cli/program.ts";
import { parseServerCommand } from "#cli/server-command.ts";
import { columnsOf } from "#cli/terminal-text.ts";

function programOf(side: ProgramSide): ProgramSpec {
  return { name: `nbackup-${side}`, what: "a program", commands: archiveCommands(side), footer: [] };
}

function parsed(side: ProgramSide, line: string): ParsedCommand {
  const result = parseArguments(programOf(side), line.split(" "));
  if (result.kind !== "command") throw new Error(`${line} asks for ${result.kind}`);
  return result;
}

const request = (side: ProgramSide, line: string): unknown => archiveRequest(parsed(side, line));

function refusal(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (error instanceof Failure) return `${error.toString()} | ${error.hint}`;
    throw error;
  }
  return "accepted";
}

const ALL = { storage: undefined, agent: undefined, backup: undefined };

describe("the archive commands ask", () => {
  const both: readonly [ProgramSide, string, unknown][] = [
    ["server", "list", { command: "list", scope: ALL, json: false }],
    ["server", "list web-1 --json", { command: "list", scope: { ...ALL, agent: "web-1" }, json: true }],
    ["server", "list web-1/", { command: "list", scope: { ...ALL, agent: "web-1" }, json: false }],
    [
      "server",
      "list web-1/etc --storage main",
      { command: "list", scope: { storage: "main", agent: "web-1", backup: "etc" }, json: false },
    ],
    ["agent", "list --backup etc", { command: "list", scope: { ...ALL, backup: "etc" }, json: false }],
    [
      "server",
      "ls web-1/etc/latest srv/www --recursive",
      {
        ...{ command: "ls", archive: { text: "web-1/etc/latest", scope: ALL }, path: "srv/www" },
        ...{ recursive: true, json: false },
      },
    ],
    ["agent", "find *.conf --json", { command: "find", pattern: "*.conf", scope: ALL, json: true }],
    [
      "server",
      "find *.conf web-1/etc",
      { command: "find", pattern: "*.conf", scope: { ...ALL, agent: "web-1", backup: "etc" }, json: false },
    ],
    [
      "agent",
      "diff 2026-02-11 latest --backup etc",
      {
        command: "diff",
        before: { text: "2026-02-11", scope: { ...ALL, backup: "etc" } },
        after: { text: "latest", scope: { ...ALL, backup: "etc" } },
        json: false,
      },
    ],
    ["agent", "cat latest etc/hosts", { command: "cat", archive: { text: "latest", scope: ALL }, path: "etc/hosts" }],
    [
      "server",
      "verify all --progress",
      { command: "verify", archive: { text: "all", scope: ALL }, progress: true, json: false },
    ],
    [
      "server",
      "index rebuild all --force",
      { command: "index", archive: { text: "all", scope: ALL }, force: true, progress: false, json: false },
    ],
    [
      "agent",
      "restore latest etc srv --in-place --delete",
      {
        ...{ command: "restore", archive: { text: "latest", scope: ALL }, paths: ["etc", "srv"], to: "/" },
        ...{ overwrite: "never", deletes: true, dryRun: false, stripComponents: 0, owners: true },
        ...{ progress: false, json: false },
      },
    ],
  ];
  for (const [side, line, expected] of both) {
    test(`nbackup-${side} ${line}`, () => {
      expect(request(side, line)).toEqual(expected);
    });
  }

  test("and the server where the archives are", () => {
    expect(parseServerCommand(["list", "--storage-dir", "/mnt/disk"], "1")).toMatchObject({
      ...{ command: "archives", place: { configFile: "/etc/nbackup/server.yaml", storageDir: "/mnt/disk" } },
    });
    expect(parseServerCommand(["ls", "x.tar.gz", "--config", "s.yaml"], "1")).toMatchObject({
      place: { configFile: "s.yaml", storageDir: undefined },
    });
  });
});

describe("the archive commands refuse", () => {
  const cases: readonly [ProgramSide, string, string][] = [
    ["server", "list web-1/etc/2026", "E_USAGE: web-1/etc/2026 is no AGENT/BACKUP"],
    ["server", "list ../x", 'E_NAME: the agent is ".."'],
    ["server", "list web-1 --backup etc", "E_USAGE: unknown option --backup"],
    ["agent", "list --storage-dir /mnt", "E_USAGE: unknown option --storage-dir"],
    ["agent", "list web-1", "E_USAGE: nbackup-agent list does not take the argument web-1"],
    ["agent", "index rebuild latest", "E_USAGE: unknown command index"],
    ["server", "index remove latest", "E_USAGE: index remove is not known"],
    ["server", "diff latest", "E_USAGE: nbackup-server diff wants B"],
    ["server", "restore latest", "E_USAGE: restore wants to know where to"],
    // What a variable of a shell that is not set leaves: an argument with nothing in it.
    ["agent", "restore latest  --in-place", "E_USAGE: a path to restore is empty"],
    ["server", "restore latest --stdout-tar --delete", "E_USAGE: --delete does not go with --stdout-tar"],
    [
      "agent",
      "restore latest --to /x --delete --strip-components 1",
      "E_USAGE: --delete does not go with --strip-components",
    ],
  ];
  for (const [side, line, expected] of cases) {
    test(`nbackup-${side} ${line}`, () => {
      expect(refusal(() => request(side, line))).toStartWith(expected);
    });
  }

  test("a configuration and a directory at once", () => {
    const both = ["list", "--config", "s.yaml", "--storage-dir", "/mnt"];
    expect(refusal(() => parseServerCommand(both, "1"))).toStartWith(
      "E_USAGE: --config and --storage-dir exclude each other",
    );
  });
});

describe("the help of the archive commands", () => {
  for (const side of ["server", "agent"] as const) {
    for (const command of archiveCommands(side)) {
      test(`of nbackup-${side} ${command.name} has every option, says how archives are named, and fits`, () => {
        const text = helpText(programOf(side), command);
        for (const { name } of command.options) expect(text).toContain(`--${name}`);
        expect(Math.max(...text.split("\n").map(columnsOf))).toBeLessThanOrEqual(100);
        if (command.name === "list" || command.name === "find") return;
        expect(text).toContain(side === "server" ? "AGENT/BACKUP/TIME" : "The time of an archive, or latest");
      });
    }
  }
});
