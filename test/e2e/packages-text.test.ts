/** Completions in real shells, and the man pages before a judge. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { AGENT_PROGRAM } from "#cli/agent-command.ts";
import { completionScript, SHELLS } from "#cli/completion-command.ts";
import { PKI_SUBCOMMANDS } from "#cli/pki-words.ts";
import { SERVER_PROGRAM } from "#cli/server-command.ts";
import { HELP_TOPICS, helpText } from "#pki-tools/help.ts";
import { manPage } from "#scripts/deb/man-page.ts";
import { AGENT_MANUAL, SERVER_MANUAL } from "#scripts/deb/manual.ts";
import { inProject } from "#scripts/lib/project.ts";
import { mustRun, run } from "#scripts/lib/run.ts";
import { executablesIn } from "#test/support/executables.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);

let directory = "";

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "nbackup-words-"));
  await executablesIn(directory);
  for (const program of ["agent", "server"] as const) {
    const spec = program === "agent" ? AGENT_PROGRAM : SERVER_PROGRAM;
    for (const shell of SHELLS) writeFileSync(script(program, shell), completionScript(spec, shell));
    const example = await Bun.file(inProject("src", "config", "examples", `${program}.yaml.example`)).text();
    writeFileSync(path.join(directory, `${program}.yaml`), example);
  }
}, TIMEOUT_MS);
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

function script(program: string, shell: string): string {
  return path.join(directory, `${program}.${shell}`);
}

/** What bash would offer for the last of the words. */
async function offered(program: "agent" | "server", ...words: readonly string[]): Promise<readonly string[]> {
  const code =
    'source "$1"; name=$2; shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "$name"; printf "%s\\n" "${COMPREPLY[@]}"';
  const args = [script(program, "bash"), `_nbackup_${program}`, `nbackup-${program}`, ...words];
  const stdout = await mustRun(["bash", "-c", code, "bash", ...args], {
    cwd: directory,
    env: { PATH: `${directory}:${process.env["PATH"] ?? ""}` },
  });
  return stdout.split("\n").filter((line) => line !== "");
}

describe("bash completes", () => {
  test("commands, also behind options", async () => {
    expect(await offered("agent", "re")).toEqual(["restore"]);
    expect(await offered("agent", "--config", "agent.yaml", "st")).toEqual(["status"]);
    expect(await offered("server", "pki", "")).toEqual(PKI_SUBCOMMANDS.map(({ name }) => name));
  });
  test("options of the command that stands there", async () => {
    expect(await offered("agent", "--on")).toEqual(["--once"]);
    expect(await offered("server", "restore", "--stri")).toEqual(["--strip-components"]);
    expect(await offered("server", "--stri")).toEqual([]);
    expect(await offered("server", "pki", "show", "--da")).toEqual([]);
    expect(await offered("server", "pki", "init", "--da")).toEqual(["--days"]);
  });
  test("values, behind a space and behind =", async () => {
    expect(await offered("server", "restore", "--overwrite", "if")).toEqual(["if-changed", "if-newer"]);
    expect(await offered("server", "restore", "--overwrite", "=", "if")).toEqual(["if-changed", "if-newer"]);
    expect(await offered("agent", "--config", "agent.y")).toEqual(["agent.yaml"]);
    expect(await offered("agent", "--config", "=")).toContain("agent.yaml");
    expect(await offered("agent", "verify", "")).toEqual(["latest"]);
  });
  test("names that the configuration file has", async () => {
    expect(await offered("agent", "--config", "agent.yaml", "--once", "--backup", "")).toEqual(["system"]);
    expect(await offered("server", "list", "--config", "server.yaml", "--storage", "m")).toEqual(["main"]);
    expect(await offered("server", "list", "--config", "missing.yaml", "--storage", "m")).toEqual([]);
  });
});

describe("fish completes", () => {
  const fish = async (line: string): Promise<readonly string[]> => {
    const code = 'source $argv[1]; complete -C "$argv[2]"';
    const stdout = await mustRun(["fish", "--no-config", "-c", code, script("server", "fish"), line], {
      cwd: directory,
      env: { HOME: directory, PATH: `${directory}:${process.env["PATH"] ?? ""}` },
    });
    return stdout.split("\n").flatMap((one) => (one === "" ? [] : [one.split("\t")[0] ?? ""]));
  };
  test.skipIf(Bun.which("fish") === null)("commands, options and values", async () => {
    expect(await fish("nbackup-server rest")).toEqual(["restore"]);
    expect(await fish("nbackup-server --config x pki sh")).toEqual(["show"]);
    expect(await fish("nbackup-server restore --over")).toEqual(["--overwrite"]);
    expect(await fish("nbackup-server restore --overwrite al")).toEqual(["always"]);
    expect(await fish("nbackup-server list --config server.yaml --storage ")).toEqual(["main"]);
  });
});

describe("a completion script", () => {
  for (const shell of SHELLS) {
    for (const program of ["agent", "server"]) {
      test.skipIf(Bun.which(shell) === null)(`is no error to ${shell}: ${program}`, async () => {
        const { exitCode, stderr } = await run([shell, "-n", script(program, shell)]);
        expect([exitCode, stderr]).toEqual([0, ""]);
      });
    }
  }
});

describe("a man page", () => {
  for (const [program, manual, passedThrough] of [
    [AGENT_PROGRAM, AGENT_MANUAL, []],
    [SERVER_PROGRAM, SERVER_MANUAL, HELP_TOPICS.map(helpText)],
  ] as const) {
    test.skipIf(Bun.which("mandoc") === null)(
      `has nothing that mandoc would complain of: ${program.name}`,
      async () => {
        const file = path.join(directory, `${program.name}.8`);
        writeFileSync(file, manPage({ program, manual, version: "1.2.3", date: "2026-02-12", passedThrough }));
        const { exitCode, stdout, stderr } = await run(["mandoc", "-Tlint", "-Wstyle", file]);
        expect([exitCode, stdout, stderr]).toEqual([0, "", ""]);
      },
    );
  }
});
