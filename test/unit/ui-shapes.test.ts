import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  columns,
  columnsThatFit,
  extremes,
  phaseBars,
  phaseTotals,
  rangeIsStale,
  rowsOnScreen,
  sparkPath,
  withPoint,
} from "#ui/shapes.ts";
import { seriesPoint } from "#test/support/page-session-fixtures.ts";

describe("a long table", () => {
  test("draws every row that is on the screen and not many more, wherever it is scrolled", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -500_000, max: 2_000 }),
        fc.nat(20_000),
        fc.integer({ min: 20, max: 70 }),
        (top, count, rowPx) => {
          const screen = 900;
          const { first, end } = rowsOnScreen(top, screen, rowPx, count);
          expect(first).toBeGreaterThanOrEqual(0);
          expect(end).toBeLessThanOrEqual(count);
          expect(end - first).toBeLessThanOrEqual(screen / rowPx + 23);
          for (let y = 0; y < screen; y += rowPx / 2) {
            const row = Math.floor((y - top) / rowPx);
            if (row >= 0 && row < count && top <= y) expect(row >= first && row < end).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
  test("is drawn again before an edge of what is drawn can be seen", () => {
    const drawn = { first: 100, end: 145 };
    expect(rangeIsStale(drawn, { first: 102, end: 147 })).toBe(false);
    expect(rangeIsStale(drawn, { first: 106, end: 151 })).toBe(true);
    expect(rangeIsStale(drawn, { first: 94, end: 139 })).toBe(true);
    expect(rangeIsStale({ first: 4, end: 40 }, { first: 0, end: 36 })).toBe(true);
  });
});

describe("a sparkline", () => {
  test("goes from the left to the right edge, the highest value at the top and 0 at the bottom", () => {
    expect(sparkPath([0, 10, 5], 100, 20)).toBe("M0 20L50 0L100 10");
    expect(sparkPath([5, 10], 100, 20, true)).toBe("M0 20L100 0");
  });
  test("of one value or none is not drawn, and of equal ones is a line", () => {
    expect([sparkPath([], 100, 20), sparkPath([3], 100, 20)]).toEqual(["", ""]);
    expect(sparkPath([0, 0], 100, 20)).toBe("M0 10L100 10");
  });
});

describe("a series", () => {
  const series = Array.from({ length: 600 }, (_, i) => seriesPoint(i, i * 1000));
  test("takes a new point once, and not an older one", () => {
    const next = seriesPoint(1, 600_000);
    const more = withPoint(series.slice(0, 10), next, 600);
    expect(more).toHaveLength(11);
    expect(withPoint(more, next, 600)).toBe(more);
  });
  test("that is full keeps its newer half as it is and loses of the older half every second point", () => {
    const more = withPoint(series, seriesPoint(0, 600_000), 600);
    expect(more).toHaveLength(451);
    expect(more.slice(-301, -1)).toEqual(series.slice(300));
  });
  test("becomes columns in seconds, and is said in words", () => {
    expect(
      columns(
        [
          { at: 2000, v: 7 },
          { at: 3000, v: null },
        ],
        (p) => p.at,
        (p) => p.v,
      ),
    ).toEqual([
      [2, 3],
      [7, null],
    ]);
    expect(extremes([3, null, 9, 5])).toEqual({ low: 3, high: 9, last: 5 });
    expect(extremes([null])).toBeUndefined();
  });
});

describe("phases", () => {
  test("fill the line from the first to the last, and the last of a running session goes on until now", () => {
    const bars = phaseBars(
      [
        { phase: "receiving", startWallMs: 1000, endWallMs: 4000 },
        { phase: "hashing", startWallMs: 4000, endWallMs: null },
      ],
      5000,
    );
    expect(bars.map(({ left, width, running }) => [left, width, running])).toEqual([
      [0, 0.75, false],
      [0.75, 0.25, true],
    ]);
    expect(phaseBars([], 0)).toEqual([]);
  });
});

describe("the columns of a table", () => {
  const all = [
    { key: "name", width: "minmax(10rem, 2fr)" },
    { key: "size", width: "5rem", drop: 1 },
    { key: "trend", width: "6rem", drop: 3 },
    { key: "next", width: "8.5rem", drop: 2 },
  ];
  const shown = (widthPx: number): string =>
    columnsThatFit(all, widthPx, { remPx: 10, gapPx: 4 })
      .map(({ key }) => key)
      .join(" ");
  test("go one by one where there is no room, the least needed first, and the one that is needed never", () => {
    expect(shown(311)).toBe("name size trend next");
    expect(shown(310)).toBe("name size next");
    expect(shown(247)).toBe("name size next");
    expect(shown(246)).toBe("name size");
    expect(shown(10)).toBe("name");
  });
  test("are the same array while all fit", () => {
    expect(columnsThatFit(all, 2000, { remPx: 10, gapPx: 4 })).toBe(all);
  });
});

describe("the phases of a session that broke often", () => {
  test("are counted, each once", () => {
    const at = (phase: string, startWallMs: number, endWallMs: number | null) => ({ phase, startWallMs, endWallMs });
    const bars = phaseBars([at("receiving", 0, 10), at("parked", 10, 15), at("receiving", 15, null)], 40);
    expect(phaseTotals(bars)).toEqual([
      { phase: "receiving", durationMs: 35, count: 2, running: true },
      { phase: "parked", durationMs: 5, count: 1, running: false },
    ]);
  });
});
