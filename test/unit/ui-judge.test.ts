import { describe, expect, test } from "bun:test";
import { backupsLeft, freshOnly, fromOfPeriod, outcomesOf, parseQuery, queryText } from "#ui/filters.ts";
import {
  concerns,
  endTone,
  forecastView,
  headline,
  nextInMs,
  OUTCOMES,
  reasonText,
  rowTone,
  scheduleRatio,
} from "#ui/judge.ts";
import { parsePath, pathOf, type Route, titleOf, topView } from "#ui/routes.ts";
import type { BackupRow } from "#web/api-archives.ts";
import { apiEnd, apiEvent, backupRow, backupRows, DAY_MS, GB, storageRow } from "#test/support/page-fixtures.ts";

const NOW = Date.UTC(2026, 1, 12, 14, 30, 0);
const NONE = { ok: 0, late: 0, failing: 0, never: 0, unknown: 0 };

describe("the answer at the top", () => {
  test("is that all is well only when nothing is late, failing, without a success or unknown", () => {
    expect(headline({ ...NONE, ok: 7 }, [], NOW)).toMatchObject({ kind: "all", tone: "ok", total: 7 });
    for (const state of ["late", "failing", "never", "unknown"] as const) {
      expect(headline({ ...NONE, ok: 7, [state]: 1 }, [], NOW)).toMatchObject({
        kind: "some",
        parts: [{ state, count: 1 }],
      });
    }
  });
  test("names the worst first and is as bad as that", () => {
    const head = headline({ ok: 3, late: 2, failing: 1, never: 0, unknown: 4 }, [], NOW);
    expect(head.tone).toBe("bad");
    expect(head.parts.map(({ state }) => state)).toEqual(["failing", "late", "unknown"]);
  });
  test("says of a new entry, whose first run goes on or is to come, that it has not run, not that it never succeeded", () => {
    const fresh = { ...backupRow(0, NOW), state: "never", lastEndWallMs: null, damagedCount: 0 } as const;
    const said = (row: Partial<BackupRow>): unknown => {
      const { parts, tone, fine } = headline({ ...NONE, ok: 1, never: 1 }, [{ ...fresh, ...row }], NOW);
      return [tone, parts, fine];
    };
    const awaited = ["warn", [{ state: "awaited", count: 1 }], 1];
    expect(said({ nextWallMs: NOW + 1, running: null })).toEqual(awaited);
    expect(said({ nextWallMs: null, running: "0a" })).toEqual(awaited);
    expect(rowTone({ ...fresh, nextWallMs: NOW + 1, running: null }, NOW)).toBe("warn");
    const never = ["bad", [{ state: "never", count: 1 }], 1];
    // Its time went by without a run; nobody knows of one; one ended without success.
    expect(said({ nextWallMs: NOW - 1, running: null })).toEqual(never);
    expect(said({ nextWallMs: null, running: null })).toEqual(never);
    expect(said({ nextWallMs: NOW + 1, running: null, lastEndWallMs: NOW - 1 })).toEqual(never);
  });
  test("does not say that all is well when there is nothing", () => {
    expect(headline(NONE, [], NOW)).toMatchObject({ kind: "none", tone: "none" });
  });
});

