import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Format, makeFormat, roughDuration } from "#ui/format.ts";
import { fill } from "#ui/texts-fill.ts";
import { EN } from "#ui/texts-en.ts";
import { PT } from "#ui/texts-pt.ts";

const en = makeFormat("en", "en-GB");
const pt = makeFormat("pt", "pt-BR");
const NOW = Date.UTC(2026, 1, 12, 14, 30, 0);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe("numbers of the page", () => {
  test("sizes have three digits, powers of 1024 and the units of the configuration file, in the language's writing", () => {
    const sizes = [0, 999, 1024, 1536, 10 * 1024 ** 2, 1.42 * 1024 ** 3, 999.6 * 1024 ** 3, 5e15];
    expect(sizes.map(en.bytes)).toEqual([
      "0 B",
      "999 B",
      "1.00 kB",
      "1.50 kB",
      "10.0 MB",
      "1.42 GB",
      "0.98 TB",
      "4.44 PB",
    ]);
    expect(pt.bytes(1.42 * 1024 ** 3)).toBe("1,42 GB");
    expect(en.bytes(-2048)).toBe("-2.00 kB");
  });
  test("what is not known is a dash, never 0", () => {
    const { bytes, rate, duration, count, percent }: Format = en;
    expect([bytes, rate, duration, count, percent].map((show) => show(null))).toEqual(
      Array.from({ length: 5 }, () => "–"),
    );
  });
  test("rates, counts and percents follow the language", () => {
    expect([en.rate(2048), en.count(1_234_567), en.percent(0.4567), en.percent(0.0123)]).toEqual([
      "2.00 kB/s",
      "1,234,567",
      "46 %",
      "1.2 %",
    ]);
    expect([pt.rate(2048), pt.count(1_234_567), pt.percent(0.0123)]).toEqual(["2,00 kB/s", "1.234.567", "1,2 %"]);
  });
  test("100 % is all, and nothing less is", () => {
    expect([0.9949, 0.995, 0.9999, 1].map(en.percent)).toEqual(["99.4 %", "99.5 %", "99.9 %", "100 %"]);
    expect(pt.percent(0.9999)).toBe("99,9 %");
  });
  test("an axis has no digits that say nothing", () => {
    expect([0, 50 * 1024 ** 2, 1024 ** 4, 1.5 * 1024 ** 3].map(en.roundBytes)).toEqual([
      "0 B",
      "50 MB",
      "1 TB",
      "1.50 GB",
    ]);
  });
  test("milliseconds have a tenth only where it can be seen", () => {
    expect([en.millis(4.04), en.millis(9.96), en.millis(41.4), en.millis(null)]).toEqual([
      "4.0 ms",
      "10 ms",
      "41 ms",
      "–",
    ]);
    expect([pt.millis(4.04), pt.decimal(1.125, 2)]).toEqual(["4,0 ms", "1,13"]);
  });
  test("durations show two units, ages one", () => {
    const durations = [850, 12_000, 187_000, HOUR + 120_000, 3 * DAY + 4 * HOUR];
    expect(durations.map(en.duration)).toEqual(["850 ms", "12 s", "3 min 07 s", "1 h 02 min", "3 d 04 h"]);
    expect(durations.map((ms) => roughDuration(ms, "en"))).toEqual(["0 s", "12 s", "3 min", "1 h", "3 d"]);
    expect(roughDuration(900 * DAY, "pt")).toBe("2 anos");
  });
  test("an age says ago or in, in both languages", () => {
    expect([en.age(200), en.age(180_000), en.age(-2 * HOUR)]).toEqual(["now", "3 min ago", "in 2 h"]);
    expect([pt.age(200), pt.age(180_000), pt.age(-2 * HOUR)]).toEqual(["agora", "há 3 min", "em 2 h"]);
  });
});

