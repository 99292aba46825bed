/** Every route of the page over values: what it answers, its filters and pages, and what it refuses. */
import { describe, expect, test } from "bun:test";
import type { LiveView } from "#observe/live-view.ts";
import {
  agentChannel,
  endRecord,
  eventRecord,
  liveView,
  PageKit,
  PASSWORD,
  runningServer,
  scannedArchive,
  storageView,
} from "#test/support/page-kit.ts";
import { endedEvent } from "#test/support/session-end.ts";
import type { ArchivesAnswer, StoragesAnswer } from "#web/api-archives.ts";
import type { AgentsAnswer, HealthAnswer, SessionDetail, SessionsAnswer } from "#web/api-types.ts";
import type { WebAnswer } from "#web/http.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const errorOf = ({ status, body }: WebAnswer): unknown => [status, JSON.parse(String(body))];

describe("health", () => {
  const states: readonly (readonly [HealthAnswer["state"], number, Parameters<typeof runningServer>[0]])[] = [
    ["READY", 200, {}],
    ["BUSY", 200, { sessionCount: 32 }],
    ["BUSY", 200, { waitingCount: 1 }],
    ["LOW DISK", 503, { storages: [storageView({ state: "low" })] }],
    ["LOW DISK", 503, { storages: [storageView({ state: "failed", message: "no disk" })] }],
    ["MAINTENANCE", 503, { stopping: true }],
  ];
  for (const [state, status, fields] of states) {
    test(`is ${state} with ${status} of a server with ${JSON.stringify(Object.keys(fields ?? {}))}`, async () => {
      const kit = new PageKit();
      kit.status = runningServer(fields);
      const answer = await kit.ask("/api/v1/health");
      expect([answer.status, JSON.parse(String(answer.body))]).toMatchObject([status, { state }]);
    });
  }
});

test("health says why to nobody who has not given the password, because it names storages and paths", async () => {
  const kit = new PageKit({ password: true });
  kit.status = runningServer({ storages: [storageView({ state: "failed", message: "/srv/backups is gone" })] });
  const basic = { authorization: `Basic ${btoa(`me:${PASSWORD}`)}` };
  const body = async (headers: Record<string, string>): Promise<unknown> =>
    JSON.parse(String((await kit.ask("/api/v1/health", { headers })).body));
  expect(await body({})).toMatchObject({ state: "LOW DISK", reasons: [] });
  expect(await body(basic)).toMatchObject({ reasons: ["storage main: /srv/backups is gone"] });
});

test.each([...["access", "health", "overview", "config/effective", "metrics", `sessions/${"0".repeat(36)}`]])(
  "%s is one thing, and refuses every filter",
  async (route) => {
    const message = "agent is no filter here; there is none";
    const refused = [400, { error: { code: "bad-request", message, hint: null } }];
    expect(errorOf(await new PageKit().ask(`/api/v1/${route}?agent=x`))).toEqual(refused);
  },
);

