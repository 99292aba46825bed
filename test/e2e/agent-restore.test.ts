/**
 * The compiled agent gets its files back from the compiled server over its own connection: everything a file can be, through a server that
 * is killed meanwhile, on a machine that replaces a lost one; and nobody gets anything else. Trees are compared by find, sha256sum and getfattr.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { freePort } from "#scripts/lib/background.ts";
import { randomBytes } from "#test/support/gigabyte.ts";
import { describeAttributes, describeTree } from "#test/support/restore-kit.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { AGENT, type AgentSettings, Site } from "#test/support/site.ts";
import { makeWholeTree } from "#test/support/torture-tree.ts";
import { makeTempDir, memoryDir, removeTree, run as tool } from "#test/support/tree.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 240_000;
setDefaultTimeout(TIMEOUT_MS);
const BIG_FILES = 8;
const BIG_BYTES = 16 * MiB;

let site: Site;
/** Of what is backed up and restored: a disk that others use as well may take long to sync it. */
let memory = "";
let server: ServerProcess;
let port = 0;
let source = "";
let big = "";
let noAttributes: string | undefined;
/** What the source looks like: it takes a while to find out, and does not change. */
let sourceTree = "";
let sourceAttributes = "";
let config = "";

const settings = {
  storages: {
    main: { compression_mode: "zst" },
    gzip: { compression_mode: "gzip" },
    closed: { allow_agent_restore: false },
  },
};

const backups = (): AgentSettings["backups"] => [
  { name: "tree", storage: "main", sources: [{ path: source }] },
  { name: "big", storage: "gzip", sources: [{ path: big }] },
  { name: "kept", storage: "closed", sources: [{ path: path.join(source, "names") }] },
];

beforeAll(async () => {
  site = await Site.make([AGENT, "db-1"]);
  memory = makeTempDir(memoryDir());
  source = path.join(memory, "source");
  ({ noAttributes } = makeWholeTree(source));
  const old = (): Buffer => tool("touch", ["-d", "@1234567890", path.join(source, "special")]);
  old();
  big = path.join(memory, "big");
  fs.mkdirSync(big);
  for (let n = 0; n < BIG_FILES; n += 1) fs.writeFileSync(path.join(big, `${n}`), randomBytes(BIG_BYTES));
  port = freePort();
  server = await site.startServer({ ...settings, port });
  const end = await site.once({ port, backups: backups(), resume: { chunk_size: "256kb" } });
  expect([end.stderr, end.exitCode]).toEqual(["", 0]);
  expect(end.reports[0]).toMatchObject({ sockets: [path.join(source, "special/socket")], socketCount: 1 });
  // No archive has it; all else is as it was.
  fs.rmSync(path.join(source, "special/socket"));
  old();
  sourceTree = describeTree(source);
  if (noAttributes === undefined) sourceAttributes = describeAttributes(source);
  config = await site.agentConfig({ port, backups: backups() });
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
  removeTree(memory);
}, TIMEOUT_MS);

/** `nbackup-agent COMMAND --config FILE …` */
async function agent(args: readonly string[], configFile = config): Promise<ProcessEnd> {
  const [command = "", ...rest] = args;
  const program = [site.executables.agent, command, "--config", configFile, ...rest];
  const started = new WatchedProcess(program, { cwd: site.at("cwd"), env: { LC_ALL: "C", TZ: "UTC" } });
  return await started.end(TIMEOUT_MS);
}

