/** What is kept of how sessions went: points, phases, snapshots and their way over a restart; and what the storages hold. */
import { describe, expect, test } from "bun:test";
import { forecastOf } from "#observe/forecast.ts";
import { RecordStore } from "#observe/record-store.ts";
import { type ActiveSnapshot, parseActiveSnapshot } from "#observe/session-points.ts";
import { SessionSeries } from "#observe/session-series.ts";
import { POINTS_MAX, SessionTrack } from "#observe/session-track.ts";
import { type ScannedArchive, StorageScans } from "#observe/storage-scans.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { liveView, MemoryRecords, scannedArchive, storageView } from "#test/support/page-kit.ts";
import { endedEvent } from "#test/support/session-end.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const place = { session: "0a", agent: "web-1", backup: "home", storage: "main" };
const admitted = { kind: "session.admitted", level: "info", message: "", fields: place } as const;

describe("a session's points", () => {
  test("stay bounded however long it runs: each time they are too many, two become one", () => {
    const track = new SessionTrack({ ...place, startWallMs: 0 });
    for (let second = 0; second < 5 * POINTS_MAX; second += 1) {
      track.sample(liveView(second * 100), second * 1000, second * 1000);
      expect(track.points.length).toBeLessThanOrEqual(POINTS_MAX);
    }
    expect(track.stepMs).toBe(8000);
    const rates = track.points.slice(1).map(({ receivedRate }) => receivedRate);
    expect(Math.min(...rates.slice(1))).toBe(100);
    expect(Math.max(...rates)).toBe(100);
    const times = track.points.map(({ wallMs }) => wallMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(track.sparkline).toHaveLength(60);
  });
});

describe("the series of sessions", () => {
  async function kit(): Promise<{
    disk: MemoryDisk;
    clock: SimClock;
    open: () => Promise<Opened>;
    warned: () => string[];
  }> {
    const [disk, clock, log] = [new MemoryDisk(), new SimClock(), memoryLogger()];
    await disk.mkdir("/state", 0o700);
    const open = async (): Promise<Opened> => {
      const path = "/state/active-sessions.jsonl";
      const store = await RecordStore.open({ disk, path, linesMax: 100, clock, log, parse: parseActiveSnapshot });
      const views: ReturnType<typeof liveView>[] = [];
      const series = new SessionSeries({ clock, snapshots: store, snapshotIntervalMs: 60_000, live: () => views });
      series.start();
      return { series, views, store };
    };
    return { disk, clock, open, warned: () => log.lines.map(({ message }) => message) };
  }

  interface Opened {
    readonly series: SessionSeries;
    readonly views: ReturnType<typeof liveView>[];
    readonly store: RecordStore<ActiveSnapshot>;
  }

  test("follow events, phases and the end, and are there after a restart, but for a line that was torn", async () => {
    const { disk, clock, open, warned } = await kit();
    const first = await open();
    first.series.note(admitted);
    for (let second = 0; second < 130; second += 1) {
      first.views.splice(0, 1, liveView(second * 10));
      await clock.advance(1000);
    }
    first.series.note({ ...admitted, kind: "session.parked" });
    await clock.advance(1000);
    first.series.note({ ...admitted, kind: "session.resumed" });
    first.series.phase("0a", "hashing");
    await clock.advance(1000);
    first.series.phase("0a", "committing");
    first.views.length = 0;
    first.series.note(endedEvent({ session: "0a" }));
    const fields = { archive: "web-1/home/2026-01-01T00-00-00-000Z.tar.gz", durationMs: 500 };
    await clock.advance(700);
    first.series.note({ kind: "archive.verified", level: "info", message: "", fields });
    const phases = first.series.of("0a")?.phases ?? [];
    expect(phases.map(({ phase }) => phase)).toEqual([
      ...["receiving", "parked", "receiving", "hashing", "committing", "verifying"],
    ]);
    expect(phases.every(({ endWallMs }) => endWallMs !== null)).toBe(true);
    expect(phases.at(-1)).toMatchObject({ startWallMs: clock.wall() - 500, endWallMs: clock.wall() });
    first.series.stop();
    await clock.until(first.store.close(), 10_000);
    const file = await disk.open("/state/active-sessions.jsonl", "read-write");
    await file.write(Buffer.from('{"session":"0a","tor'), await file.size());
    await file.close();
    const second = await open();
    expect(warned()).toContain("records cannot be read and were dropped: a crash or somebody else left them");
    const again = second.series.of("0a");
    expect(again?.phases).toEqual(phases);
    expect(again?.points.length).toBe(4);
    expect(again?.windowBytes).toBe(1000);
    // It goes on where an earlier start of the server left it.
    second.series.note({ ...admitted, kind: "session.recovered" });
    expect(second.series.of("0a")?.phases.at(-1)).toMatchObject({ phase: "parked", endWallMs: null });
    second.series.stop();
    await clock.until(second.store.close(), 10_000);
    expect(clock.pendingCount).toBe(0);
  });

  test("take another pause between snapshots at once", async () => {
    const { clock, open } = await kit();
    const { series, views, store } = await open();
    views.push(liveView());
    await clock.advance(61_000);
    expect(store.newest(100)).toHaveLength(1);
    series.use(10_000);
    await clock.advance(31_000);
    expect(store.newest(100)).toHaveLength(4);
    series.stop();
    await clock.until(store.close(), 10_000);
    expect(clock.pendingCount).toBe(0);
  });

  test("keep the last hour of traffic, and forget the oldest of a hundred sessions", async () => {
    const { clock, open } = await kit();
    const { series, views, store } = await open();
    for (let i = 0; i < 105; i += 1) {
      series.note({ ...admitted, fields: { ...place, session: `s${i}` } });
      series.note(endedEvent({ session: `s${i}` }));
    }
    expect([series.of("s4"), series.of("s5")?.facts.session]).toEqual([undefined, "s5"]);
    for (let second = 0; second < 4000; second += 1) {
      views.splice(0, 1, liveView(second * 100));
      await clock.advance(1000);
    }
    expect(series.traffic).toHaveLength(360);
    expect(series.traffic.at(-1)).toMatchObject({ receivedRate: 100, sessions: 1 });
    expect(series.rates).toEqual({ receivedRate: 100, writtenRate: 100 });
    series.stop();
    await clock.until(store.close(), 10_000);
  });
});

describe("the looks at storages", () => {
  function scansOf(
    list: (storage: string) => Promise<readonly ScannedArchive[]>,
    names: readonly string[] = ["main", "second"],
  ): {
    scans: StorageScans;
    clock: SimClock;
    changes: () => number;
  } {
    const clock = new SimClock();
    const changes: number[] = [];
    const scans = new StorageScans({
      ...{ clock, list, samples: new MemoryRecords(), intervalMs: 60_000, changed: () => void changes.push(1) },
      ...{ storages: () => names, view: (name) => storageView({ name }), archivesMax: 3 },
    });
    return { scans, clock, changes: () => changes.length };
  }

  test("say that a storage was seen whole only after a look that came to an end and was not cut off", async () => {
    let count = 2;
    const { scans } = scansOf((storage) => {
      if (count === 0) return Promise.reject(new Error("no disk"));
      const rows = Array.from({ length: count }, (_, n) => scannedArchive({ storage, name: `${n}` }));
      return Promise.resolve(rows);
    });
    expect(scans.isWhole("main")).toBe(false);
    for (const [held, isWhole] of [
      [2, true],
      [3, false],
      [1, true],
      [0, false],
    ] as const) {
      count = held;
      await scans.scanAll();
      expect([held, scans.isWhole("main")]).toEqual([held, isWhole]);
    }
  });

  test("go on by themselves, and one storage that fails keeps what was known of it and does not stop the others", async () => {
    let looks = 0;
    const { scans, clock, changes } = scansOf((storage) => {
      looks += 1;
      if (looks > 2 && storage === "main") return Promise.reject(new Error("no disk"));
      return Promise.resolve([scannedArchive({ storage })]);
    });
    expect(scans.complete).toBe(false);
    scans.start();
    await clock.advance(2000);
    expect([scans.complete, scans.archives().length, changes()]).toEqual([true, 2, 2]);
    await clock.advance(60_000);
    expect(looks).toBe(4);
    expect(scans.scanOf("main")?.failure).toContain("no disk");
    expect(scans.archivesOf("main")).toHaveLength(1);
    expect(scans.samplesOf("second")).toHaveLength(2);
    scans.stop();
    expect(clock.pendingCount).toBe(0);
  });

  test("keep what is told of damage while they go on, and what another storage has of the same name", async () => {
    const answer = Promise.withResolvers<readonly ScannedArchive[]>();
    const { scans } = scansOf((storage) => (storage === "main" ? answer.promise : Promise.resolve([])));
    const looked = scans.scanAll();
    const archive = "web-1/home/a.tar.gz";
    const told = (kind: string, fields: Record<string, unknown>): void =>
      scans.note({ kind, level: "info", message: "", fields });
    told("archives.removed", { storage: "second", removed: [archive] });
    told("archive.damaged", { storage: "main", archive, what: "1 damaged place" });
    told("archive.damaged", { storage: "second", archive: "web-1/home/b.tar.gz", what: "another" });
    answer.resolve([scannedArchive({ name: "a.tar.gz" }), scannedArchive({ name: "b.tar.gz" })]);
    await looked;
    expect(scans.archivesOf("main").map(({ name, damage }) => [name, damage])).toEqual([
      ["a.tar.gz", "1 damaged place"],
      ["b.tar.gz", undefined],
    ]);
  });

  test("follow another pause, look again at a storage that recovered, and forget one that is gone", async () => {
    let fails = true;
    const names = ["main", "second"];
    const looks: string[] = [];
    const { scans, clock } = scansOf((storage) => {
      looks.push(storage);
      return fails && storage === "main"
        ? Promise.reject(new Error("no disk"))
        : Promise.resolve([scannedArchive({ storage })]);
    }, names);
    scans.start();
    await clock.advance(2000);
    fails = false;
    scans.note({ kind: "storage.recovered", level: "info", message: "", fields: { storage: "main" } });
    await clock.advance(10);
    expect([looks.length, scans.failureOf("main"), scans.archives().length]).toEqual([4, undefined, 2]);
    names.pop();
    scans.scanSoon();
    await clock.advance(10);
    expect([looks.length, scans.archivesOf("second"), scans.scanOf("second")]).toEqual([5, [], undefined]);
    scans.use(600_000);
    await clock.advance(300_000);
    // The look that begins with the new pause.
    expect(looks).toHaveLength(6);
    await clock.advance(301_000);
    expect(looks).toHaveLength(7);
    scans.stop();
    expect(clock.pendingCount).toBe(0);
  });

  test("lose nothing that is committed, and bring nothing back that is removed, while they go on", async () => {
    const answer = Promise.withResolvers<readonly ScannedArchive[]>();
    const { scans } = scansOf((storage) => (storage === "main" ? answer.promise : Promise.resolve([])));
    const looked = scans.scanAll();
    expect(scans.scanAll()).toBe(looked);
    scans.note(endedEvent({ archive: "web-1/home/new.tar.gz", removed: ["web-1/home/old.tar.gz"] }));
    answer.resolve([scannedArchive({ name: "old.tar.gz" }), scannedArchive({ name: "middle.tar.gz" })]);
    await looked;
    expect(scans.archivesOf("main").map(({ name }) => name)).toEqual(["middle.tar.gz", "new.tar.gz"]);
    const fields = { storage: "main", archive: "web-1/home/new.tar.gz", what: "1 damaged place" };
    scans.note({ kind: "archive.damaged", level: "error", message: "", fields });
    expect(scans.archivesOf("main").at(-1)?.damage).toBe("1 damaged place");
    scans.note({
      kind: "archives.removed",
      level: "info",
      message: "",
      fields: { storage: "main", removed: ["web-1/home/new.tar.gz"] },
    });
    expect(scans.archivesOf("main")).toHaveLength(1);
  });
});

describe("the forecast of a disk", () => {
  const HOUR_MS = 3_600_000;
  const at = Date.UTC(2026, 5, 1);
  const falling = (bytesPerHour: number, count: number): { wallMs: number; freeBytes: number }[] =>
    Array.from({ length: count }, (_, i) => ({
      wallMs: at - (count - 1 - i) * HOUR_MS,
      freeBytes: 1e9 - bytesPerHour * i,
    }));

  test("is when what is usable is gone at the rate of the last month", () => {
    const samples = falling(1e6, 25);
    expect(forecastOf(samples, 48e6, at)).toEqual({
      fullWallMs: at + 48 * HOUR_MS,
      bytesPerDay: 24e6,
      basisMs: 24 * HOUR_MS,
    });
    expect(forecastOf(samples, -5, at)?.fullWallMs).toBe(at);
  });

  test("is never where it gets emptier, stays as it is, or takes more than five years", () => {
    expect(forecastOf(falling(-1e6, 25), 48e6, at)).toMatchObject({ fullWallMs: null, bytesPerDay: -24e6 });
    expect(forecastOf(falling(0, 25), 48e6, at)?.fullWallMs).toBeNull();
    expect(forecastOf(falling(1, 25), 48e6, at)?.fullWallMs).toBeNull();
  });

  test("is none after too few or too short looks", () => {
    expect(forecastOf([], 1, at)).toBeNull();
    expect(forecastOf(falling(1e6, 3), 1, at)).toBeNull();
    expect(
      forecastOf(
        falling(1e6, 2).map((s, i) => ({ ...s, wallMs: at - i * 40 * HOUR_MS })),
        1,
        at,
      ),
    ).toBeNull();
  });
});
