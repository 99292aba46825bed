/** How backups are judged by what agents tell and by which archives are there. */
import { describe, expect, test } from "bun:test";
import type { ScannedArchive } from "#observe/storage-scans.ts";
import { endRecord, eventRecord, PageKit, scannedArchive } from "#test/support/page-kit.ts";
import { endedEvent } from "#test/support/session-end.ts";
import type { AgentChannelBackup, OverviewAnswer } from "#web/api-types.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The agent `web-1` says this of its entry `home`. */
function tell(kit: PageKit, fields: Partial<AgentChannelBackup>, connected = true): void {
  kit.agents = [
    {
      ...{ agent: "web-1", connected, lost: false, sinceWallMs: 5, address: null, software: null, rttMs: 3 },
      ...{ rttDeviationMs: 1, uptimeMs: 1, cpuPercent: null, machineCpuPercent: null, residentBytes: null },
      ...{ load: null, freeBytes: null, backupCount: 1 },
      backups: [
        {
          ...{ backup: "home", storage: "main", activity: "idle", session: null, phase: null, autoscaler: null },
          ...{ nextWallMs: null, lastResult: null, lastWallMs: null, lastSuccessWallMs: null, ...fields },
        },
      ],
    },
  ];
}

async function standings(kit: PageKit): Promise<readonly string[]> {
  kit.app.forget();
  const { backups } = await kit.json<OverviewAnswer>("/api/v1/overview");
  return backups.map(({ agent, state, reason }) => `${agent} ${state} ${reason}`.trim());
}

/** Its session was committed then. */
function committed(kit: PageKit, endWallMs: number): void {
  kit.history.add(endRecord({ startWallMs: endWallMs - 1000, endWallMs }));
}

describe("a run that failed on the agent and never reached the server", () => {
  const FAILED = "web-1 failing the agent's last run failed: E_HOOK";

  test("makes its backup failing until one succeeds, whatever the agent's clock says", async () => {
    for (const offMs of [0, -5 * HOUR_MS, 5 * HOUR_MS]) {
      const kit = new PageKit();
      const successMs = kit.clock.wall();
      committed(kit, successMs);
      const told = { lastResult: "committed", lastWallMs: successMs + offMs, lastSuccessWallMs: successMs + offMs };
      tell(kit, told);
      expect(await standings(kit)).toEqual(["web-1 ok"]);
      await kit.clock.advance(DAY_MS);
      tell(kit, { ...told, lastResult: "E_HOOK", lastWallMs: kit.clock.wall() + offMs });
      expect(await standings(kit)).toEqual([FAILED]);
      // It is no better for being off.
      tell(kit, { ...told, lastResult: "E_HOOK", lastWallMs: kit.clock.wall() + offMs }, false);
      expect(await standings(kit)).toEqual([FAILED]);
      await kit.clock.advance(DAY_MS);
      committed(kit, kit.clock.wall());
      const againMs = kit.clock.wall() + offMs;
      tell(kit, { lastResult: "committed", lastWallMs: againMs, lastSuccessWallMs: againMs });
      expect(await standings(kit)).toEqual(["web-1 ok"]);
    }
  });

  test("counts for an entry that never succeeded too, and after a clock that was ahead at the last success", async () => {
    const kit = new PageKit();
    tell(kit, { lastResult: "E_HOOK", lastWallMs: kit.clock.wall() });
    expect(await standings(kit)).toEqual([FAILED]);
    committed(kit, kit.clock.wall() - DAY_MS);
    tell(kit, {
      lastResult: "E_HOOK",
      lastWallMs: kit.clock.wall(),
      lastSuccessWallMs: kit.clock.wall() + 99 * DAY_MS,
    });
    expect(await standings(kit)).toEqual([FAILED]);
  });

  test("is not the last word where the server knows a later end, and the server's own reason says more", async () => {
    const kit = new PageKit();
    const atMs = kit.clock.wall();
    await kit.clock.advance(HOUR_MS);
    tell(kit, { lastResult: "E_HOOK", lastWallMs: atMs });
    committed(kit, kit.clock.wall());
    expect(await standings(kit)).toEqual(["web-1 ok"]);
    kit.history.add(
      endRecord({ outcome: "disk-full", code: "E_DISK_FULL", message: "no room", archive: null, endWallMs: atMs }),
    );
    tell(kit, { lastResult: "E_DISK_FULL", lastWallMs: kit.clock.wall() + 1 });
    expect(await standings(kit)).toEqual(["web-1 failing the last run failed: E_DISK_FULL: no room"]);
  });

  test("is none where it was interrupted, another took its place, it had to wait, or its archive was found damaged", async () => {
    const kit = new PageKit();
    const successMs = kit.clock.wall();
    committed(kit, successMs);
    await kit.clock.advance(HOUR_MS);
    for (const lastResult of ["E_INTERRUPTED", "E_SUPERSEDED", "E_BUSY", "E_SHUTDOWN", "E_MAINTENANCE"]) {
      tell(kit, { lastResult, lastWallMs: kit.clock.wall(), lastSuccessWallMs: successMs });
      expect(await standings(kit)).toEqual(["web-1 ok"]);
    }
    tell(kit, { lastResult: "E_ARCHIVE_DAMAGED", lastWallMs: kit.clock.wall(), lastSuccessWallMs: kit.clock.wall() });
    expect(await standings(kit)).toEqual(["web-1 ok"]);
  });

  test("leaves the time until the next run what it was: a daily entry that is cut short every day is late", async () => {
    const kit = new PageKit();
    const successMs = kit.clock.wall();
    committed(kit, successMs);
    for (let day = 1; day <= 3; day += 1) {
      await kit.clock.advance(DAY_MS);
      const nowMs = kit.clock.wall();
      tell(kit, {
        ...{ lastResult: "E_INTERRUPTED", lastWallMs: nowMs, lastSuccessWallMs: successMs },
        nextWallMs: nowMs + DAY_MS,
      });
      expect((await standings(kit))[0]).toStartWith(day === 1 ? "web-1 ok" : "web-1 late");
    }
  });
});