describe("beside the answer", () => {
  const fine = { ...storageRow("main", NOW), freeBytes: 500 * GB, reserveBytes: 100 * GB, forecast: null };
  const nothing = { backups: [], storages: [], certificates: [] };
  const kinds = (answer: Partial<Parameters<typeof concerns>[0]>): string[] =>
    concerns({ ...nothing, ...answer }, NOW).map(({ kind, tone, name, count }) => `${kind} ${tone} ${name} ${count}`);
  test("an archive found damaged keeps a backup from being fine, and the headline from saying so", () => {
    const row = backupRow(0, NOW);
    const rows = [
      { ...row, state: "ok", damagedCount: 2 } as const,
      { ...row, state: "failing", damagedCount: 1 } as const,
    ];
    const head = headline({ ...NONE, ok: 4 }, rows.slice(0, 1), NOW);
    expect(head).toMatchObject({ kind: "some", tone: "warn", fine: 3, parts: [{ state: "damaged", count: 1 }] });
    expect(headline({ ...NONE, ok: 4, failing: 1 }, rows, NOW).parts.map(({ state }) => state)).toEqual([
      "failing",
      "damaged",
    ]);
  });
  test("stand a storage that failed, is low, full or soon will be, the worst of one only", () => {
    const soon = { fullWallMs: NOW + 2.5 * DAY_MS, bytesPerDay: GB, basisMs: DAY_MS };
    expect(kinds({ storages: [fine] })).toEqual([]);
    expect(kinds({ storages: [{ ...fine, state: "failed", freeBytes: 0 }] })).toEqual(["storageFailed bad main 0"]);
    expect(kinds({ storages: [{ ...fine, state: "low", freeBytes: 90 * GB }] })).toEqual(["storageFull bad main 0"]);
    expect(kinds({ storages: [{ ...fine, state: "low" }] })).toEqual(["storageLow warn main 0"]);
    expect(kinds({ storages: [{ ...fine, forecast: soon }] })).toEqual(["storageSoon bad main 2"]);
  });
  test("stand certificates of the last month, and backups with unreadable files, what is bad first", () => {
    const certificate = (name: string, daysLeft: number) => ({
      name,
      daysLeft,
      notAfterWallMs: NOW + daysLeft * DAY_MS,
    });
    const certificates = [certificate("ca", 300), certificate("page", 20.7), certificate("server", -0.5)];
    const backups = [
      { state: "ok", lastWarnings: 3 } as const,
      { state: "ok", lastWarnings: 0 } as const,
      { state: "late", lastWarnings: 1 } as const,
    ];
    expect(kinds({ certificates, backups })).toEqual([
      "certificate bad server -1",
      "certificate warn page 20",
      "warned warn  1",
    ]);
  });
});

describe("a backup entry", () => {
  const row = { ...backupRow(0, NOW), everyMs: DAY_MS, lastSuccessWallMs: NOW - 1.5 * DAY_MS };
  test("is as old as its last success, counted in runs", () => {
    expect(scheduleRatio(row, NOW)).toBe(1.5);
    expect(scheduleRatio({ ...row, everyMs: null }, NOW)).toBeNull();
    expect(scheduleRatio({ ...row, lastSuccessWallMs: null }, NOW)).toBeNull();
    expect(scheduleRatio({ ...row, lastSuccessWallMs: NOW + 1 }, NOW)).toBe(0);
  });
  test("of which too few runs are known has the next one that its agent tells, until that time went by", () => {
    expect(nextInMs({ nextWallMs: NOW + 5 }, NOW)).toBe(5);
    expect([nextInMs({ nextWallMs: NOW }, NOW), nextInMs({ nextWallMs: null }, NOW)]).toEqual([null, null]);
  });
  test("says why it is not well, and nothing when it is", () => {
    expect(reasonText({ ...row, state: "ok", damagedCount: 0 })).toBeUndefined();
    expect(reasonText({ ...row, state: "ok", damagedCount: 1 })).toBe("reason.damaged");
    expect(reasonText({ ...row, state: "never", lastEndWallMs: null })).toBe("reason.neverRan");
    expect(reasonText({ ...row, state: "failing", lastOutcome: "failed" })).toBe("reason.failing");
    const gone = { ...row, state: "failing", lastOutcome: "committed", lastSuccessWallMs: null } as const;
    expect(reasonText(gone)).toBe("reason.gone");
    // The agent tells of a run that never reached the server.
    expect(reasonText({ ...gone, lastSuccessWallMs: NOW })).toBe("reason.onAgent");
    expect(reasonText({ ...gone, lastOutcome: null })).toBe("reason.onAgent");
  });
});

describe("a session that is over", () => {
  const end = { ...apiEnd(0, NOW), outcome: "committed" as const, problems: 0, verify: "none" as const };
  test("is well only when it was committed whole and not found damaged", () => {
    expect(endTone(end)).toBe("ok");
    expect(endTone({ ...end, problems: 2 })).toBe("warn");
    expect(endTone({ ...end, verify: "damaged" })).toBe("bad");
    expect(OUTCOMES.filter((outcome) => endTone({ ...end, outcome }) === "ok")).toEqual(["committed"]);
  });
});