/** The viewer's zone is that of the process. */
function inZone(zone: string, tests: () => void): void {
  describe(zone, () => {
    const before = process.env["TZ"];
    beforeAll(() => {
      process.env["TZ"] = zone;
    });
    afterAll(() => {
      process.env["TZ"] = before ?? "UTC";
    });
    tests();
  });
}

describe("times of the page", () => {
  inZone("UTC", () => {
    test("leave out what is clear", () => {
      expect(en.time(NOW - HOUR, NOW)).toBe("13:30");
      expect(en.time(NOW - 3 * DAY, NOW)).toBe("09 Feb, 14:30");
      expect(en.time(NOW - 300 * DAY, NOW)).toBe("18 Apr 2025");
      expect([en.moment(NOW, NOW), en.moment(NOW - 3 * DAY, NOW)]).toEqual(["14:30:00", "09 Feb, 14:30:00"]);
    });
    test("the same day of another month or year is not today", () => {
      expect(en.time(Date.UTC(2026, 0, 12, 14, 30), NOW)).toBe("12 Jan, 14:30");
      expect(en.time(Date.UTC(2025, 1, 12, 14, 30), NOW)).toBe("12 Feb 2025");
      expect(en.time(Date.UTC(2026, 1, 12, 0, 0), NOW)).toBe("00:00");
    });
    test("on an axis are as exact as its span", () => {
      const spans = [10 * 60_000, DAY, 30 * DAY, 500 * DAY];
      expect(spans.map((span) => en.tick(NOW, span))).toEqual(["14:30:00", "14:30", "12 Feb", "12 Feb 2026"]);
    });
    test("in full name the zone", () => {
      expect(en.fullTime(NOW)).toMatch(/Thursday.*12 February 2026.*14:30:00 UTC/);
    });
  });

  inZone("America/Sao_Paulo", () => {
    test("are in the viewer's zone, and today is the viewer's day", () => {
      expect(pt.time(NOW - HOUR, NOW)).toBe("10:30");
      expect(pt.time(NOW - 3 * DAY, NOW)).toBe("09 fev, 11:30");
      expect(pt.time(NOW - 300 * DAY, NOW)).toBe("18 abr 2025");
      const justBefore = Date.UTC(2026, 1, 13, 1, 0, 0);
      expect(pt.time(justBefore - HOUR, justBefore)).toBe("21:00");
      expect(en.time(justBefore - 23 * HOUR, justBefore)).toBe("11 Feb, 23:00");
    });
    test("in full name the zone", () => {
      expect(pt.fullTime(NOW)).toMatch(/11:30:00.*(BRT|GMT-3)/);
    });
  });

  test("months are those of Intl in both languages", () => {
    const months = (language: "en" | "pt", locale: string): string[] =>
      Array.from({ length: 12 }, (_, month) => {
        const wallMs = Date.UTC(2026, month, 15, 12);
        const short = new Intl.DateTimeFormat(locale, { month: "short" }).format(wallMs).replace(".", "").slice(0, 3);
        return makeFormat(language, locale).tick(wallMs, 30 * DAY) === `15 ${short}` ? "" : short;
      });
    expect([...months("en", "en-US"), ...months("pt", "pt-BR")].filter((month) => month !== "")).toEqual([]);
  });
});

describe("texts of the page", () => {
  test("have the same values in both languages", () => {
    const values = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "").sort();
    const keys = Object.keys(EN) as (keyof typeof EN)[];
    expect(keys.filter((key) => values(EN[key]).join() !== values(PT[key]).join())).toEqual([]);
    expect(Object.keys(PT).sort()).toEqual(keys.sort());
  });
  test("put values in and leave what nobody gave to be seen", () => {
    expect(fill("{n} of {total}", { n: 2 })).toBe("2 of {total}");
  });
  test("every plural has both forms", () => {
    const ones = Object.keys(EN).filter((key) => key.endsWith(".one"));
    expect(ones.length).toBeGreaterThan(5);
    expect(ones.filter((key) => !Object.hasOwn(EN, key.replace(/one$/, "other")))).toEqual([]);
  });
});
