/**
 * `flow_rotation` with the real programs: a stream that stays slow while it could be faster comes back from a new port,
 * nothing is lost or sent twice, and nobody counts a failure. The fault proxy makes the one connection slow.
 */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import type { SessionView } from "#observe/views.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import type { ProxiedConnection } from "#test/support/proxied-connection.ts";
import { serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);
const SOURCE_BYTES = 56 * MiB;
/** 0.8 and 8 megabits a second: one below and one above `min_mbps`. */
const SLOW_BYTES_PER_SECOND = 100_000;
const FAST_BYTES_PER_SECOND = 1_000_000;
const FLOW_ROTATION = { enabled: true, min_mbps: 3, eval_window: "2s", cooldown: "10m" };

let site: Site;
let server: ServerProcess;
let configFile: string;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  const bytes = new Uint8Array(SOURCE_BYTES);
  for (let at = 0; at < bytes.length; at += 64 * KiB) crypto.getRandomValues(bytes.subarray(at, at + 64 * KiB));
  writeFileSync(site.at("source/file"), bytes);
}, TIMEOUT_MS);
beforeEach(async () => {
  const settings = { flowRotation: FLOW_ROTATION };
  if (server?.running) await server.stop();
  server = await site.startServer(settings);
  configFile = (await site.serverConfig({ ...settings, port: server.port })).file;
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

interface Flow {
  readonly proxy: FaultProxy;
  readonly agent: WatchedProcess;
  /** Every connection that came, in that order. */
  readonly connections: readonly ProxiedConnection[];
}

/** Small chunks, so that the one in hand has soon gone out also on a slow connection. */
async function backUp(parallels: number, onOpen: (connection: ProxiedConnection) => void): Promise<Flow> {
  const connections: ProxiedConnection[] = [];
  const proxy = new FaultProxy({
    targetPort: server.port,
    receiveBufferBytes: 64 * KiB,
    onOpen: (connection) => {
      connections.push(connection);
      onOpen(connection);
    },
  });
  const backups = [{ name: `flows-${parallels}`, storage: STORAGE, sources: [{ path: site.at("source") }], parallels }];
  const resume = { chunk_size: "64kb" };
  const file = await site.agentConfig({ port: proxy.port, backups, resume, logging: { level: "debug" } });
  return { proxy, agent: site.startAgent(file, ["--once", "--json"]), connections };
}

async function session(): Promise<SessionView> {
  const { objects } = await serverCommand(site, configFile, ["sessions", "--json"]);
  return objects[0] as unknown as SessionView;
}

/** What both programs say of the one rotation: two ports each, and no failure. */
async function expectOneRotation({ agent, proxy }: Flow, said: string): Promise<void> {
  const end = agentEnd(await agent.end(TIMEOUT_MS));
  proxy.stop();
  const report = end.reports[0];
  expect(end.exitCode).toBe(0);
  expect(report).toMatchObject({ result: "committed", resentBytes: 0 });
  await checkSum(path.join(site.storage(), report?.archive ?? ""));
  expect(leftoversIn(site.storage())).toEqual([]);
  expect(server.events("stream.rotated")).toMatchObject([{ by: "flow rotation", fromGeneration: 1, toGeneration: 2 }]);
  const [rotated] = server.events("stream.rotated");
  expect(rotated?.["toRemote"]).not.toBe(rotated?.["fromRemote"]);
  const lines = end.stderr.split("\n").filter((line) => line.startsWith("{"));
  const log = lines.map((line): Record<string, unknown> => JSON.parse(line));
  const [drained, ...others] = log.filter(({ msg }) => msg === said);
  expect(others).toEqual([]);
  expect(drained?.["port"]).not.toBe(drained?.["portBefore"]);
  expect(log.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  for (const kind of ["session.suspended", "session.parked", "session.resumed-after-loss"])
    expect(server.events(kind)).toEqual([]);
}

test("of four streams the slow one is drained and comes back from another port, once, and carries data again", async () => {
  const flow = await backUp(4, (connection) => {
    connection.throttle(connection.number === 2 ? SLOW_BYTES_PER_SECOND : FAST_BYTES_PER_SECOND);
  });
  await server.event("stream.rotated");
  const [slow, back] = [flow.connections[2], flow.connections[5]];
  expect({ slow: slow?.open, back: back?.open, all: flow.connections.length }).toEqual({
    ...{ slow: false, back: true, all: 6 },
  });
  const { slots, breaks } = await session();
  expect(breaks).toBe(0);
  expect(slots.map(({ rotations }) => rotations).sort()).toEqual([0, 0, 0, 1]);
  expect(slots.map(({ reconnects }) => reconnects)).toEqual([0, 0, 0, 0]);
  await expectOneRotation(flow, "stream rotated");
  // It carried data like the others, for what was left of the time.
  expect(back?.bytesUp).toBeGreaterThan(MiB);
});

test("without streams it is the session connection that comes back, when it became slower than it was", async () => {
  const flow = await backUp(0, (connection) => connection.throttle(4 * FAST_BYTES_PER_SECOND));
  await flow.proxy.reached(SOURCE_BYTES / 5);
  flow.connections[0]?.throttle(SLOW_BYTES_PER_SECOND);
  await server.event("stream.rotated");
  expect((await session()).breaks).toBe(0);
  expect(flow.connections).toHaveLength(2);
  await expectOneRotation(flow, "session connection rotated");
});