describe("a storage", () => {
  const storage = { ...storageRow("main", NOW), freeBytes: 500 * GB, reserveBytes: 100 * GB };
  const filling = (days: number) => ({
    ...storage,
    forecast: { fullWallMs: NOW + days * DAY_MS, bytesPerDay: GB, basisMs: DAY_MS },
  });
  test("that fills within a week is bad, within a month a warning, later neither", () => {
    expect([3, 20, 90].map((days) => forecastView(filling(days), NOW).tone)).toEqual(["bad", "warn", "ok"]);
    expect(forecastView(filling(20), NOW)).toMatchObject({ kind: "fills", inMs: 20 * DAY_MS });
  });
  test("is full when its reserve is all that is left, whatever the forecast", () => {
    expect(forecastView({ ...filling(90), freeBytes: 100 * GB }, NOW)).toMatchObject({ kind: "full", tone: "bad" });
  });
  test("without a forecast is unknown, and with one that never comes steady", () => {
    expect(forecastView({ ...storage, forecast: null }, NOW).kind).toBe("unknown");
    expect(
      forecastView({ ...storage, forecast: { fullWallMs: null, bytesPerDay: -GB, basisMs: DAY_MS } }, NOW).kind,
    ).toBe("steady");
  });
});

describe("filters", () => {
  test("a query goes into a URL and comes back, and what is empty is left out", () => {
    const query = { agent: "a&b=c", text: "ü <x>" };
    expect(parseQuery(queryText({ ...query, kind: "", level: null, from: undefined }))).toEqual(query);
    expect(queryText({})).toBe("");
  });
  test("good and bad stand for outcomes, and a period for a time", () => {
    expect(outcomesOf("good", OUTCOMES)).toBe("committed");
    expect(outcomesOf("bad", OUTCOMES)?.split(",")).toHaveLength(OUTCOMES.length - 1);
    expect(outcomesOf(undefined, OUTCOMES)).toBeUndefined();
    expect(fromOfPeriod("day", NOW)).toBe(String(NOW - DAY_MS));
    expect(fromOfPeriod("ever", NOW)).toBeUndefined();
  });
  test("entries are found by any words of agent, backup and storage", () => {
    const rows = backupRows(40, NOW);
    expect(backupsLeft(rows, undefined, undefined)).toBe(rows);
    const found = backupsLeft(rows, undefined, "WEB etc");
    expect(found.length).toBeGreaterThan(0);
    expect(found.every((row) => row.agent.startsWith("web") && row.backup === "etc")).toBe(true);
    expect(backupsLeft(rows, "failing", undefined).map((row) => row.state)).toEqual(["failing"]);
  });
});

describe("the page's URLs", () => {
  const place = { storage: "main", agent: "web/01 ü", backup: "100%" };
  const ROUTES: readonly Route[] = [
    { view: "overview" },
    { view: "events" },
    { view: "session", session: "0000-1" },
    { view: "agent", agent: "<img>" },
    { view: "backup", ...place },
    { view: "find", ...place },
    { view: "archive", ...place, archive: "2026-02-12T02-00-00-123Z.tar.gz" },
  ];
  test("lead to the view that they were made of, whatever the names", () => {
    expect(ROUTES.map((route) => parsePath(pathOf(route)))).toEqual([...ROUTES]);
    expect(topView({ view: "archive", ...place, archive: "x" })).toBe("archives");
  });
  test("that mean nothing are said to be unknown", () => {
    const paths = ["/nothing", "/overview", "/sessions/a/b", "/archives/main", "/archives/a/b/c/d/e", "/agents/%ff"];
    expect(paths.map((path) => parsePath(path).view)).toEqual(paths.map(() => "unknown"));
  });
});

describe("events that come live", () => {
  const at = (wallMs: number, message: string) => ({ ...apiEvent(0, NOW), wallMs, message });
  test("stand above the list, newest first, none twice, also of one millisecond", () => {
    const rows = [at(20, "b"), at(10, "a")];
    const fresh = [at(10, "a"), at(20, "b"), at(20, "c"), at(30, "d")];
    expect(freshOnly(fresh, rows).map(({ message }) => message)).toEqual(["d", "c"]);
    expect(freshOnly(fresh, []).map(({ message }) => message)).toEqual(["d", "c", "b", "a"]);
  });
  test("that are older than the list are on a page of it that is not loaded", () => {
    expect(freshOnly([at(5, "old")], [at(20, "b")])).toEqual([]);
  });
});

describe("the title of a tab", () => {
  test("says what a view is about", () => {
    expect(titleOf(parsePath("/archives/main/web-01/etc/find"))).toBe("web-01 / etc");
    expect(titleOf(parsePath("/agents/web-01"))).toBe("web-01");
    expect(titleOf(parsePath("/events"))).toBeUndefined();
  });
});
