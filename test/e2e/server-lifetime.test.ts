/** How the server ends, how its sessions do, and that two of them never share anything. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { expectRefusal } from "#test/support/refusal.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, archivesIn, leftoversIn, QUICK_RETRY, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;

beforeEach(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(3_000_000));
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

/** A run that takes some seconds: stored, the source has 2.25 MB. */
async function startSlowly(port: number, retry: Record<string, unknown> = QUICK_RETRY): Promise<WatchedProcess> {
  const backups = [
    { name: "all", storage: STORAGE, sources: [{ path: site.at("source") }], bandwidth_limit: "512kb", parallels: 2 },
  ];
  return site.startAgent(await site.agentConfig({ port, backups, retry }), ["--once", "--json"]);
}

/** Data of a session is on the server's disk. */
async function running(server: ServerProcess): Promise<void> {
  await server.event("session.admitted");
  const deadlineMs = performance.now() + 10_000;
  while (!leftoversIn(site.storage()).some((file) => file.endsWith("archive.part"))) {
    if (performance.now() > deadlineMs) throw new Error("the session has no file");
    await Bun.sleep(20);
  }
}

describe("SIGTERM", () => {
  test("ends a server without sessions at once, with exit code 0", async () => {
    const server = await site.startServer();
    server.kill("SIGTERM");
    const end = await server.end(5000);
    expect(end.exitCode).toBe(0);
  });

  test("lets a session that is done within shutdown_timeout finish", async () => {
    const server = await site.startServer({ server: { shutdown_timeout: "30s" } });
    const agent = await startSlowly(server.port);
    await running(server);
    server.kill("SIGTERM");
    const end = agentEnd(await agent.end());
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    expect((await server.end()).exitCode).toBe(0);
    expect(leftoversIn(site.storage())).toEqual([]);
  });

  test("leaves other sessions on the disk after shutdown_timeout, and they go on with the next start", async () => {
    const server = await site.startServer({ server: { shutdown_timeout: "1s" } });
    const agent = await startSlowly(server.port, { max_attempts: 50, initial_delay: "100ms", max_delay: "300ms" });
    await running(server);
    server.kill("SIGTERM");
    expect((await server.end()).exitCode).toBe(0);
    expect(server.events("session.suspended")).toHaveLength(1);
    expect(leftoversIn(site.storage())).not.toEqual([]);
    expect(archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"))).toEqual([]);
    const again = await site.startServer({ port: server.port });
    expect(again.events("session.recovered")).toHaveLength(1);
    const end = agentEnd(await agent.end());
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    expect(agent.stderr).not.toMatch(/the backup begins again/);
    await again.stop();
    expect(leftoversIn(site.storage())).toEqual([]);
  });

  test("a second time does not wait for sessions any more", async () => {
    const server = await site.startServer({ server: { shutdown_timeout: "10m" } });
    const agent = await startSlowly(server.port, { max_attempts: 1 });
    await running(server);
    server.kill("SIGTERM");
    await server.printed(/"signal":"SIGTERM"/);
    server.kill("SIGTERM");
    expect((await server.end(10_000)).exitCode).toBe(0);
    expect(server.events("session.suspended")).toHaveLength(1);
    // Its agent waits for the next start; a person may not want to.
    await agent.printed(/E_SHUTDOWN/);
    agent.kill("SIGINT");
    expect((await agent.end()).exitCode).toBe(130);
  });
});

describe("a session of whose agent nothing is heard", () => {
  test("expires after session_idle_timeout and leaves nothing behind", async () => {
    const server = await site.startServer({ server: { session_idle_timeout: "2s" } });
    const agent = await startSlowly(server.port);
    await running(server);
    agent.kill("SIGKILL");
    await agent.end();
    await server.event("session.parked");
    const parkedAtMs = performance.now();
    await server.printed(/E_SESSION_EXPIRED/);
    expect(performance.now() - parkedAtMs).toBeGreaterThan(1500);
    expect(leftoversIn(site.storage())).toEqual([]);
    expect(archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"))).toEqual([]);
  });

  test("gives its entry to the next run of the agent, which is not told that it is busy", async () => {
    const server = await site.startServer();
    const agent = await startSlowly(server.port);
    await running(server);
    agent.kill("SIGKILL");
    await agent.end();
    await server.event("session.parked");
    const backups = [{ name: "all", storage: STORAGE, sources: [{ path: site.at("source") }] }];
    const end = await site.once({ port: server.port, backups, retry: { max_attempts: 1 } });
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    expect(server.stderr).toMatch(/E_SUPERSEDED/);
    expect(leftoversIn(site.storage())).toEqual([]);
  });
});

describe("a second server", () => {
  const start = async (settings: Parameters<Site["serverConfig"]>[0]): Promise<ProcessEnd> => {
    const { file } = await site.serverConfig(settings);
    return await new WatchedProcess([site.executables.server, "--config", file], { cwd: site.at("cwd") }).end(10_000);
  };

  test("does not start with the state directory of a running one", async () => {
    const first = await site.startServer();
    const end = await start({ storages: { other: {} } });
    expectRefusal(end, { exit: 1, code: "E_LOCKED", says: /state/, hint: /stop it first/ });
    expect(first.running).toBe(true);
  });

  test("does not start on a port that is taken", async () => {
    const first = await site.startServer();
    const end = await start({
      port: first.port,
      storages: { other: {} },
      server: { state_dir: site.at("state-2") },
    });
    const sentence = end.stderr.split("\n").filter((line) => !line.startsWith("{"));
    expectRefusal({ ...end, stderr: sentence.join("\n") }, { exit: 1, code: "E_LISTEN", says: /EADDRINUSE/ });
  });

  test("does not write into a storage of a running one", async () => {
    await site.startServer();
    const second = await site.startServer({ server: { state_dir: site.at("state-2") } });
    expect(second.events("storage.failed")).toHaveLength(1);
    const backups = [{ name: "all", storage: STORAGE, sources: [{ path: site.at("source") }] }];
    const end = await site.once({ port: second.port, backups, retry: { max_attempts: 1 } });
    expectRefusal(end, { exit: 1, code: "E_STORAGE_FAILED", says: /another nbackup-server/ });
    expect(existsSync(site.storage("web-1"))).toBe(false);
  });
});
