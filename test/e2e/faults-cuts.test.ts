/**
 * Connections that break all the time: one backup of 1 GB, all its connections cut fifty times, and what arrives is the
 * same byte for byte, without reading a source file twice.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import path from "node:path";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { GIGABYTE, makeGigabyte } from "#test/support/gigabyte.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import { ReadMeter } from "#test/support/read-meter.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, leftoversIn, type OnceJson, Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 150_000;
setDefaultTimeout(TIMEOUT_MS);
const CUTS = 50;

let site: Site;
let server: ServerProcess;
let undisturbed: OnceJson;

beforeAll(async () => {
  site = await Site.make();
  makeGigabyte(site.at("source"));
  server = await site.startServer();
  const end = await site.once({ port: server.port, backups: [entry(4)] }, [], TIMEOUT_MS);
  const report = end.reports[0];
  if (report?.result !== "committed") throw new Error(end.stderr);
  undisturbed = report;
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

const entry = (parallels: number): Record<string, unknown> => ({
  name: "gigabyte",
  storage: STORAGE,
  sources: [{ path: site.at("source") }],
  parallels,
});

describe.each([0, 4])("a backup of 1 GB with parallels %i whose connections are all cut fifty times", (parallels) => {
  let report: OnceJson;
  let readBytes = 0;
  let wireBytes = 0;
  let cutConnections = 0;

  test("is committed", async () => {
    const proxy = new FaultProxy({ targetPort: server.port });
    const config = await site.agentConfig({ port: proxy.port, backups: [entry(parallels)] });
    const agent = site.startAgent(config, ["--once", "--json"]);
    const meter = new ReadMeter(agent);
    for (let cut = 1; cut <= CUTS; cut += 1) {
      // Progress lies between two cuts: the last one comes when nearly all was sent.
      await Promise.race([proxy.reached((cut / (CUTS + 1)) * undisturbed.archiveBytes), agent.end(TIMEOUT_MS)]);
      cutConnections += proxy.cutAll();
    }
    const end = agentEnd(await agent.end(TIMEOUT_MS));
    meter.stop();
    proxy.stop();
    readBytes = meter.bytes;
    wireBytes = proxy.bytesUp;
    const only = end.reports[0];
    if (only === undefined) throw new Error(end.stderr);
    report = only;
    expect({ exit: end.exitCode, result: report.result }).toEqual({ exit: 0, result: "committed" });
    expect(cutConnections).toBeGreaterThanOrEqual(CUTS);
  });

  test("is the same byte for byte as an undisturbed one", async () => {
    expect(report.sha256).toBe(undisturbed.sha256);
    expect(report.entries).toBe(undisturbed.entries);
    await checkSum(path.join(site.storage(), report.archive ?? ""));
  });

  test("reports no less than what went over the wire again", () => {
    expect(report.resentBytes).toBeGreaterThan(0);
    // TLS, frames and heartbeats take less than a hundredth.
    expect(wireBytes).toBeGreaterThan(undisturbed.archiveBytes);
    expect(wireBytes).toBeLessThan(1.01 * (undisturbed.archiveBytes + report.resentBytes));
  });

  test("reads no source file twice", () => {
    expect(readBytes).toBeGreaterThanOrEqual(GIGABYTE);
    expect(readBytes).toBeLessThan(1.02 * GIGABYTE);
  });

  test("leaves nothing unfinished on the server", () => {
    expect(leftoversIn(site.storage())).toEqual([]);
    expect(server.stderr).not.toMatch(/"level":"error"/);
  });
});
