/**
 * Streams that are slow, stand still or go away for a while: the others carry on, and the archive is the same. Times are
 * relative to an undisturbed run over equally fast streams on this machine.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import type { ProxiedConnection } from "#test/support/proxied-connection.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, leftoversIn, type OnceJson, QUICK_RETRY, Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);
const SOURCE_BYTES = 96 * MiB;
/** Each of four streams: an undisturbed run takes three seconds, whatever the machine. */
const STREAM_BYTES_PER_SECOND = 8 * MiB;
const OUTAGE_MS = 15_000;

let site: Site;
let server: ServerProcess;
let undisturbed: OnceJson;

interface Disturbed {
  readonly report: OnceJson;
  readonly durationMs: number;
}

/** Runs a backup through a proxy that treats each connection as `onOpen` says, and disturbs it as `disturb` says. */
async function backUp(
  parallels: number,
  onOpen: (connection: ProxiedConnection) => void,
  disturb: (proxy: FaultProxy) => Promise<void> = () => Promise.resolve(),
): Promise<Disturbed> {
  const proxy = new FaultProxy({ targetPort: server.port, onOpen });
  const config = await site.agentConfig({
    port: proxy.port,
    backups: [{ name: "streams", storage: STORAGE, sources: [{ path: site.at("source") }], parallels }],
    // Smaller than the source, so that a stream which holds a chunk up can also hold up what comes after it.
    resume: { buffer_size: "32mb" },
    retry: { ...QUICK_RETRY, initial_delay: "20ms", max_delay: "200ms" },
  });
  const agent = site.startAgent(config, ["--once", "--json"]);
  await Promise.race([disturb(proxy), agent.end(TIMEOUT_MS)]);
  const end = agentEnd(await agent.end(TIMEOUT_MS));
  proxy.stop();
  const report = end.reports[0];
  if (end.exitCode !== 0 || report === undefined) throw new Error(`ended with ${end.exitCode}: ${end.stderr}`);
  return { report, durationMs: end.durationMs };
}

const evenly = (connection: ProxiedConnection): void => connection.throttle(STREAM_BYTES_PER_SECOND);

async function expectTheSame(report: OnceJson): Promise<void> {
  expect(report.sha256).toBe(undisturbed.sha256);
  await checkSum(path.join(site.storage(), report.archive ?? ""));
  expect(leftoversIn(site.storage())).toEqual([]);
}

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  const bytes = new Uint8Array(SOURCE_BYTES / 4);
  for (let at = 0; at < bytes.length; at += 64 * KiB) crypto.getRandomValues(bytes.subarray(at, at + 64 * KiB));
  for (let file = 0; file < 4; file += 1) writeFileSync(site.at(`source/${file}`), bytes);
  server = await site.startServer();
  ({ report: undisturbed } = await backUp(4, evenly));
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

describe("of four streams", () => {
  test("one that stands still from its middle on does not hold up the rest", async () => {
    let stalled: ProxiedConnection | undefined;
    const { report } = await backUp(4, evenly, async (proxy) => {
      await proxy.reached(SOURCE_BYTES / 4);
      // On a busy machine some of them may have hardly begun by now.
      stalled = proxy.connections.toSorted((a, b) => b.bytesUp - a.bytesUp)[0];
      stalled?.stall();
    });
    expect(stalled?.bytesUp).toBeGreaterThan(MiB);
    await expectTheSame(report);
    expect(report.resentBytes).toBeGreaterThan(0);
    // Three streams take 4/3 of the time; finding out that the fourth stands still, and what it held, a few seconds.
    expect(report.durationMs).toBeLessThan((4 / 3) * undisturbed.durationMs + 6000);
  });

  test("one that is eighty times slower than the others does not set the pace", async () => {
    const { report } = await backUp(4, (connection) => {
      connection.throttle(connection.number === 2 ? 100_000 : STREAM_BYTES_PER_SECOND);
    });
    await expectTheSame(report);
    // At the slow one's pace a quarter of the source would take four minutes.
    expect(report.durationMs).toBeLessThan(3 * undisturbed.durationMs + 6000);
  });
});

/** In turn: inside the TLS handshake, before and in the first frames, in the middle of a chunk, after some of them. */
const CUT_AFTER_BYTES = [60, 500, 1200, 1800, 2500, 3000, 100_000, MiB, 5 * MiB, 12 * MiB];

describe("connections each of which breaks after some bytes, in the handshake, in a frame, anywhere,", () => {
  test.each([0, 4])("end in the same archive with parallels %i", async (parallels) => {
    const broken = { count: 0 };
    const { report } = await backUp(parallels, (connection) => {
      // The first ones stay up until the session has begun: before that every failure counts against max_attempts.
      if (connection.number <= parallels) connection.cutAfter((connection.number + 1) * MiB);
      else connection.cutAfter(CUT_AFTER_BYTES[connection.number % CUT_AFTER_BYTES.length] ?? 0);
      broken.count += 1;
    });
    expect(broken.count).toBeGreaterThan(CUT_AFTER_BYTES.length);
    await expectTheSame(report);
  });
});

describe("an outage of 15 s in the middle, in which every connection is broken and none can be made,", () => {
  test.each([0, 4])(
    "is outlived with parallels %i, and nothing is read or sent from the beginning",
    async (parallels) => {
      const perStream = (connection: ProxiedConnection): void =>
        connection.throttle(parallels === 0 ? 4 * STREAM_BYTES_PER_SECOND : STREAM_BYTES_PER_SECOND);
      let sentBefore = 0;
      const { report } = await backUp(parallels, perStream, async (proxy) => {
        await proxy.reached(SOURCE_BYTES / 2);
        sentBefore = proxy.bytesUp;
        proxy.refuse(true);
        proxy.cutAll();
        await Bun.sleep(OUTAGE_MS);
        proxy.refuse(false);
      });
      expect(sentBefore).toBeGreaterThanOrEqual(SOURCE_BYTES / 2);
      await expectTheSame(report);
      expect(report.durationMs).toBeGreaterThan(OUTAGE_MS);
      expect(report.durationMs).toBeLessThan(OUTAGE_MS + 2 * undisturbed.durationMs + 6000);
      expect(report.resentBytes).toBeLessThan(SOURCE_BYTES / 3);
    },
  );
});
