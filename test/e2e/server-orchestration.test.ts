/** An administrator steers the running server with the compiled programs: streams, maintenance, abort. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import type { SessionView, SlotView } from "#observe/views.ts";
import { expectRefusal } from "#test/support/refusal.ts";
import { type CommandEnd, serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, agentEnd, archivesIn, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let configFile: string;

beforeEach(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(6_000_000));
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

async function startServer(settings: Parameters<Site["serverConfig"]>[0] = {}): Promise<ServerProcess> {
  const server = await site.startServer(settings);
  configFile = (await site.serverConfig({ ...settings, port: server.port })).file;
  return server;
}

const command = (...args: string[]): Promise<CommandEnd> => serverCommand(site, configFile, args);

/** A run that lasts for 4.5 MB at the limit. */
async function startSlowly(port: number, parallels: number, limit = "256kb"): Promise<WatchedProcess> {
  const sources = [{ path: site.at("source") }];
  const entry = { name: "all", storage: STORAGE, sources, bandwidth_limit: limit, parallels };
  const backups = [{ ...entry, auto_scaler: { enabled: false } }];
  return site.startAgent(await site.agentConfig({ port, backups }), ["--once", "--json"]);
}

function quickly(port: number): Promise<WatchedProcess> {
  const backups = [{ name: "all", storage: STORAGE, sources: [{ path: site.at("source") }] }];
  // A single attempt: waiting for a server in maintenance is none.
  const retry = { max_attempts: 1, initial_delay: "50ms", max_delay: "500ms" };
  return site.agentConfig({ port, backups, retry }).then((file) => site.startAgent(file, ["--once", "--json"]));
}

async function runningSession(): Promise<SessionView> {
  return (await command("sessions", "--json")).objects[0] as unknown as SessionView;
}

/** The session, once its slots are as wanted. */
async function sessionWhen(good: (slots: readonly SlotView[]) => boolean): Promise<SessionView> {
  for (;;) {
    const session = await runningSession();
    if (good(session.slots)) return session;
  }
}

const allUp = (slots: readonly SlotView[]): boolean =>
  slots.every(({ state, bytes }) => state === "receiving" && bytes > 0);

function expectWell(end: AgentEnd): void {
  expect(end.reports).toMatchObject([{ result: "committed", resentBytes: 0 }]);
  expect(archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"))).toHaveLength(1);
}

describe("streams", () => {
  test("rotate-stream brings a stream back from another port, park-stream and resume-stream take one away and back; nothing is sent twice", async () => {
    const server = await startServer();
    const agent = await startSlowly(server.port, 3, "96kb");
    await server.event("session.admitted");
    const { session, slots: before } = await sessionWhen(allUp);
    const rotated = await command("rotate-stream", session, "1");
    expect({ exit: rotated.exitCode, err: rotated.stderr }).toEqual({ exit: 0, err: "" });
    expect(rotated.stdout).toMatch(/^slot 1 is back: \S+, generation 1 became \S+, generation 2\n$/);
    const { slots: after } = await sessionWhen(allUp);
    expect(after[1]).toMatchObject({ generation: 2, rotations: 1, reconnects: 0 });
    expect(after[1]?.remotePort).not.toBe(before[1]?.remotePort);
    expect((await command("park-stream", session, "2")).stdout).toBe("slot 2 is parked\n");
    await sessionWhen((slots) => slots[2]?.state === "disabled");
    expect((await command("resume-stream", session, "2")).stdout).toBe("slot 2 is in use again\n");
    const back = await sessionWhen((slots) => slots[2]?.state === "receiving");
    expect(back.breaks).toBe(0);
    expectRefusal(await command("rotate-stream", session, "9"), { exit: 2, code: "E_USAGE", says: /slots 0 to 2/ });
    expectWell(agentEnd(await agent.end()));
    expectRefusal(await command("rotate-stream", session, "1"), { exit: 1, code: "E_SESSION_GONE" });
  });

  test("rotate-stream of slot 0 without streams brings the session connection back from another port", async () => {
    const server = await startServer();
    const agent = await startSlowly(server.port, 0);
    await server.event("session.admitted");
    const { session } = await sessionWhen(allUp);
    const rotated = await command("rotate-stream", session, "0", "--json");
    expect(rotated.objects).toMatchObject([{ session, slot: 0, fromGeneration: 1, toGeneration: 2 }]);
    expectRefusal(await command("park-stream", session, "0"), { exit: 2, code: "E_USAGE", says: /no streams/ });
    expectWell(agentEnd(await agent.end()));
  });
});

describe("maintenance", () => {
  test("keeps agents waiting, over a restart of the server too, and lets them in when it is over", async () => {
    const server = await startServer();
    const on = await command("maintenance", "on", "--reason", "new disks");
    expect(on.stdout).toMatch(/^in maintenance for .*: new disks; 0 sessions go on\n$/);
    const agent = await quickly(server.port);
    await server.event("admission.refused");
    expect((await command("status")).stdout).toMatch(/^in maintenance for .*: new disks$/m);
    server.kill("SIGTERM");
    await server.end();
    const again = await startServer({ port: server.port });
    await again.event("maintenance.on");
    expect((await command("maintenance", "off")).stdout).toBe("maintenance is off\n");
    expect(agentEnd(await agent.end()).reports).toMatchObject([{ result: "committed" }]);
    const events = (await command("events", "--json")).objects.map(({ kind }) => kind);
    expect(events).toContain("maintenance.off");
  });
});