describe("sessions", () => {
  test("that run have rates, progress by the last archive, and the time that is left", async () => {
    const kit = new PageKit();
    kit.series.start();
    for (let second = 0; second <= 5; second += 1) {
      kit.live = [liveView(second * 100, { lastRawBytes: 2000, durableBytes: second * 50 })];
      await kit.clock.advance(1000);
    }
    kit.waiting = [{ agent: "db-1", backup: "all", storage: "main", remote: "192.0.2.3:1", position: 1 }];
    const answer = await kit.json<SessionsAnswer>("/api/v1/sessions");
    expect(answer.running).toMatchObject([
      { session: "0a", receivedRate: 100, progress: 0.5, etaMs: 5000, streamsUp: 1 },
    ]);
    expect(answer.running[0]?.sparkline).toEqual([100, 100, 100, 100, 100]);
    expect(answer.waiting).toMatchObject([{ position: 1 }]);
    const detail = await kit.json<SessionDetail>("/api/v1/sessions/0a");
    expect(detail).toMatchObject({ live: { session: "0a" }, record: null, windowBytes: 1000, seriesStepMs: 1000 });
    expect(detail.series.at(-1)).toMatchObject({ windowUsedBytes: 250, rttMs: 12, receivedRate: 100, streamsUp: 1 });
    kit.series.stop();
  });

  test("whose line is slow are as far as what has arrived, not as what the agent has read into its window", async () => {
    const kit = new PageKit();
    kit.series.start();
    // Read: 94 % of the last archive's 2000 bytes, which were 1000 on the disk. Arrived: 20 a second.
    const slow = (bytes: number, windowBytes: number): LiveView => {
      const made = liveView(bytes, { lastRawBytes: 2000, windowBytes });
      return { ...made, view: { ...made.view, rawBytes: 1880, expectedBytes: 1000 } };
    };
    for (let second = 0; second <= 5; second += 1) {
      kit.live = [slow(second * 20, 1000)];
      await kit.clock.advance(1000);
    }
    const { running } = await kit.json<SessionsAnswer>("/api/v1/sessions");
    expect(running).toMatchObject([{ receivedRate: 20, progress: 0.1, etaMs: 45_000 }]);
    // So small a window cannot hold the rest: what there is compresses better than the last time.
    kit.live = [slow(500, 10)];
    expect((await kit.json<SessionsAnswer>("/api/v1/sessions")).running).toMatchObject([{ progress: 0.93 }]);
    // It compresses worse: no more can have arrived than was read.
    kit.live = [slow(990, 10)];
    expect((await kit.json<SessionsAnswer>("/api/v1/sessions")).running).toMatchObject([{ progress: 0.94 }]);
    kit.series.stop();
  });

  test("that nobody measured have no progress, and in a phase with a measure that one", async () => {
    const kit = new PageKit();
    kit.live = [liveView(100), liveView(1, { phase: "hashing", phaseDone: 25, phaseTotal: 100, lastRawBytes: 9 })];
    const { running } = await kit.json<SessionsAnswer>("/api/v1/sessions");
    expect(running.map(({ progress, etaMs }) => [progress, etaMs])).toEqual([
      [null, null],
      [0.25, null],
    ]);
  });

  test("that are over have their record, events and archive; what nobody knows is not found", async () => {
    const kit = new PageKit();
    const name = "2026-01-01T00-00-00-000Z.tar.gz";
    kit.history.add(endRecord({ session: "0b", archive: `web-1/home/${name}` }));
    kit.events.add(eventRecord({ fields: { session: "0b" } }));
    kit.events.add(eventRecord({ fields: { session: "other" } }));
    kit.archives = [scannedArchive({ name })];
    await kit.scans.scanAll();
    const detail = await kit.json<SessionDetail>("/api/v1/sessions/0b");
    expect(detail).toMatchObject({ live: null, record: { session: "0b" }, archive: { name, entries: 7 } });
    expect(detail.events).toHaveLength(1);
    expect(errorOf(await kit.ask("/api/v1/sessions/0c"))).toMatchObject([404, { error: { code: "not-found" } }]);
    expect((await kit.ask("/api/v1/sessions/..%2f")).status).toBe(404);
  });
});

