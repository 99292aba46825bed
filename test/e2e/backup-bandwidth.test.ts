/** `bandwidth_limit`: what goes over the wire holds to it, smoothly, over one stream and over many. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);
const LIMIT_BYTES_PER_SECOND = 2 * MiB;
const MEASURED_MS = 10_000;
const SAMPLE_MS = 100;

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  const bytes = new Uint8Array(MiB);
  for (let i = 0; i < 30; i += 1) {
    for (let at = 0; at < MiB; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    writeFileSync(site.at("source/file"), bytes, { flag: "a" });
  }
  server = await site.startServer();
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

/** What has gone to the server by and by, from now on for so long. */
function sample(proxy: FaultProxy, durationMs: number): Promise<readonly Sample[]> {
  const startedAtMs = performance.now();
  const samples: Sample[] = [];
  const { promise, resolve } = Promise.withResolvers<readonly Sample[]>();
  const timer = setInterval(() => {
    const atMs = performance.now() - startedAtMs;
    samples.push({ atMs, bytes: proxy.bytesUp });
    if (atMs < durationMs) return;
    clearInterval(timer);
    resolve(samples);
  }, SAMPLE_MS);
  return promise;
}

/** The highest rate over any `windowMs` of the samples, in bytes per second. */
function highestRate(samples: readonly Sample[], windowMs: number): number {
  let highest = 0;
  for (const [i, from] of samples.entries()) {
    const to = samples.slice(i).find(({ atMs }) => atMs - from.atMs >= windowMs);
    if (to !== undefined) highest = Math.max(highest, ((to.bytes - from.bytes) * 1000) / (to.atMs - from.atMs));
  }
  return highest;
}

describe("bandwidth_limit", () => {
  test.each([0, 4])(
    "holds within three percent over 10 s and lets no second be much faster, with parallels %i",
    async (parallels) => {
      const proxy = new FaultProxy({ targetPort: server.port });
      const backups = [
        {
          name: `limited-${parallels}`,
          storage: STORAGE,
          sources: [{ path: site.at("source") }],
          parallels,
          bandwidth_limit: "2mb",
        },
      ];
      const agent = site.startAgent(await site.agentConfig({ port: proxy.port, backups }), ["--once"]);
      await proxy.reached(LIMIT_BYTES_PER_SECOND / 2);
      const samples = await sample(proxy, MEASURED_MS);
      expect(agent.running).toBe(true);
      agent.kill("SIGKILL");
      await agent.end();
      proxy.stop();
      const [first, last] = [samples[0], samples.at(-1)];
      if (first === undefined || last === undefined) throw new Error("nothing was measured");
      const average = ((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs);
      expect(average / LIMIT_BYTES_PER_SECOND).toBeGreaterThan(0.97);
      expect(average / LIMIT_BYTES_PER_SECOND).toBeLessThan(1.03);
      // A quarter of a second's worth may have been saved up.
      expect(highestRate(samples, 1000) / LIMIT_BYTES_PER_SECOND).toBeLessThan(1.3);
    },
  );
});
