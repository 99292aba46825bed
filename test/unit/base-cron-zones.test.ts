/**
 * Every zone of the tz database over one year: schedules are due when the naive oracle says, above all where a clock is changed
 * at midnight. Zones whose clocks show the same all year are one case.
 */
import { describe, expect, test } from "bun:test";
import { momentsOf, zoneChangeNear, zoneLocalMs, zoneOffsetMs } from "#base/zone-time.ts";
import { dueTimes } from "#test/support/due-times.ts";
import { naiveDueTimes } from "#test/support/naive-cron.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YEAR = [Date.UTC(2026, 0, 1), Date.UTC(2027, 0, 1)] as const;

const EXPRESSIONS = ["0 0 * * *", "30 0,2 * * *", "*/20 * * * *", "0 */3 * * *", "15 23 * * 6,0"];

/** The moments of the year at which the zone's clock is changed. */
function changesOf(zone: string): number[] {
  const changes = new Set<number>();
  for (let dayMs = YEAR[0]; dayMs < YEAR[1]; dayMs += DAY_MS) {
    if (zoneOffsetMs(zone, dayMs) === zoneOffsetMs(zone, dayMs + DAY_MS)) continue;
    const change = zoneChangeNear(zone, dayMs + DAY_MS / 2);
    if (change !== undefined) changes.add(change.atMs);
  }
  return [...changes];
}

/** One zone of all those whose clocks show the same. */
const KINDS = new Map<string, string>();
for (const zone of Intl.supportedValuesOf("timeZone")) {
  const changes = changesOf(zone);
  const kind = [zoneOffsetMs(zone, YEAR[0]), ...changes.map((ms) => `${ms} ${zoneOffsetMs(zone, ms)}`)].join();
  if (!KINDS.has(kind)) KINDS.set(kind, zone);
}

describe("a schedule in every zone of the tz database", () => {
  test("has several dozen kinds of clocks to be due by, some of them changed at midnight", () => {
    expect(KINDS.size).toBeGreaterThan(60);
    const midnights = [...KINDS.values()].filter((zone) =>
      changesOf(zone).some((ms) => new Date(ms + (zoneChangeNear(zone, ms)?.beforeMs ?? 0)).getUTCHours() === 0),
    );
    expect(midnights.length).toBeGreaterThan(2);
  });

  test("is due as the oracle says around each change of the clock, and in a week without one", () => {
    for (const zone of KINDS.values()) {
      const changes = changesOf(zone);
      const middles = changes.length === 0 ? [Date.UTC(2026, 4, 15)] : changes;
      for (const middleMs of middles) {
        const [fromMs, toMs] = [middleMs - 1.5 * DAY_MS, middleMs + 1.5 * DAY_MS];
        for (const expression of EXPRESSIONS) {
          const found = [zone, expression, ...dueTimes(expression, zone, fromMs, toMs)];
          expect(found).toEqual([zone, expression, ...naiveDueTimes(expression, zone, fromMs, toMs)]);
        }
      }
    }
  }, 120_000);

  test.each(["Africa/Cairo", "Asia/Beirut", "America/Havana", "America/Nuuk"])(
    "at midnight is due each day of the year in %s",
    (zone) => {
      const found = dueTimes("0 0 * * *", zone, ...YEAR);
      expect(found).toEqual(naiveDueTimes("0 0 * * *", zone, ...YEAR));
      expect(found.length).toBe(365);
    },
    60_000,
  );

  test("at midnight was due each day in the years when Brazil put its clocks forward at midnight", () => {
    const [fromMs, toMs] = [Date.UTC(2018, 9, 1), Date.UTC(2019, 2, 1)];
    expect(dueTimes("0 0 * * *", "America/Sao_Paulo", fromMs, toMs)).toEqual(
      naiveDueTimes("0 0 * * *", "America/Sao_Paulo", fromMs, toMs),
    );
  });
});

describe("the clock of a zone", () => {
  const berlin = "Europe/Berlin";

  test("shows a time that is skipped at no moment, and one that comes twice at two", () => {
    expect(momentsOf(berlin, Date.UTC(2026, 2, 29, 2, 30))).toEqual({
      atMs: [],
      skippedAtMs: Date.UTC(2026, 2, 29, 1),
    });
    expect(momentsOf(berlin, Date.UTC(2026, 9, 25, 2, 30)).atMs).toEqual([
      Date.UTC(2026, 9, 25, 0, 30),
      Date.UTC(2026, 9, 25, 1, 30),
    ]);
    expect(momentsOf(berlin, Date.UTC(2026, 5, 1, 2)).atMs).toEqual([Date.UTC(2026, 5, 1)]);
  });

  test("is ahead of UTC by what the zone says, to the minute", () => {
    expect(zoneLocalMs("Asia/Kathmandu", 0)).toBe(5.5 * HOUR_MS);
    expect(zoneLocalMs("Asia/Kathmandu", Date.UTC(2026, 0, 1))).toBe(Date.UTC(2026, 0, 1, 5, 45));
    expect(zoneOffsetMs("America/St_Johns", Date.UTC(2026, 0, 1))).toBe(-3.5 * HOUR_MS);
  });
});