describe("agents and storages", () => {
  test("show the worst of an agent's entries, what runs, and what its channel says", async () => {
    const kit = new PageKit();
    kit.live = [liveView(5)];
    kit.history.add(endRecord({ outcome: "mismatch", code: "E_MISMATCH", archive: null }));
    const { backups } = agentChannel({});
    kit.agents = [
      agentChannel({
        ...{ agent: "db-1", address: "192.0.2.5:7" },
        backups: backups.map((entry) => ({ ...entry, backup: "all", nextWallMs: 9 })),
      }),
    ];
    const { rows } = await kit.json<AgentsAnswer>("/api/v1/agents");
    expect(rows).toMatchObject([
      { agent: "db-1", state: "never", channel: { rttMs: 3 }, addresses: ["192.0.2.5"], backups: [{ nextWallMs: 9 }] },
      { agent: "web-1", state: "failing", channel: null, addresses: ["192.0.2.9"], running: ["0a"] },
    ]);
    const of = async (query: string): Promise<string[]> =>
      (await kit.json<AgentsAnswer>(`/api/v1/agents?${query}`)).rows.map(({ agent }) => agent);
    expect(await of("agent=B-")).toEqual(["db-1", "web-1"]);
    expect(await of("agent=web*&state=failing,late")).toEqual(["web-1"]);
    expect(await of("state=ok")).toEqual([]);
    for (const slip of [
      "agents?state=bad",
      "agents?limit=0",
      "overview?agent=x",
      "storages?agent=x",
      "sessions?outcome=x",
    ]) {
      expect([slip, (await kit.ask(`/api/v1/${slip}`)).status]).toEqual([slip, 400]);
    }
    expect((await kit.json<SessionsAnswer>("/api/v1/sessions?agent=web-?")).running).toHaveLength(1);
    expect((await kit.json<SessionsAnswer>("/api/v1/sessions?storage=other")).running).toHaveLength(0);
    expect((await kit.json<StoragesAnswer>("/api/v1/storages?storage=ai")).rows).toHaveLength(1);
    expect((await kit.json<StoragesAnswer>("/api/v1/storages?storage=x*")).rows).toHaveLength(0);
  });

  test("show when a disk is full if it goes on so, once it was looked at for long enough", async () => {
    const kit = new PageKit();
    const nowMs = kit.clock.wall();
    const sample = (hoursAgo: number, freeBytes: number): void =>
      kit.samples.add({
        wallMs: nowMs - hoursAgo * HOUR_MS,
        storage: "main",
        freeBytes,
        totalBytes: 1000,
        archiveCount: 1,
        archiveBytes: 1,
      });
    sample(48, 1000);
    sample(24, 800);
    const { rows } = await kit.json<StoragesAnswer>("/api/v1/storages");
    // 200 bytes a day, 550 above the reserve.
    expect(rows[0]?.forecast).toEqual({ fullWallMs: nowMs + 2.75 * DAY_MS, bytesPerDay: 200, basisMs: 48 * HOUR_MS });
    expect(rows[0]?.freeHistory).toHaveLength(2);
    kit.samples.rows.length = 0;
    sample(2, 700);
    sample(1, 650);
    expect((await kit.json<StoragesAnswer>("/api/v1/storages")).rows[0]?.forecast).toBeNull();
  });
});

describe("metrics", () => {
  test("are what Prometheus reads: escaped labels, cumulative buckets, one type each", async () => {
    const kit = new PageKit();
    kit.metrics.counter("a_total", "counted", ["name"]).add(2, 'x"\n\\');
    const histogram = kit.metrics.histogram("b_seconds", "timed", [1, 5]);
    for (const value of [0.5, 3, 4, 9]) histogram.observe(value);
    kit.metrics.gauge("c", "now", () => 7);
    const { headers, body } = await kit.ask("/metrics");
    expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(
      String(body)
        .split("\n")
        .filter((line) => line !== ""),
    ).toEqual([
      "# HELP a_total counted",
      "# TYPE a_total counter",
      'a_total{name="x\\"\\n\\\\"} 2',
      "# HELP b_seconds timed",
      "# TYPE b_seconds histogram",
      'b_seconds_bucket{le="1"} 1',
      'b_seconds_bucket{le="5"} 3',
      'b_seconds_bucket{le="+Inf"} 4',
      "b_seconds_sum 16.5",
      "b_seconds_count 4",
      "# HELP c now",
      "# TYPE c gauge",
      "c 7",
    ]);
  });
});

describe("a route", () => {
  test("that does not exist is not found, in JSON, and nothing of the question is in the answer", async () => {
    const kit = new PageKit();
    for (const target of ["/api/v1/nonsense", "/api/v2/health", "/<script>", "/api/v1/sessions/"]) {
      const answer = await kit.ask(target);
      expect([answer.status, answer.headers["content-type"]]).toEqual([404, "application/json; charset=utf-8"]);
      expect(String(answer.body)).not.toContain("script");
    }
  });

  test("shows what an end adds at once, not after the next look at the storages", async () => {
    const kit = new PageKit();
    await kit.scans.scanAll();
    kit.scans.note(endedEvent({ removed: [] }));
    expect((await kit.json<ArchivesAnswer>("/api/v1/archives")).rows).toMatchObject([{ agent: "web-1", entries: 7 }]);
    kit.scans.note(
      endedEvent({ archive: "web-1/home/new.tar.gz", removed: ["web-1/home/2026-01-01T00-00-00-000Z.tar.gz"] }),
    );
    expect((await kit.json<ArchivesAnswer>("/api/v1/archives")).rows.map(({ name }) => name)).toEqual(["new.tar.gz"]);
  });
});
