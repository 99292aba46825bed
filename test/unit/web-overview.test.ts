/** The overview: how every backup stands, by ends, archives and what agents tell. */
import { describe, expect, test } from "bun:test";
import { agentChannel, endRecord, eventRecord, PageKit, scannedArchive } from "#test/support/page-kit.ts";
import type { ArchivesAnswer } from "#web/api-archives.ts";
import type { OverviewAnswer } from "#web/api-types.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe("the overview", () => {
  test("leaves out what nothing ever came of and nobody means any more", async () => {
    const kit = new PageKit();
    const refused = { outcome: "refused", code: "E_STORAGE_UNKNOWN", archive: null } as const;
    await kit.clock.advance(15 * DAY_MS);
    const nowMs = kit.clock.wall();
    kit.history.add(endRecord({ ...refused, agent: "old-1", endWallMs: nowMs - 14.5 * DAY_MS }));
    kit.history.add(endRecord({ ...refused, agent: "new-1", endWallMs: nowMs - HOUR_MS }));
    kit.history.add(endRecord({ ...refused, storage: "mian", endWallMs: nowMs - HOUR_MS }));
    kit.archives = [scannedArchive({ backup: "dropped", timeMs: nowMs - 90 * DAY_MS })];
    await kit.scans.scanAll();
    const rows = async (): Promise<unknown> => {
      kit.app.forget();
      const { backups } = await kit.json<OverviewAnswer>("/api/v1/overview");
      return backups.map(({ agent, backup, storage, state }) => [agent, backup, storage, state].join(" "));
    };
    const unsaid = ["new-1 home main failing", "web-1 home mian failing", "web-1 dropped main unknown"];
    expect(await rows()).toEqual(unsaid);
    // One that has not said anything yet, is gone, or does not say all.
    for (const fields of [{ backupCount: 0, backups: [] }, { connected: false }, { backupCount: 9 }]) {
      kit.agents = [agentChannel(fields)];
      expect(await rows()).toEqual(expect.arrayContaining(unsaid));
    }
    kit.agents = [agentChannel({})];
    expect(await rows()).toEqual(["new-1 home main failing", "web-1 home main never", "web-1 dropped main unknown"]);
  });

  test("puts what fails first, then what is late, and counts them", async () => {
    const kit = new PageKit();
    const nowMs = kit.clock.wall();
    const archives = (agent: string, newestMs: number): void => {
      for (let day = 0; day < 5; day += 1) {
        kit.archives.push(scannedArchive({ agent, name: `${day}.tar.gz`, timeMs: newestMs - day * DAY_MS }));
      }
    };
    archives("ok-1", nowMs - 2 * HOUR_MS);
    archives("late-1", nowMs - 37 * HOUR_MS);
    archives("failing-1", nowMs - 30 * HOUR_MS);
    kit.history.add(
      endRecord({
        agent: "failing-1",
        outcome: "disk-full",
        code: "E_DISK_FULL",
        archive: null,
        endWallMs: nowMs - HOUR_MS,
      }),
    );
    kit.archives.push(scannedArchive({ agent: "new-1", timeMs: nowMs - 100 * HOUR_MS }));
    await kit.scans.scanAll();
    kit.events.add(eventRecord({ level: "error", kind: "storage.failed" }));
    kit.events.add(eventRecord());
    const overview = await kit.json<OverviewAnswer>("/api/v1/overview");
    expect(overview.backups.map(({ agent, state }) => [agent, state])).toEqual([
      ["failing-1", "failing"],
      ["late-1", "late"],
      ["new-1", "unknown"],
      ["ok-1", "ok"],
    ]);
    expect(overview.counts).toEqual({ ok: 1, late: 1, failing: 1, never: 0, unknown: 1 });
    expect(overview.backups[0]?.reason).toContain("E_DISK_FULL");
    expect(overview.backups[3]).toMatchObject({
      everyMs: DAY_MS,
      everyFrom: "habit",
      trend: [100, 100, 100, 100, 100],
    });
    const { backups } = await kit.json<ArchivesAnswer>("/api/v1/archives");
    expect(backups[3]).toMatchObject({ archiveCount: 5, archiveBytes: 1500 });
    expect(backups[3]?.sizes.map(({ wallMs }) => wallMs)).toEqual(
      [4, 3, 2, 1, 0].map((d) => nowMs - 2 * HOUR_MS - d * DAY_MS),
    );
    expect(overview.events.map(({ kind }) => kind)).toEqual(["storage.failed", "session.committed"]);
    expect(overview.scanning).toBe(false);
  });

  test("takes a wait, a lost place and a server that stopped for no failure, and a success after a failure for a success", async () => {
    const kit = new PageKit();
    const at = kit.clock.wall();
    kit.history.add(endRecord({ agent: "a", endWallMs: at - 3000, startWallMs: at - 4000 }));
    for (const [outcome, code] of [
      ["refused", "E_BUSY"],
      ["refused", "E_MAINTENANCE"],
      ["maintenance", "E_MAINTENANCE"],
      ["disowned", "E_INTERRUPTED"],
    ] as const) {
      kit.history.add(endRecord({ agent: "a", outcome, code, endWallMs: at - 2000, archive: null }));
    }
    kit.history.add(
      endRecord({ agent: "a", outcome: "suspended", code: "E_SHUTDOWN", endWallMs: at - 1000, archive: null }),
    );
    kit.history.add(endRecord({ agent: "b", outcome: "failed", code: "E_DISK", endWallMs: at - 3000, archive: null }));
    kit.history.add(endRecord({ agent: "b", endWallMs: at - 2000, startWallMs: at - 2500 }));
    kit.history.add(endRecord({ agent: "c", outcome: "refused", code: "E_FULL", endWallMs: at - 2000, archive: null }));
    const { backups } = await kit.json<OverviewAnswer>("/api/v1/overview");
    expect(backups.map(({ agent, state }) => [agent, state])).toEqual([
      ["c", "failing"],
      ["a", "ok"],
      ["b", "ok"],
    ]);
  });

  test("says of a backup that succeeded and whose archives are all gone that it fails, once its storage was looked at", async () => {
    const kit = new PageKit();
    kit.history.add(endRecord({ endWallMs: kit.clock.wall(), startWallMs: kit.clock.wall() }));
    const states = async (): Promise<readonly string[]> => {
      kit.app.forget();
      const { backups } = await kit.json<OverviewAnswer>("/api/v1/overview");
      return backups.map(({ state, lastBytes, reason }) => `${state} ${lastBytes} ${reason}`);
    };
    expect(await states()).toEqual(["ok 300 "]);
    await kit.scans.scanAll();
    expect(await states()).toEqual(["failing null none of its archives is in the storage any more"]);
    kit.archives = [scannedArchive()];
    await kit.scans.scanAll();
    expect(await states()).toEqual(["ok 300 "]);
    // Also where nothing ran for long: who removed them may have meant to, or not.
    kit.archives = [];
    await kit.clock.advance(15 * 86_400_000);
    expect(await states()).toHaveLength(1);
    await kit.scans.scanAll();
    expect(await states()).toEqual(["failing null none of its archives is in the storage any more"]);
  });

  test("does not believe an archive's time over its remembered end: after a clock that was ahead all are named after the first", async () => {
    const kit = new PageKit();
    const [at, year] = [kit.clock.wall(), 365 * 86_400_000];
    const names = ["2036-01-01T00-00-00-000Z.tar.gz", "2036-01-01T00-00-00-001Z.tar.gz"] as const;
    kit.archives = [names[0], names[1]].map((name, n) => scannedArchive({ name, timeMs: at + 10 * year + n }));
    await kit.scans.scanAll();
    const read = async (): Promise<readonly (string | number | null)[]> => {
      kit.app.forget();
      const { backups } = await kit.json<OverviewAnswer>("/api/v1/overview");
      return backups.flatMap(({ state, lastSuccessWallMs }) => [state, lastSuccessWallMs]);
    };
    expect(await read()).toEqual(["unknown", at + 10 * year + 1]);
    // The first one's end is forgotten.
    kit.history.add(endRecord({ archive: `web-1/home/${names[1]}`, endWallMs: at - 30 * 3_600_000, startWallMs: at }));
    expect(await read()).toEqual(["unknown", at - 30 * 3_600_000]);
    kit.history.add(endRecord({ outcome: "failed", code: "E_DISK", archive: null, endWallMs: at - 9 }));
    expect(await read()).toEqual(["failing", at - 30 * 3_600_000]);
  });

  test("takes the last end for the last one, also where the clock was put back before it", async () => {
    const kit = new PageKit();
    const [at, day] = [kit.clock.wall(), 86_400_000];
    const name = "2026-01-03T00-00-00-000Z.tar.gz";
    // Two days ahead for a run, and then right again.
    const ahead = { endWallMs: at + 2 * day, startWallMs: at + 2 * day - 9 };
    kit.archives = [scannedArchive({ agent: "a", name, timeMs: ahead.startWallMs })];
    await kit.scans.scanAll();
    for (const agent of ["a", "b"]) kit.history.add(endRecord({ ...ahead, agent, archive: `${agent}/home/${name}` }));
    const failed = { outcome: "failed", code: "E_DISK", archive: null, endWallMs: at - 2 } as const;
    for (const agent of ["a", "b"]) kit.history.add(endRecord({ ...failed, agent }));
    // Of what nobody remembers the end of, the time tells.
    kit.archives = [...kit.archives, scannedArchive({ agent: "c", name, timeMs: at - 1 })];
    kit.history.add(endRecord({ ...failed, agent: "c" }));
    await kit.scans.scanAll();
    const { backups } = await kit.json<OverviewAnswer>("/api/v1/overview");
    expect(backups.map(({ agent, state }) => [agent, state])).toEqual([
      ["a", "failing"],
      ["b", "failing"],
      ["c", "ok"],
    ]);
  });
});
