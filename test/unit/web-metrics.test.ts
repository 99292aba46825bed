/** What is written about the metrics is what there is: docs/web-api.md names them all, and the dashboard none that there is not. */
import { describe, expect, test } from "bun:test";
import { inProject } from "#scripts/lib/project.ts";
import { ServerMetrics } from "#server/server-metrics.ts";
import { endRecord, liveView, PageKit, scannedArchive, storageView } from "#test/support/page-kit.ts";
import { watchPage } from "#web/page-metrics.ts";

/** Made where the sockets are. */
const OF_THE_DAEMON = "nbackup_strangers_refused_total";

type Snapshot = ReturnType<ServerMetrics["registry"]["snapshot"]>;

async function metrics(kit = new PageKit()): Promise<Snapshot> {
  await kit.scans.scanAll();
  return metricsNow(kit);
}

function metricsNow(kit: PageKit): Snapshot {
  const own = new ServerMetrics();
  const storage = storageView();
  own.watch({
    ...{ sessionCount: () => 0, waitingCount: () => 0, connectionCount: () => 0, readerCount: () => 0 },
    ...{ backlogBytes: () => 0, memory: () => ({ usedBytes: 0, bytesMax: 0 }), staging: () => [], verifying: () => [] },
    chunkBuffer: () => ({ usedBytes: 0, bytesMax: 0, pauses: 0 }),
    storages: () => [{ name: storage.name, usable: true, space: undefined }],
  });
  own.registry.counted(OF_THE_DAEMON, "", () => 0);
  own.watchAgents({ connectedCount: 0 });
  const { model, app } = kit;
  watchPage({
    registry: own.registry,
    model,
    backups: () => app.backups(),
    streamCount: () => 3,
    residentBytes: () => 5,
  });
  return own.registry.snapshot();
}

describe("the metrics", () => {
  test("are all in docs/web-api.md, with their types, and no others are", async () => {
    const page = await Bun.file(inProject("docs/web-api.md")).text();
    const rows = page.split("\n").filter((line) => /^\| `(?:nbackup|process)_/.test(line));
    const told = rows.flatMap((row) => {
      const [, names = "", types = ""] = row.split("|");
      return [...names.matchAll(/`([a-z_]+)`/g)].map(([, name], index) => {
        const kinds = types.split(",").map((type) => type.trim());
        return `${name} ${kinds[index] ?? kinds[0]}`;
      });
    });
    const own = (await metrics()).map(({ name, type }) => `${name} ${type}`);
    expect(told.sort()).toEqual(own.sort());
    // In the rules for alerts, too.
    const named = [...page.matchAll(/nbackup_[a-z_]+/g)].map(([name]) => name);
    expect(named.filter((name) => !own.some((known) => known.startsWith(`${name} `)))).toEqual([]);
  });

  test("are what the Grafana dashboard asks for", async () => {
    const dashboard = (await Bun.file(inProject("docs/grafana-dashboard.json")).json()) as {
      readonly panels: readonly { readonly id: number; readonly targets: readonly { readonly expr: string }[] }[];
    };
    const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    const asked = new Set(expressions.flatMap((expr) => [...expr.matchAll(/nbackup_[a-z_]+/g)].map(([name]) => name)));
    expect(asked.size).toBeGreaterThan(15);
    const known = new Set(
      (await metrics()).flatMap(({ name, type }) => (type === "histogram" ? [`${name}_bucket`] : [name])),
    );
    expect([...asked].filter((name) => !known.has(name))).toEqual([]);
  });

  test("say when each backup last succeeded, 0 for one that never did, and how full windows are", async () => {
    const kit = new PageKit();
    kit.archives = [scannedArchive({ durationMs: 5000, problems: 2 })];
    kit.agents = [
      {
        ...{ agent: "db-1", connected: true, lost: false, sinceWallMs: 5, address: null, software: null, rttMs: 8 },
        ...{ rttDeviationMs: 1, uptimeMs: 1, cpuPercent: null, machineCpuPercent: null, residentBytes: null },
        ...{ load: null, freeBytes: null, backupCount: 1 },
        backups: [
          {
            ...{ backup: "all", storage: "main", activity: "idle", session: null, phase: null },
            ...{ nextWallMs: null, autoscaler: null, lastResult: null, lastWallMs: null, lastSuccessWallMs: null },
          },
        ],
      },
    ];
    kit.live = [liveView(700, { durableBytes: 300 })];
    const found = await metrics(kit);
    const valuesOf = (name: string): unknown =>
      found.find((metric) => metric.name === name)?.samples.map((sample) => Object.values(sample));
    const row = { agent: "web-1", backup: "home", storage: "main" };
    const never = { agent: "db-1", backup: "all", storage: "main" };
    expect(valuesOf("nbackup_last_success_timestamp_seconds")).toEqual([
      [never, 0],
      [row, Date.UTC(2026, 0, 1) / 1000 + 5],
    ]);
    expect(valuesOf("nbackup_last_warnings")).toEqual([[row, 2]]);
    expect(valuesOf("nbackup_window_used_bytes")).toEqual([[{}, 400]]);
    expect(valuesOf("nbackup_rtt_seconds")).toEqual([[{ agent: "db-1" }, 0.008]]);
    expect(valuesOf("nbackup_storage_archives")).toEqual([[{ storage: "main" }, 1]]);
  });

  test("say of no backup that it never succeeded before its storage was looked at", async () => {
    const kit = new PageKit();
    kit.archives = [scannedArchive({ durationMs: 5000 })];
    const failed = { outcome: "failed", code: "E_DISK", archive: null, endWallMs: kit.clock.wall() } as const;
    for (const backup of ["home", "new"]) kit.history.add(endRecord({ ...failed, backup }));
    kit.history.add(endRecord({ ...failed, backup: "lost", storage: "gone" }));
    const values = (): unknown =>
      metricsNow(kit)
        .find(({ name }) => name === "nbackup_last_success_timestamp_seconds")
        ?.samples.map((sample) => [sample.labels["backup"], "value" in sample && sample.value])
        .sort();
    expect(values()).toEqual([["lost", 0]]);
    await kit.scans.scanAll();
    kit.app.forget();
    expect(values()).toEqual([
      ["home", Date.UTC(2026, 0, 1) / 1000 + 5],
      ["lost", 0],
      ["new", 0],
    ]);
  });

  test("say how many archives of a backup are there, 0 when all are gone, and nothing while that is not known", async () => {
    const kit = new PageKit();
    const values = (name: string): unknown => {
      kit.app.forget();
      const found = metricsNow(kit).find((metric) => metric.name === name);
      return found?.samples.map((sample) => "value" in sample && sample.value);
    };
    const startWallMs = kit.clock.wall();
    kit.history.add(endRecord({ startWallMs, endWallMs: startWallMs }));
    kit.archives = [scannedArchive()];
    expect(values("nbackup_backup_archives")).toEqual([]);
    await kit.scans.scanAll();
    expect(values("nbackup_backup_archives")).toEqual([1]);
    kit.archives = [];
    await kit.scans.scanAll();
    expect(values("nbackup_backup_archives")).toEqual([0]);
    expect(values("nbackup_last_success_timestamp_seconds")).toEqual([0]);
    // As many as a look takes at most: there may be more.
    kit.archives = Array.from({ length: 100 }, (_, n) => scannedArchive({ name: `${n}.tar.gz` }));
    await kit.scans.scanAll();
    expect(values("nbackup_backup_archives")).toEqual([]);
  });
});
