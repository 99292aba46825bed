/** What the compiled programs do when the streams they were given cannot be written: a full disk, a reader who has left, nobody at all. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { run, type RunResult } from "#scripts/lib/run.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { AGENT, archivesIn, Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);

const ENTRIES = ["one", "two"];
/** The commands whose text is written in one go; those that look into archives have their own tests. */
const COMMANDS: readonly string[] = [
  "agent --version",
  "agent --help",
  "agent completion bash",
  "agent check-config --config agent.yaml",
  "agent health 127.0.0.1:$PORT --config agent.yaml",
  "server --help",
  "server check-config --config server.yaml",
  "server status --config server.yaml",
  "server history --config server.yaml",
  "server maintenance status --config server.yaml",
  "server pki show --dir pki",
];

let site: Site;
let server: ServerProcess;
let port = 0;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source", "file"), "content\n");
  const { file, port: free } = await site.serverConfig();
  port = free;
  server = await site.startServer({ port });
  const backups = ENTRIES.map((name) => ({ name, storage: STORAGE, sources: [{ path: site.at("source") }] }));
  const agent = await site.agentConfig({ port, backups });
  await run(["ln", "-s", file, site.at("server.yaml")]);
  await run(["ln", "-s", agent, site.at("agent.yaml")]);
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

/** By bash, with functions for both programs; `&closed` is a pipe whose reader has left. */
async function shell(script: string): Promise<RunResult> {
  const { agent, server: program } = site.executables;
  // In the shell's own place where they run in the background, so that what is killed is the program.
  const functions = `agent() { '${agent}' "$@"; }; server() { '${program}' "$@"; }; serve() { exec '${program}' "$@"; }`;
  const closed = `PORT=${port}; exec 9> >(exec true); wait $!`;
  return await run(["bash", "-c", `${functions}; ${closed}; ${script}`], { cwd: site.directory });
}

describe("standard output that cannot be written", () => {
  test.each(COMMANDS)("is told in a sentence by %s", async (command) => {
    expect(await shell(`${command} > /dev/full`)).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `E_TARGET: the output cannot be written: ENOSPC
HINT: Check that the target directory exists and may be written, and that its disk has room.
`,
    });
  });
  test.each(COMMANDS)("because nobody reads it ends %s quietly", async (command) => {
    expect(await shell(`${command} >&9`)).toEqual({ exitCode: 141, stdout: "", stderr: "" });
  });
  test("does not keep the other entries of --once from being backed up", async () => {
    const { exitCode, stderr } = await shell("agent --once --json --config agent.yaml > /dev/full");
    expect([exitCode, stderr.split("\n")[0]]).toEqual([1, "E_TARGET: the output cannot be written: ENOSPC"]);
    for (const entry of ENTRIES) expect(archivesOf(entry)).toHaveLength(1);
  });
});

describe("standard error that cannot be written", () => {
  test.each(["2> /dev/full", "2>&9", "2>&-"])("changes neither a backup nor its exit status: %s", async (where) => {
    // Something to warn of.
    await run(["mkfifo", site.at("source", "fifo")]);
    const before = archivesOf("one").length;
    const { exitCode, stdout } = await shell(`agent --once --progress --backup one --config agent.yaml ${where}`);
    expect([exitCode, stdout.split("\n")[0]]).toEqual([0, expect.stringContaining("committed")]);
    expect(archivesOf("one")).toHaveLength(before + 1);
  });
  test("changes nothing for a server, which ends as ever", async () => {
    await server.stop();
    const { exitCode } = await shell(`serve --config server.yaml 2> /dev/full & S=$!
      until agent health 127.0.0.1:$PORT --config agent.yaml > /dev/null 2>&1; do :; done
      agent --once --backup two --config agent.yaml > /dev/null ; B=$?
      kill $S; wait $S && exit $B`);
    expect(exitCode).toBe(0);
  });
});

function archivesOf(entry: string): readonly string[] {
  return archivesIn(site.storage()).filter((file) => file.startsWith(`${AGENT}/${entry}/`) && file.endsWith(".gz"));
}
