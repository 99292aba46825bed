/**
 * The day of the disaster, with the compiled programs: the server is lost and its disk is not; the state directory is lost; the CA is lost;
 * archives are copied into place. Each time what was backed up before comes back as it was, and backups go on. What comes back is compared
 * by find, sha256sum and getfattr. A replaced machine of an agent is in agent-restore.test.ts.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { freePort } from "#scripts/lib/background.ts";
import { type DemoPki, makeDemoPki } from "#test/support/pki.ts";
import { describeAttributes, describeTree } from "#test/support/restore-kit.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { AGENT, type AgentSettings, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { makeWholeTree } from "#test/support/torture-tree.ts";
import { makeTempDir, memoryDir, removeTree, run as tool } from "#test/support/tree.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 240_000;
setDefaultTimeout(TIMEOUT_MS);
const BACKUP = "tree";
const MAX_BACKUPS = 3;

let site: Site;
let memory = "";
let source = "";
let noAttributes: string | undefined;
let port = 0;
/** What the source was like at each backup in the storage, the oldest first. */
const versions: { readonly archive: string; readonly tree: string; readonly attributes: string }[] = [];

const backups = (): AgentSettings["backups"] => [{ name: BACKUP, storage: STORAGE, sources: [{ path: source }] }];
const settings = (stateDir: string) => ({
  port,
  server: { state_dir: site.at(stateDir) },
  storages: { [STORAGE]: { max_backups: MAX_BACKUPS, compression_mode: "gzip" } },
});

beforeAll(async () => {
  site = await Site.make([AGENT]);
  memory = makeTempDir(memoryDir());
  source = path.join(memory, "source");
  ({ noAttributes } = makeWholeTree(source));
  fs.rmSync(path.join(source, "special/socket"));
  tool("touch", ["-d", "@1234567890", path.join(source, "special")]);
  port = freePort();
  const server = await site.startServer(settings("state"));
  for (let n = 0; n < MAX_BACKUPS; n += 1) await backUp();
  await stop(server);
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
  removeTree(memory);
}, TIMEOUT_MS);

/** One more backup, of a source that has changed. */
async function backUp(pki: DemoPki = site.pki): Promise<string> {
  fs.appendFileSync(path.join(source, "diary"), `${versions.length}\n`);
  const agent = { port, backups: backups(), pair: pki.agent(AGENT), caPath: pki.caPath };
  const { reports, exitCode, stderr } = await site.once(agent);
  expect({ exitCode, stderr, results: reports.map(({ result }) => result) }).toEqual({
    ...{ exitCode: 0, stderr: "", results: ["committed"] },
  });
  const archive = reports[0]?.archive ?? "";
  const attributes = noAttributes === undefined ? describeAttributes(source) : "";
  versions.push({ archive: archive.split("/").at(-1) ?? "", tree: describeTree(source), attributes });
  return archive;
}

async function stop(server: ServerProcess): Promise<void> {
  server.kill("SIGTERM");
  expect((await server.end(TIMEOUT_MS)).exitCode).toBe(0);
}

/** Nothing of this machine but the program and the arguments: no home, no state, no configuration where it is looked for. */
async function program(command: readonly string[]): Promise<ProcessEnd> {
  const env = { HOME: "/nonexistent", STATE_DIRECTORY: "", LC_ALL: "C", TZ: "UTC" };
  return await new WatchedProcess(command, { cwd: site.at("cwd"), env }).end(TIMEOUT_MS);
}

async function agent(config: string, ...args: readonly string[]): Promise<ProcessEnd> {
  const [command = "", ...rest] = args;
  return await program([site.executables.agent, command, "--config", config, ...rest]);
}

