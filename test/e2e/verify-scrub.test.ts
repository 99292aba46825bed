/** Archives that go bad on the server's disk: found by scrub and after the commit, named, marked, and not counted by rotation. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { must } from "#base/assert.ts";
import { MiB } from "#base/units.ts";
import { run } from "#scripts/lib/run.ts";
import { expectRefusal } from "#test/support/refusal.ts";
import { type CommandEnd, serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, type AgentEnd, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let configFile: string;

beforeEach(async () => {
  site = await Site.make();
  fs.mkdirSync(site.at("source"));
  fs.writeFileSync(site.at("source/first"), "first\n");
  fs.writeFileSync(site.at("source/large"), noise(6 * MiB));
  fs.writeFileSync(site.at("source/last"), "last\n");
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

/** Bytes that no compression makes smaller. */
function noise(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

async function startServer(settings: Parameters<Site["serverConfig"]>[0] = {}): Promise<ServerProcess> {
  const server = await site.startServer(settings);
  configFile = (await site.serverConfig({ ...settings, port: server.port })).file;
  return server;
}

const command = (...args: string[]): Promise<CommandEnd> => serverCommand(site, configFile, args);
const backups = (): Record<string, unknown>[] => [
  { name: "all", storage: STORAGE, sources: [{ path: site.at("source") }] },
];

async function backUp(port: number, args: readonly string[] = []): Promise<AgentEnd> {
  const end = await site.once({ port, backups: backups() }, args);
  expect(end.exitCode, end.stderr).toBe(0);
  return end;
}

const inStorage = (...parts: string[]): string => path.join(site.storage(), ...parts);
const archives = (): string[] =>
  fs
    .readdirSync(inStorage("web-1/all"))
    .filter((name) => name.endsWith(".tar.gz"))
    .sort();

/** One bit in the middle of a file, as a disk loses it: its time stays. */
function flipBit(file: string): void {
  const { atime, mtime, size } = fs.statSync(file);
  const fd = fs.openSync(file, "r+");
  const byte = new Uint8Array(1);
  fs.readSync(fd, byte, 0, 1, size >> 1);
  fs.writeSync(fd, Uint8Array.of((byte[0] ?? 0) ^ 0x10), 0, 1, size >> 1);
  fs.closeSync(fd);
  fs.utimesSync(file, atime, mtime);
}

describe("nbackup-server scrub", () => {
  test("finds a flipped bit, names the file that it hits, and rotation keeps the good archives", async () => {
    const server = await startServer({ storages: { [STORAGE]: { max_backups: 2 } } });
    await backUp(server.port);
    await backUp(server.port);
    const [first, second] = archives().map((name) => must(name, "an archive"));
    const clean = await command("scrub", "--all");
    expect([clean.exitCode, clean.stderr]).toEqual([0, ""]);
    expect(clean.stdout).toMatch(/2 archives read, .*; all whole\n$/);
    expect((await command("scrub")).stdout).toBe("nothing is due\n");

    flipBit(inStorage("web-1/all", must(second, "the second")));
    const scrub = await command("scrub", "--all", "--json");
    expect(scrub.exitCode).toBe(1);
    expect(scrub.stderr).toContain("source/large");
    expect(scrub.objects).toMatchObject([
      { storage: STORAGE, archive: `web-1/all/${first}`, ok: true, recorded: true, damagedCount: 0 },
      { storage: STORAGE, archive: `web-1/all/${second}`, ok: false, recorded: true, damagedCount: 1 },
    ]);
    const damaged = scrub.objects[1]?.["damaged"] as readonly { readonly files: readonly string[] }[];
    expect(damaged[0]?.files.join()).toContain("source/large");
    const mark = fs.readFileSync(inStorage("web-1/all", `${second}.damaged`), "utf8");
    expect(JSON.parse(mark)).toMatchObject({ foundBy: "scrub" });
    expect(mark).toContain("source/large");
    const events = await command("events", "--json");
    expect(events.objects.find(({ kind }) => kind === "archive.damaged")).toMatchObject({ level: "error" });
    expect((await command("list")).stdout).toMatch(/damaged/);

    // Two good ones beside it.
    await backUp(server.port);
    expect(archives()).toHaveLength(3);
    expect(archives()[0]).toBe(must(first, "the first"));
    await backUp(server.port);
    expect(archives()).toHaveLength(2);
    expect(fs.readdirSync(inStorage("web-1/all")).filter((name) => name.endsWith(".damaged"))).toEqual([]);
  });

  test("works without a server and without configuration, goes on where a limit stopped it, and clears a mark", async () => {
    const server = await startServer();
    for (let count = 0; count < 3; count += 1) await backUp(server.port);
    server.kill("SIGTERM");
    await server.end();
    const scrub = async (...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> =>
      await run([site.executables.server, "scrub", "--storage-dir", site.storage(), ...args], { cwd: site.at("cwd") });
    const old = new Date("2020-01-01");
    for (const name of archives()) fs.utimesSync(inStorage("web-1/all", name), old, old);
    const bad = inStorage("web-1/all", must(archives()[1], "the second"));
    flipBit(bad);
    const read: string[] = [];
    for (let runs = 0; runs < 3; runs += 1) {
      const result = await scrub("--limit-bytes", "1mb", "--json");
      read.push(...[...result.stdout.matchAll(/"archive":"([^"]+)"/g)].map((match) => match[1] ?? ""));
      expect(result.exitCode).toBe(runs === 1 ? 1 : 0);
    }
    expect(read).toEqual(archives().map((name) => `web-1/all/${name}`));
    expect((await scrub()).stdout).toBe("nothing is due\n");
    expect(fs.existsSync(`${bad}.damaged`)).toBe(true);
    flipBit(bad);
    const again = await scrub("--all");
    expect([again.exitCode, again.stdout]).toEqual([0, expect.stringContaining("3 archives read")]);
    expect(fs.existsSync(`${bad}.damaged`)).toBe(false);
  });
});

describe("verify_integrity", () => {
  const settings = { storages: { [STORAGE]: { verify_integrity: true, max_backups: 1 } } };

  test("--wait-verify waits until the archive was read again, and rotation waits for it too", async () => {
    const server = await startServer(settings);
    await backUp(server.port);
    const end = await backUp(server.port, ["--wait-verify"]);
    expect(end.reports).toMatchObject([{ result: "committed", verify: "ok" }]);
    expect(archives()).toHaveLength(1);
    const history = await command("history", "--json");
    expect(history.objects).toMatchObject([
      { outcome: "committed", verify: "ok" },
      { outcome: "committed", verify: "ok" },
    ]);
    expect((await command("history")).stdout).toContain("committed, verify ok");
  });

  /** A run whose server is killed when it has committed, before it has read the archive again; undefined when it was too fast for that. */
  async function killedBeforeVerified(server: ServerProcess): Promise<WatchedProcess | undefined> {
    const config = await site.agentConfig({ port: server.port, backups: backups() });
    const agent = site.startAgent(config, ["--once", "--json", "--wait-verify"]);
    await server.event("session.committed");
    server.kill("SIGKILL");
    await server.end();
    if (server.events("archive.verified").length === 0) return agent;
    agent.kill("SIGKILL");
    await agent.end();
    return undefined;
  }

  test("an archive that goes bad between commit and verification fails the run that waits, over a restart of the server", async () => {
    // Reading it takes longer than it takes to hear of the commit; but not on every machine, every time.
    fs.writeFileSync(site.at("source/large"), noise(96 * MiB));
    const keep = { storages: { [STORAGE]: { verify_integrity: true } } };
    let server = await startServer(keep);
    let agent = await killedBeforeVerified(server);
    for (let attempts = 1; agent === undefined && attempts < 5; attempts += 1) {
      server = await startServer({ ...keep, port: server.port });
      agent = await killedBeforeVerified(server);
    }
    flipBit(inStorage("web-1/all", must(archives().at(-1), "the archive")));
    const next = await startServer({ ...keep, port: server.port });
    const end = agentEnd(await must(agent, "a run that waits").end(TIMEOUT_MS));
    expectRefusal(end, { exit: 1, code: "E_ARCHIVE_DAMAGED", says: /committed, and is damaged/ });
    expect(end.reports).toMatchObject([{ result: "committed", verify: "damaged" }]);
    await next.event("archive.damaged");
    expect(JSON.stringify(next.events("archive.damaged"))).toContain("source/large");
  });

  test("small files beside large ones, and an empty source, verify as well", async () => {
    const server = await startServer({ storages: { [STORAGE]: { verify_integrity: true, compression_mode: "zst" } } });
    for (let count = 0; count < 200; count += 1) fs.writeFileSync(site.at(`source/file-${count}`), patternBytes(count));
    expect((await backUp(server.port, ["--wait-verify"])).reports[0]?.verify).toBe("ok");
    fs.rmSync(site.at("source"), { recursive: true });
    fs.mkdirSync(site.at("source"));
    expect((await backUp(server.port, ["--wait-verify"])).reports[0]?.verify).toBe("ok");
  });
});
