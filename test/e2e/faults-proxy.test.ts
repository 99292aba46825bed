/**
 * Networks that do worse than cut: bits flip, one end is gone without a word, one way goes dead, everything crawls, and the
 * way to the server is closed for a while. Every backup goes on in its session and ends as the same archive, in bounded time.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { randomBytes } from "#test/support/gigabyte.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import type { ProxiedConnection } from "#test/support/proxied-connection.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { agentEnd, leftoversIn, type OnceJson, QUICK_RETRY, Site, STORAGE } from "#test/support/site.ts";

const TIMEOUT_MS = 150_000;
setDefaultTimeout(TIMEOUT_MS);
const SOURCE_BYTES = 32 * MiB;
const WINDOW_BYTES = 24 * MiB;
/** Of one backup: an undisturbed run takes eight seconds, whatever the machine and whoever runs beside it. */
const LINE_BYTES_PER_SECOND = 4 * MiB;
/** 20 s of silence are death; another one may be needed to see that the next connection is dead as well. */
const SILENCE_MS = 20_000;
/**
 * While nobody answers, late chunks are sent again on streams that seem idle, which may be all of the window twice; then the connections are
 * found dead, and it is sent again once more. Seen: 24 to 66 MB.
 */
const RESENT_BYTES_MAX = 3 * WINDOW_BYTES;
/** What a busy machine, a few attempts and the rest of the backup may take. */
const SLACK_MS = 25_000;

let site: Site;
let server: ServerProcess;
let sha256: string | null = null;

interface Disturbed {
  readonly report: OnceJson;
  readonly durationMs: number;
  /** What the agent's log says of connections that it lost, in order. */
  readonly losses: readonly string[];
}

interface Fault {
  /** The entry's name: all run at the same time. */
  readonly name: string;
  readonly parallels: number;
  readonly onOpen?: (connection: ProxiedConnection) => void;
  /** Does its worst while the backup runs; the proxy's line is as slow as said above. */
  readonly disturb?: (proxy: FaultProxy) => Promise<void>;
}

