/**
 * The autoscaler with the real programs, behind a proxy that holds every connection to 2 MB/s: within a minute 16 streams carry
 * at least nine tenths of what 16 connections can.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { sleep } from "bun";
import { KiB, MiB } from "#base/units.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 85_000;
setDefaultTimeout(TIMEOUT_MS);
const FLOW_BYTES_PER_SECOND = 2 * MiB;
const STREAMS = 16;
/** The session connection is one more. */
const CONNECTIONS = STREAMS + 1;
const SOURCE_BYTES = 1536 * MiB;
const MEASURED_MS = 15_000;

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  const bytes = new Uint8Array(64 * MiB);
  for (let at = 0; at < bytes.length; at += 64 * KiB) crypto.getRandomValues(bytes.subarray(at, at + 64 * KiB));
  // The same bytes again and again: no chunk is compressed with another one.
  for (let file = 0; file < SOURCE_BYTES / bytes.length; file += 1) writeFileSync(site.at(`source/${file}`), bytes);
  server = await site.startServer();
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

test("16 streams are reached within a minute where each connection carries 2 MB/s, and carry nine tenths of it or more", async () => {
  const { promise: all, resolve } = Promise.withResolvers<void>();
  const proxy: FaultProxy = new FaultProxy({
    targetPort: server.port,
    onOpen: (connection) => {
      connection.throttle(FLOW_BYTES_PER_SECOND);
      if (proxy.connections.length === CONNECTIONS) resolve();
    },
  });
  const backups = [
    {
      name: "scaled",
      storage: STORAGE,
      sources: [{ path: site.at("source") }],
      parallels: STREAMS,
      auto_scaler: "efficiency",
    },
  ];
  const startedAtMs = performance.now();
  const agent = site.startAgent(await site.agentConfig({ port: proxy.port, backups }), ["--once"]);
  await Promise.race([all, sleep(60_000)]);
  const reachedMs = performance.now() - startedAtMs;
  expect(proxy.connections.length).toBe(CONNECTIONS);
  expect(reachedMs).toBeLessThan(60_000 - MEASURED_MS);
  // What the new connections' buffers take at once is not what the line carries.
  await sleep(2000);
  const before = proxy.bytesUp;
  const beforeMs = performance.now();
  await sleep(MEASURED_MS);
  const bytesPerSecond = ((proxy.bytesUp - before) * 1000) / (performance.now() - beforeMs);
  console.log(`16 streams after ${(reachedMs / 1000).toFixed(1)} s, then ${(bytesPerSecond / MiB).toFixed(1)} MiB/s`);
  expect(agent.running).toBe(true);
  agent.kill("SIGKILL");
  await agent.end();
  proxy.stop();
  expect(bytesPerSecond).toBeGreaterThan(0.9 * STREAMS * FLOW_BYTES_PER_SECOND);
});
