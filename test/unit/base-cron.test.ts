/** When an expression is due: against an oracle that looks at every minute, over changes of the clocks all over the world. */
import { describe, expect, test } from "bun:test";
import { cronProblem, nextDueMs } from "#base/cron.ts";
import { dueTimes } from "#test/support/due-times.ts";
import { naiveDueTimes } from "#test/support/naive-cron.ts";

const DAY_MS = 86_400_000;

/** Days around which the clocks change: an hour, half an hour, at midnight, and not at all. */
const CHANGES: readonly [string, string][] = [
  ["Europe/Berlin", "2026-03-29"],
  ["Europe/Berlin", "2026-10-25"],
  ["America/New_York", "2026-03-08"],
  ["America/New_York", "2026-11-01"],
  ["Australia/Lord_Howe", "2026-04-05"],
  ["Australia/Lord_Howe", "2026-10-04"],
  ["America/Santiago", "2026-04-05"],
  ["America/Santiago", "2026-09-06"],
  ["Asia/Kolkata", "2026-03-29"],
  ["UTC", "2026-02-28"],
];

const EXPRESSIONS = [
  "0 2 * * *",
  "30 2 * * *",
  "30 1 * * *",
  "0 0 * * *",
  "15,45 1,2 * * *",
  "0 1-4 * * *",
  "*/15 * * * *",
  "30 * * * *",
  "0 */3 * * *",
  "7/20 2 * * *",
  "59 23 * * 6",
  "0 3 29 * 0",
];

describe("an expression", () => {
  for (const [zone, day] of CHANGES) {
    test(`in ${zone} around ${day} is due when cron runs it`, () => {
      const middleMs = Date.parse(day);
      const [fromMs, toMs] = [middleMs - 2 * DAY_MS, middleMs + 3 * DAY_MS];
      for (const expression of EXPRESSIONS) {
        const seen = [expression, ...dueTimes(expression, zone, fromMs, toMs)];
        expect(seen).toEqual([expression, ...naiveDueTimes(expression, zone, fromMs, toMs)]);
      }
    });
  }

  test("that names a time which is skipped is due right after the change, and one that comes twice the first time", () => {
    const iso = (afterMs: number): string =>
      new Date(nextDueMs("30 2 * * *", "Europe/Berlin", afterMs) ?? 0).toISOString();
    expect(iso(Date.parse("2026-03-28T12:00:00Z"))).toBe("2026-03-29T01:00:00.000Z");
    expect(iso(Date.parse("2026-10-24T12:00:00Z"))).toBe("2026-10-25T00:30:00.000Z");
    expect(iso(Date.parse("2026-10-25T00:30:00Z"))).toBe("2026-10-26T01:30:00.000Z");
    // Also for a daemon that is started when it has been half past two once.
    expect(iso(Date.parse("2026-10-25T01:10:00Z"))).toBe("2026-10-26T01:30:00.000Z");
  });

  test("on a leap day is due in four years", () => {
    expect(nextDueMs("0 0 29 2 *", "UTC", Date.UTC(2024, 1, 29))).toBe(Date.UTC(2028, 1, 29));
  });

  test("with both kinds of day is due on either, as in every cron", () => {
    expect(
      dueTimes("0 0 13 * 5", "UTC", Date.UTC(2026, 0, 1), Date.UTC(2026, 0, 17)).map((ms) => new Date(ms).getUTCDate()),
    ).toEqual([2, 9, 13, 16]);
  });

  test("of another dialect is refused in words of its own", () => {
    expect(cronProblem("0 0 L * *")).toBe('"L" is no day of the month from 1 to 31');
    expect(cronProblem("0 0 * * 5#2")).toBe('"5#2" is no day of the week from 0 to 7');
    expect(cronProblem("0 0 1W * *")).toBe('"1W" is no day of the month from 1 to 31');
    expect(cronProblem("0 0 * foo *")).toBe('"foo" is no month from 1 to 12');
  });
});
