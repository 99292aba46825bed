/** Agents that want the same thing at the same time: one session for each entry, a line for those that must wait. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { expectRefusal } from "#test/support/refusal.ts";
import { agentEnd, AGENT, archivesIn, leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;

beforeAll(async () => {
  site = await Site.make([AGENT, "web-2"]);
  mkdirSync(site.at("source"));
  writeFileSync(site.at("source/file"), patternBytes(2_000_000));
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const entry = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: "all",
  storage: STORAGE,
  sources: [{ path: site.at("source") }],
  ...more,
});

describe("a second run of an entry that has a running session", () => {
  test("is refused as busy, and the first one is not disturbed", async () => {
    const server = await site.startServer();
    const slow = { port: server.port, backups: [entry({ bandwidth_limit: "512kb" })] };
    const first = site.startAgent(await site.agentConfig(slow), ["--once", "--json"]);
    await server.event("session.admitted");
    const second = await site.once({ ...slow, retry: { max_attempts: 1 } });
    expectRefusal(second, { exit: 1, code: "E_BUSY", says: /backup all of agent web-1/ });
    const end = agentEnd(await first.end());
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    expect(archivesIn(site.storage()).filter((file) => file.endsWith(".tar.gz"))).toHaveLength(1);
    expect(leftoversIn(site.storage())).toEqual([]);
    await server.stop();
  });

  test("waits by retry and is done when the first one has ended", async () => {
    const server = await site.startServer({ storages: { waited: {} } });
    const limited = entry({ storage: "waited", bandwidth_limit: "512kb" });
    const first = site.startAgent(await site.agentConfig({ port: server.port, backups: [limited] }), ["--once"]);
    await server.event("session.admitted");
    const again = await site.agentConfig({ port: server.port, backups: [entry({ storage: "waited" })] });
    const second = site.startAgent(again, ["--once", "--json"]);
    await second.printed(/"code":"E_BUSY"/);
    expect((await first.end()).exitCode).toBe(0);
    const end = agentEnd(await second.end());
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    await server.stop();
  });
});

describe("with max_sessions: 1", () => {
  test("the next agents wait in order of arrival, are told their position, and use up no attempt", async () => {
    const server = await site.startServer({ storages: { line: {} }, server: { max_sessions: 1 } });
    const backup = (name: string, more = {}): Record<string, unknown> => entry({ name, storage: "line", ...more });
    const start = async (agent: string, backups: Record<string, unknown>[]): Promise<ReturnType<Site["startAgent"]>> =>
      site.startAgent(await site.agentConfig({ name: agent, port: server.port, backups, retry: { max_attempts: 1 } }), [
        "--once",
        "--json",
      ]);
    const first = await start(AGENT, [backup("first", { bandwidth_limit: "512kb" })]);
    await server.event("session.admitted");
    const second = await start("web-2", [backup("second", { bandwidth_limit: "1mb" })]);
    await second.printed(/waiting in the server's queue, position 1\n/);
    const third = await start(AGENT, [backup("third")]);
    await third.printed(/waiting in the server's queue, position 2\n/);
    await third.printed(/waiting in the server's queue, position 1\n/);
    for (const agent of [first, second, third]) {
      const end = agentEnd(await agent.end());
      expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
    }
    const order = server.events("session.admitted").map((event) => event["backup"]);
    expect(order).toEqual(["first", "second", "third"]);
    await server.stop();
  });
});