const jsonLines = (text: string): Record<string, unknown>[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

function expectSameTree(target: string): void {
  expect(describeTree(target + source)).toBe(sourceTree);
  if (noAttributes === undefined) expect(describeAttributes(target + source)).toBe(sourceAttributes);
}

describe("nbackup-agent", () => {
  test("lists its archives with what is known of them", async () => {
    const { stdout, exitCode } = await agent(["list", "--backup", "tree", "--json"]);
    expect(exitCode).toBe(0);
    const rows = jsonLines(stdout);
    expect(rows.length).toBe(1);
    expect(rows[0]).toMatchObject({ storage: "main", agent: AGENT, backup: "tree", index: true, problems: 0 });
    expect(rows[0]?.["sha256"]).toMatch(/^[0-9a-f]{64}$/);
    expect(Number(rows[0]?.["entries"])).toBeGreaterThan(100);
  });

  test("restores a whole tree as it was", async () => {
    const target = path.join(memory, "whole");
    const { stdout, stderr, exitCode } = await agent([
      "restore",
      "latest",
      "--backup",
      "tree",
      "--to",
      target,
      "--json",
    ]);
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
    expect(jsonLines(stdout)[0]).toMatchObject({ result: "done", problemCount: 0, damagedCount: 0 });
    expectSameTree(target);
  });

  test("deletes what was not there: a socket of the source is no reason to refuse it, one at the target stays", async () => {
    const target = path.join(memory, "whole");
    const special = path.join(target + source, "special");
    fs.writeFileSync(path.join(special, "new"), "not in the archive");
    const listening = Bun.listen({ unix: path.join(special, "socket"), socket: { data: () => undefined } });
    const args = ["--backup", "tree", "--to", target, "--overwrite", "if-changed", "--delete", "--json"];
    const { stdout, stderr, exitCode } = await agent(["restore", "latest", ...args]);
    const left = fs.readdirSync(special);
    listening.stop(true);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(jsonLines(stdout)[0]).toMatchObject({ deleted: 1, problemCount: 0 });
    expect([left.includes("new"), left.includes("socket")]).toEqual([false, true]);
  });

  test("finds, lists, prints and compares files, and verifies the archive", async () => {
    const file = path.join(source, "borders/incompressible");
    const cat = Bun.spawn([site.executables.agent, "cat", "--config", config, "--backup", "tree", "latest", file], {
      stdout: "pipe",
    });
    const bytes = Buffer.from(await new Response(cat.stdout).arrayBuffer());
    expect(bytes.equals(fs.readFileSync(file))).toBe(true);
    expect((await agent(["ls", "--backup", "tree", "latest", path.join(source, "borders")])).stdout).toContain(
      "incompressible",
    );
    expect((await agent(["find", "incompressible"])).stdout).toContain("borders/incompressible");
    expect(await agent(["diff", "--backup", "tree", "latest", "latest"])).toMatchObject({ exitCode: 0, stderr: "" });
    const verified = await agent(["verify", "--backup", "tree", "latest", "--json"]);
    expect(verified.exitCode).toBe(0);
    expect(jsonLines(verified.stdout)[0]).toMatchObject({ ok: true, damagedCount: 0 });
    const one = path.join(memory, "one");
    expect(await agent(["restore", "--backup", "big", "latest", path.join(big, "3"), "--to", one])).toMatchObject({
      exitCode: 0,
    });
    expect(fs.readdirSync(one + big)).toEqual(["3"]);
    expect(fs.readFileSync(path.join(one + big, "3")).equals(fs.readFileSync(path.join(big, "3")))).toBe(true);
  });

  test("is told on the server who read what", async () => {
    await agent(["ls", "--backup", "tree", "latest"]);
    await server.event("archive.read-done");
    const events = server.events("archive.read");
    expect(events[0]).toMatchObject({ agent: AGENT, storage: expect.any(String) });
    expect(String(events[0]?.["archive"])).toStartWith(`${AGENT}/`);
    expect(String(events[0]?.["remote"])).toStartWith("127.0.0.1:");
  });

  test("says in a sentence that a storage refuses it, and exits with 1", async () => {
    const { stderr, exitCode } = await agent([
      "restore",
      "--backup",
      "kept",
      "latest",
      "--to",
      path.join(memory, "none"),
    ]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("E_RESTORE_DENIED: storage closed refuses its agents to read: only the server restores\n");
    expect(stderr).toContain("HINT: The storage has allow_agent_restore: false.");
    expect(fs.existsSync(path.join(memory, "none"))).toBe(false);
  });

  test("says why it cannot reach its server, once and at once", async () => {
    const nowhere = await site.agentConfig({ port: freePort(), backups: backups() });
    const { stderr, exitCode, durationMs } = await agent(["list"], nowhere);
    expect([exitCode, stderr.match(/E_CONNECT/g)?.length]).toEqual([1, 1]);
    expect(durationMs).toBeLessThan(30_000);
  });

  test("with another agent's certificate sees none of the first one's archives", async () => {
    const other = await site.agentConfig({ port, name: "db-1", backups: backups() });
    const listed = await agent(["list", "--backup", "tree", "--json"], other);
    expect([listed.exitCode, listed.stdout]).toEqual([0, ""]);
    const restored = await agent(["restore", "--backup", "tree", "latest", "--to", path.join(memory, "stolen")], other);
    expect(restored.exitCode).toBe(1);
    expect(restored.stderr).toMatch(/^E_ARCHIVE_UNKNOWN/m);
    const liar = await site.agentConfig({ port, name: AGENT, pair: site.pki.agent("db-1"), backups: backups() });
    const lied = await agent(["list"], liar);
    expect([lied.exitCode, lied.stderr.startsWith("E_IDENTITY")]).toEqual([2, true]);
  });

  test("on a machine that replaces a lost one, under the same name with a new certificate, restores the latest", async () => {
    const pair = await site.pki.addAgent(AGENT, undefined, "replacement");
    const replacement = await site.agentConfig({
      ...{ port, name: AGENT, pair },
      backups: [{ name: "tree", storage: "main", sources: [{ path: "/nothing/here/yet" }] }],
    });
    const target = path.join(memory, "replacement");
    expect(await agent(["restore", "--backup", "tree", "latest", "--to", target], replacement)).toMatchObject({
      exitCode: 0,
      stderr: "",
    });
    expectSameTree(target);
  });

  test("goes on with a restore when the server is killed in its middle and started again", async () => {
    const restore = Bun.spawn(
      [site.executables.agent, "restore", "--config", config, "--backup", "big", "latest", "--stdout-tar"],
      { stdout: "pipe", stderr: "pipe" },
    );
    const reader = restore.stdout.getReader();
    const parts: Uint8Array[] = [];
    let length = 0;
    for (const killAtBytes of [20 * MiB, 70 * MiB, Number.POSITIVE_INFINITY]) {
      let done = false;
      // Who reads no further holds the agent where it is, up to what it has read ahead.
      while (!done && length < killAtBytes) {
        const piece = await reader.read();
        done = piece.done;
        if (piece.value !== undefined) parts.push(piece.value);
        length += piece.value?.length ?? 0;
      }
      if (done) break;
      server.kill("SIGKILL");
      await server.end();
      server = await site.startServer({ ...settings, port });
    }
    const stderr = await new Response(restore.stderr).text();
    expect(stderr.match(/; trying again until it works\n/g)?.length).toBe(2);
    expect(await restore.exited).toBe(0);
    const target = path.join(memory, "killed");
    fs.mkdirSync(target);
    tool("tar", ["-xpf", "-", "-C", target], Buffer.concat(parts));
    expect(describeTree(target + big)).toBe(describeTree(big));
  });
});