async function backUp({ name, parallels, onOpen, disturb }: Fault): Promise<Disturbed> {
  const proxy = new FaultProxy({ targetPort: server.port, ...(onOpen === undefined ? {} : { onOpen }) });
  proxy.throttleAll(LINE_BYTES_PER_SECOND);
  const config = await site.agentConfig({
    port: proxy.port,
    backups: [{ name, storage: STORAGE, sources: [{ path: site.at("source") }], parallels }],
    resume: { buffer_size: `${WINDOW_BYTES / MiB}mb` },
    retry: { ...QUICK_RETRY, initial_delay: "20ms", max_delay: "200ms" },
  });
  const agent = site.startAgent(config, ["--once", "--json"]);
  await Promise.race([disturb?.(proxy), agent.end(TIMEOUT_MS)]);
  const end = agentEnd(await agent.end(TIMEOUT_MS));
  proxy.stop();
  const [report] = end.reports;
  if (end.exitCode !== 0 || report === undefined) throw new Error(`ended with ${end.exitCode}: ${end.stderr}`);
  const losses = end.stderr.split("\n").filter((line) => /"(stream|connection) lost/.test(line));
  return { report, durationMs: end.durationMs, losses };
}

/** Both ways of carrying data at once, as two agents. */
async function backUpBothWays(fault: Omit<Fault, "name" | "parallels">, name: string): Promise<readonly Disturbed[]> {
  return await Promise.all([0, 4].map((parallels) => backUp({ ...fault, name: `${name}-${parallels}`, parallels })));
}

async function expectTheSame({ report }: Disturbed): Promise<void> {
  expect(report.sha256).toBe(sha256);
  await checkSum(path.join(site.storage(), report.archive ?? ""));
  expect(leftoversIn(site.storage()).filter((file) => file.includes(report.session ?? ""))).toEqual([]);
  // In one session: nothing began anew.
  const admitted = server.events("session.admitted").filter((line) => line["backup"] === report.backup);
  expect(admitted.map((line) => line["session"])).toEqual([report.session]);
}

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  for (let file = 0; file < 4; file += 1) writeFileSync(site.at(`source/${file}`), randomBytes(SOURCE_BYTES / 4));
  server = await site.startServer();
  const { report } = await backUp({ name: "undisturbed", parallels: 4 });
  ({ sha256 } = report);
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

// Most of each is waiting: all at once take as long as the longest.
describe.concurrent("a backup outlives", () => {
  test("bits that flip on every connection, in handshakes, frames and data, both ways", async () => {
    const damaged: ProxiedConnection[] = [];
    const runs = await backUpBothWays(
      {
        onOpen: (connection) => {
          const { number } = connection;
          // The first ones stay up until the session has begun: before that every failure counts against max_attempts.
          if (number < 5) connection.flipBitAfter((number + 1) * MiB, "up");
          else if (number % 3 === 0) connection.flipBitAfter(100 + 400 * (number % 10), "down");
          else connection.flipBitAfter(200 + 300_000 * (number % 10), "up");
          damaged.push(connection);
        },
      },
      "flips",
    );
    for (const run of runs) await expectTheSame(run);
    expect(damaged.filter((connection) => connection.damaged).length).toBeGreaterThan(8);
    // TLS lets no damaged byte through: the connection breaks, and no chunk arrives damaged.
    expect(server.events("session.chunk-damaged")).toEqual([]);
  });

  test.each(["agent", "server"] as const)(
    "connections whose %s is gone without a word to the other end",
    async (lost) => {
      const disturb = async (proxy: FaultProxy): Promise<void> => {
        await proxy.reached(SOURCE_BYTES / 3);
        for (const connection of proxy.connections) connection.lose(lost);
      };
      for (const run of await backUpBothWays({ disturb }, `lost-${lost}`)) {
        await expectTheSame(run);
        expect(run.durationMs).toBeLessThan(2 * SILENCE_MS + SLACK_MS);
        expect(run.report.resentBytes).toBeLessThanOrEqual(RESENT_BYTES_MAX);
      }
    },
  );

  test.each(["up", "down", "both"] as const)(
    "connections that all stand still for good, way: %s, and are never closed",
    async (way) => {
      const disturb = async (proxy: FaultProxy): Promise<void> => {
        await proxy.reached(SOURCE_BYTES / 3);
        for (const connection of proxy.connections) connection.stall(way);
      };
      for (const run of await backUpBothWays({ disturb }, `stall-${way}`)) {
        await expectTheSame(run);
        expect(run.durationMs).toBeLessThan(2 * SILENCE_MS + SLACK_MS);
        expect(run.report.resentBytes).toBeLessThanOrEqual(2 * WINDOW_BYTES);
      }
    },
  );

  test("a pause of 8 s on all connections, without one of them being given up", async () => {
    const disturb = async (proxy: FaultProxy): Promise<void> => {
      await proxy.reached(SOURCE_BYTES / 3);
      const paused = proxy.connections;
      for (const connection of paused) connection.stall();
      await Bun.sleep(8000);
      for (const connection of paused) connection.release();
    };
    for (const run of await backUpBothWays({ disturb }, "pause")) {
      await expectTheSame(run);
      expect(run.losses).toEqual([]);
    }
  });

  test("a line on which everything crawls for 30 s, without one connection being given up", async () => {
    const disturb = async (proxy: FaultProxy): Promise<void> => {
      await proxy.reached(SOURCE_BYTES / 3);
      // A chunk takes two minutes at this pace: what counts is that bytes come at all.
      proxy.throttleAll(64 * KiB);
      await Bun.sleep(30_000);
      proxy.throttleAll(LINE_BYTES_PER_SECOND);
    };
    for (const run of await backUpBothWays({ disturb }, "crawl")) {
      await expectTheSame(run);
      expect(run.losses).toEqual([]);
    }
  });

  test("a proxy that dies and comes back three times, its port closed in between", async () => {
    const disturb = async (proxy: FaultProxy): Promise<void> => {
      for (const share of [0.2, 0.5, 0.8]) {
        await proxy.reached(share * SOURCE_BYTES);
        proxy.die();
        await Bun.sleep(2000);
        proxy.restart();
      }
    };
    for (const run of await backUpBothWays({ disturb }, "dies")) {
      await expectTheSame(run);
      expect(run.durationMs).toBeLessThan(3 * 2000 + SLACK_MS);
    }
  });
});

test("nothing unfinished is left on the server, and it had no errors", () => {
  expect(leftoversIn(site.storage())).toEqual([]);
  expect(server.output).not.toMatch(/"level":"error"/);
});