describe("a success whose archive is not there any more", () => {
  /** Daily at midnight, the newest `newestMs`; the newest one last. */
  function daily(kit: PageKit, count: number, newestMs: number): readonly ScannedArchive[] {
    return Array.from({ length: count }, (_, n): ScannedArchive => {
      const timeMs = newestMs - (count - 1 - n) * DAY_MS;
      const name = `${n}.tar.gz`;
      kit.history.add(endRecord({ archive: `web-1/home/${name}`, startWallMs: timeMs, endWallMs: timeMs + 1000 }));
      return scannedArchive({ name, timeMs });
    });
  }

  test("counts no more: a backup whose newest archives somebody removed is late, as one of old ones is", async () => {
    const kit = new PageKit();
    await kit.clock.advance(30 * DAY_MS);
    const archives = daily(kit, 6, kit.clock.wall());
    kit.archives = archives.slice(0, 3);
    expect(await standings(kit)).toEqual(["web-1 ok"]);
    await kit.scans.scanAll();
    expect(await standings(kit)).toEqual([
      "web-1 late its newest archives are not in the storage any more, and the last success that is left is older than the time between its runs lets expect",
    ]);
    const { backups } = await kit.json<OverviewAnswer>("/api/v1/overview");
    expect(backups[0]?.lastSuccessWallMs).toBe(kit.clock.wall() - 3 * DAY_MS + 1000);
    // Rotation takes the oldest.
    kit.archives = archives.slice(-1);
    await kit.scans.scanAll();
    expect(await standings(kit)).toEqual(["web-1 ok"]);
  });

  test("is not said of one that was committed while its storage was looked at", async () => {
    const kit = new PageKit();
    kit.archives = [...daily(kit, 3, kit.clock.wall() - 3 * DAY_MS)];
    await kit.scans.scanAll();
    expect((await standings(kit))[0]).toStartWith("web-1 late");
    const looking = kit.scans.scanAll();
    const startWallMs = kit.clock.wall();
    const event = endedEvent({ archive: "web-1/home/new.tar.gz", startWallMs });
    kit.history.add(endRecord({ archive: "web-1/home/new.tar.gz", startWallMs, endWallMs: startWallMs }));
    kit.scans.note(event);
    expect(await standings(kit)).toEqual(["web-1 ok"]);
    await looking;
    expect(await standings(kit)).toEqual(["web-1 ok"]);
  });
});