const jsonLines = (text: string): Record<string, unknown>[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Names of archives that a list has, the newest first. */
function listed(end: ProcessEnd): string[] {
  expect([end.exitCode, end.stderr]).toEqual([0, ""]);
  return jsonLines(end.stdout).map(({ archive }) => String(archive));
}

/** Names of what stands in the storage by the last versions: so many archives, the newest first. */
const lastArchives = (count: number): string[] =>
  versions
    .slice(-count)
    .map(({ archive }) => `${AGENT}/${BACKUP}/${archive}`)
    .reverse();

/** Archives on the disk, the newest first, whatever lies beside them. */
const onDisk = (storage: string): string[] =>
  archivesIn(storage)
    .filter((file) => file.endsWith(".tar.gz"))
    .reverse();

function expectVersion(target: string, fromTheEnd = 1): void {
  const version = versions.at(-fromTheEnd);
  expect(describeTree(target + source)).toBe(version?.tree ?? "");
  if (noAttributes === undefined) expect(describeAttributes(target + source)).toBe(version?.attributes ?? "");
}

async function expectRestored(what: string, restore: (target: string) => Promise<ProcessEnd>, fromTheEnd = 1) {
  const target = path.join(memory, what);
  const { exitCode, stderr } = await restore(target);
  expect([what, exitCode, stderr]).toEqual([what, 0, ""]);
  expectVersion(target, fromTheEnd);
  removeTree(target);
}

describe("the server is lost, its disk is not", () => {
  const server = async (...args: readonly string[]): Promise<ProcessEnd> =>
    await program([site.executables.server, ...args, "--storage-dir", site.at("found")]);

  beforeAll(() => {
    tool("cp", ["-a", site.storage(), site.at("found")]);
    for (const file of archivesIn(site.at("found"))) {
      if (file.endsWith(".idx")) fs.rmSync(site.at("found", file));
    }
  });

  test("its archives are listed and restored with the program and the directory alone", async () => {
    expect(listed(await server("list", "--json"))).toEqual(lastArchives(MAX_BACKUPS));
    const target = path.join(memory, "without-index");
    const oldest = `${AGENT}/${BACKUP}/${versions[0]?.archive.replace(".tar.gz", "") ?? ""}`;
    expect(await server("restore", oldest, "--to", target)).toMatchObject({ exitCode: 0, stderr: "" });
    expectVersion(target, MAX_BACKUPS);
  });

  test("its indexes are made again, and used", async () => {
    const rebuilt = await server("index", "rebuild", "all", "--json");
    expect([rebuilt.exitCode, rebuilt.stderr]).toEqual([0, ""]);
    expect(jsonLines(rebuilt.stdout).map(({ result }) => result)).toEqual(Array(MAX_BACKUPS).fill("rebuilt"));
    await expectRestored("with-index", (target) => server("restore", `${AGENT}/${BACKUP}/latest`, "--to", target));
    const diary = await server("cat", `${AGENT}/${BACKUP}/latest`, path.join(source, "diary"));
    expect([diary.exitCode, diary.stdout, diary.stderr]).toEqual([0, "0\n1\n2\n", ""]);
    const verified = await server("verify", "all", "--json");
    expect(verified.exitCode).toBe(0);
    expect(jsonLines(verified.stdout).map(({ ok, index }) => [ok, index])).toEqual(
      Array(MAX_BACKUPS).fill([true, "agrees"]),
    );
  });

  test("and without nbackup GNU tar restores the same", () => {
    const target = path.join(memory, "by-tar");
    fs.mkdirSync(target);
    const archive = site.at("found", AGENT, BACKUP, versions.at(-1)?.archive ?? "");
    tool("sha256sum", ["-c", `${path.basename(archive)}.sha256`], undefined, path.dirname(archive));
    tool("tar", ["--xattrs", "--xattrs-include=*", "--acls", "-xpzf", archive, "-C", target]);
    expectVersion(target);
  });
});

describe("the state directory is lost", () => {
  test("the server starts, finds its archives, and rotates to as many as it is told", async () => {
    fs.rmSync(site.at("state"), { recursive: true });
    const server = await site.startServer(settings("state"));
    const config = await site.agentConfig({ port, backups: backups() });
    expect(listed(await agent(config, "list", "--json"))).toEqual(lastArchives(MAX_BACKUPS));
    await expectRestored("stateless", (target) => agent(config, "restore", "latest", "--to", target));
    await backUp();
    expect(onDisk(site.storage())).toEqual(lastArchives(MAX_BACKUPS));
    // Each with its index and its digest, and nothing else.
    expect(archivesIn(site.storage()).length).toBe(3 * MAX_BACKUPS);
    expect(leftoversIn(site.storage())).toEqual([]);
    expect(server.events("storage.failed")).toEqual([]);
    await stop(server);
  });

  test("and its records in the storage are lost too: the same", async () => {
    fs.rmSync(site.at("state"), { recursive: true });
    fs.rmSync(site.at("storage", STORAGE, ".nbackup"), { recursive: true });
    const server = await site.startServer(settings("state"));
    const config = await site.agentConfig({ port, backups: backups() });
    expect(listed(await agent(config, "list", "--json"))).toEqual(lastArchives(MAX_BACKUPS));
    await backUp();
    expect(onDisk(site.storage())).toEqual(lastArchives(MAX_BACKUPS));
    await stop(server);
  });
});

describe("the CA is lost", () => {
  test("agents are certified anew, and have their old archives by their old names", async () => {
    const pki = await makeDemoPki(site.at("new-pki"), { agents: [AGENT, "db-1"] });
    const { caPath, server: pair } = pki;
    const server = await site.startServer({ ...settings("state"), pair, tls: { ca_cert: caPath } });
    const stranger = await agent(await site.agentConfig({ port, backups: backups() }), "list");
    expect([stranger.exitCode, stranger.stderr.split(":")[0]]).toEqual([1, "E_TLS"]);
    const config = await site.agentConfig({ port, backups: backups(), caPath, pair: pki.agent(AGENT) });
    expect(listed(await agent(config, "list", "--json"))).toEqual(lastArchives(MAX_BACKUPS));
    await expectRestored("recertified", (target) => agent(config, "restore", "latest", "--to", target));
    const second = versions.at(-2)?.archive.replace(".tar.gz", "") ?? "";
    await expectRestored("recertified-2", (target) => agent(config, "restore", second, "--to", target), 2);
    // A name gives nobody but its owner the archives, with a new CA as with the old one.
    const other = { port, name: "db-1", backups: backups(), caPath, pair: pki.agent("db-1") };
    expect(listed(await agent(await site.agentConfig(other), "list", "--json"))).toEqual([]);
    await backUp(pki);
    expect(onDisk(site.storage())).toEqual(lastArchives(MAX_BACKUPS));
    await stop(server);
  });
});

describe("archives are copied into the storage of another server", () => {
  test("they are listed and restored at once, with an index and without, and rotation counts them", async () => {
    const adopted = site.at("adopted");
    const server = await site.startServer({
      ...settings("other-state"),
      storages: { [STORAGE]: { base_dir: adopted, max_backups: MAX_BACKUPS, compression_mode: "gzip" } },
    });
    // While it runs, as somebody would: the archive alone, the archive with its index, and all three files.
    const [old, middle, last] = lastArchives(MAX_BACKUPS).reverse();
    const copies: readonly [string | undefined, readonly string[]][] = [
      [old, [".tar.gz"]],
      [middle, [".tar.gz", ".idx"]],
      [last, [".tar.gz", ".idx", ".tar.gz.sha256"]],
    ];
    fs.mkdirSync(path.join(adopted, AGENT, BACKUP), { recursive: true });
    for (const [archive = "", endings] of copies) {
      for (const ending of endings) {
        const file = archive.replace(".tar.gz", ending);
        fs.copyFileSync(site.at("storage", STORAGE, file), path.join(adopted, file));
      }
    }
    const config = await site.agentConfig({ port, backups: backups() });
    expect(listed(await agent(config, "list", "--json"))).toEqual(lastArchives(MAX_BACKUPS));
    await expectRestored("adopted", (target) => agent(config, "restore", "latest", "--to", target));
    const oldest = versions.at(-MAX_BACKUPS)?.archive.replace(".tar.gz", "") ?? "";
    await expectRestored("adopted-old", (target) => agent(config, "restore", oldest, "--to", target), MAX_BACKUPS);
    await backUp();
    expect(onDisk(adopted)).toEqual(lastArchives(MAX_BACKUPS));
    const verified = await agent(config, "verify", "latest", "--json");
    expect(jsonLines(verified.stdout)[0]).toMatchObject({ ok: true, index: "agrees" });
    await stop(server);
  });
});