describe("a backup that succeeded, whose archives are gone and that no agent names", () => {
  const GONE = "web-1 failing none of its archives is in the storage any more";

  /** Off for 15 days; then somebody removes its archives. */
  async function removed(): Promise<PageKit> {
    const kit = new PageKit();
    committed(kit, kit.clock.wall());
    kit.archives = [scannedArchive()];
    await kit.scans.scanAll();
    await kit.clock.advance(15 * DAY_MS);
    expect(await standings(kit)).toHaveLength(1);
    kit.archives = [];
    await kit.scans.scanAll();
    return kit;
  }

  function told(kit: PageKit): readonly string[] {
    return kit.emitted
      .filter(({ kind }) => kind === "backup.forgotten")
      .map(({ level, message }) => `${level} ${message}`);
  }

  test("is failing for 14 days since they were found gone, and then it is told that it is shown no more", async () => {
    const kit = await removed();
    expect(await standings(kit)).toEqual([GONE]);
    await kit.clock.advance(13 * DAY_MS);
    expect(await standings(kit)).toEqual([GONE]);
    // They are back for a while.
    kit.archives = [scannedArchive()];
    await kit.scans.scanAll();
    expect(await standings(kit)).not.toEqual([GONE]);
    kit.archives = [];
    await kit.scans.scanAll();
    expect(await standings(kit)).toEqual([GONE]);
    await kit.clock.advance(13 * DAY_MS);
    expect(await standings(kit)).toEqual([GONE]);
    expect(told(kit)).toEqual([]);
    await kit.clock.advance(DAY_MS + 1);
    for (let look = 0; look < 2; look += 1) {
      expect(await standings(kit)).toEqual([]);
      expect(told(kit)).toEqual([
        "warn the backup web-1/home is shown no more: none of its archives is in storage main, and no agent says that it has it",
      ]);
    }
  });

  test("stays forgotten after the next start, until it ends again", async () => {
    const kit = await removed();
    const fields = { agent: "web-1", backup: "home", storage: "main" };
    kit.events.add(eventRecord({ kind: "backup.forgotten", level: "warn", wallMs: kit.clock.wall(), fields }));
    const again = new PageKit();
    await again.clock.advance(16 * DAY_MS);
    again.history.rows.push(...kit.history.rows);
    again.events.rows.push(...kit.events.rows);
    expect(await standings(again)).toHaveLength(1);
    await again.scans.scanAll();
    expect([await standings(again), told(again)]).toEqual([[], []]);
    committed(again, again.clock.wall());
    expect(await standings(again)).toEqual([GONE]);
  });

  test("is failing for as long as it runs and fails, and 14 days more", async () => {
    const kit = await removed();
    for (let day = 0; day < 20; day += 1) {
      await kit.clock.advance(DAY_MS);
      const endWallMs = kit.clock.wall();
      kit.history.add(endRecord({ outcome: "disk-full", code: "E_DISK_FULL", endWallMs, archive: null }));
      expect((await standings(kit))[0]).toStartWith("web-1 failing the last run failed: E_DISK_FULL");
    }
    await kit.clock.advance(13 * DAY_MS);
    expect([(await standings(kit)).length, told(kit)]).toEqual([1, []]);
    await kit.clock.advance(DAY_MS + 1);
    expect([(await standings(kit)).length, told(kit).length]).toEqual([0, 1]);
  });

  test("is failing too where only its archives told of a success, and leaves unsaid with its storage", async () => {
    const kit = new PageKit();
    kit.archives = [scannedArchive()];
    await kit.scans.scanAll();
    expect(await standings(kit)).toHaveLength(1);
    kit.archives = [];
    await kit.scans.scanAll();
    expect(await standings(kit)).toEqual([GONE]);
    await kit.clock.advance(13 * DAY_MS);
    expect(await standings(kit)).toEqual([GONE]);
    kit.status = { ...kit.status, storages: [] };
    expect([await standings(kit), told(kit)]).toEqual([[], []]);
  });

  test("is as it was where the look did not come to its end, and nothing is told", async () => {
    const kit = new PageKit();
    kit.archives = [scannedArchive({ timeMs: kit.clock.wall() })];
    await kit.scans.scanAll();
    expect(await standings(kit)).toEqual(["web-1 ok"]);
    // As many as are listed at the most.
    kit.archives = Array.from({ length: 100 }, (_, n) => scannedArchive({ agent: "a", name: `${n}.tar.gz` }));
    await kit.scans.scanAll();
    expect((await standings(kit)).filter((text) => text.startsWith("web-1"))).toEqual(["web-1 ok"]);
    await kit.clock.advance(3 * DAY_MS);
    expect((await standings(kit)).find((text) => text.startsWith("web-1"))).toStartWith("web-1 unknown");
    expect(told(kit)).toEqual([]);
  });

  test("is gone at once, and that is told, where its connected agent does not have the entry any more", async () => {
    const kit = await removed();
    expect(await standings(kit)).toEqual([GONE]);
    tell(kit, { backup: "other" });
    expect(await standings(kit)).toEqual(["web-1 never no run has succeeded yet"]);
    expect(told(kit)).toHaveLength(1);
  });
});
