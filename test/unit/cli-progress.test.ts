import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  barLine,
  COLUMNS_MIN,
  etaMs,
  fractionDone,
  plainLine,
  type ProgressPhase,
  type ProgressSnapshot,
} from "#cli/progress-line.ts";
import { NO_RATES, nextRates, type Rates } from "#cli/progress-rate.ts";
import { ProgressDisplay, type ProgressFigures } from "#cli/progress-display.ts";
import { columnsOf, cutEnd, cutStart, wrap } from "#cli/terminal-text.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const GB = 1024 ** 3;
const RUNNING: ProgressSnapshot = {
  phase: { kind: "sending" },
  elapsedMs: 187_400,
  entries: 52_310,
  entriesTotalEstimate: 124_000,
  rawBytes: 12.4 * GB,
  rawBytesTotalEstimate: 29.5 * GB,
  sentBytes: 5 * GB,
  ackedBytes: 4.5 * GB,
  rawBytesPerSecond: 118 * 1024 ** 2,
  entriesPerSecond: 1204.4,
  retries: 2,
  streams: 4,
  currentPath: Buffer.from("/srv/www/static/images/2026/02/picture-of-something.jpeg"),
};
const FIRST: ProgressSnapshot = {
  ...RUNNING,
  entriesTotalEstimate: undefined,
  rawBytesTotalEstimate: undefined,
  retries: 0,
  streams: 1,
};

describe("the progress bar", () => {
  test("says how many of the streams that there may be are up", () => {
    expect(barLine({ ...RUNNING, streamsMax: 16 }, 220)).toContain("  4/16 streams  ");
    expect(plainLine({ ...RUNNING, streams: 1, streamsMax: 16 })).toContain(", 1/16 streams, ");
    expect(plainLine({ ...RUNNING, streams: 1, streamsMax: 1 })).not.toContain("streams");
  });

  test("shows bar, bytes, rate, objects, elapsed, ETA and retries, and marks estimates", () => {
    expect(barLine(RUNNING, 220)).toBe(
      "[#######---------]  ~42%  12.4 GB of ~29.5 GB  118 MB/s  ETA ~2m 28s  3m 07s  52,310 objects  1,204 objects/s  2 retries  4 streams  (~ estimated)  /srv/www/static/images/2026/02/picture-of-something.jpeg",
    );
  });
  test("leaves out the less important on a narrow terminal, to the very last the bytes", () => {
    expect(barLine(RUNNING, 80)).toBe("[#######---------]  ~42%  12.4 GB of ~29.5 GB  118 MB/s  ETA ~2m 28s  3m 07s");
    expect(barLine(RUNNING, 40)).toBe("~42%  12.4 GB of ~29.5 GB  118 MB/s");
    expect(barLine(RUNNING, 20)).toBe("12.4 GB of ~29.5 GB");
  });
  test("of a first backup has neither bar nor ETA: nobody knows the total", () => {
    expect(barLine(FIRST, 100)).toStartWith("12.4 GB  118 MB/s  3m 07s  52,310 objects  1,204 objects/s  …");
    expect(barLine(FIRST, 100)).not.toContain("ETA");
  });
  const phases: readonly [ProgressPhase, string][] = [
    [{ kind: "connecting" }, "connecting  3m 07s"],
    [{ kind: "queued", position: 3 }, "waiting, number 3 in the queue  3m 07s"],
    [{ kind: "retrying", inMs: 4200 }, "trying again in 4s  3m 07s"],
    [{ kind: "draining" }, "[##############--]  90%  sending the last 512 MB  3m 07s"],
    [{ kind: "finishing", what: "hashing", done: 1, total: 4 }, "[####------------]  25%  hashing  3m 07s"],
    [{ kind: "finishing", what: "committing", done: 0, total: 0 }, "committing  3m 07s"],
  ];
  for (const [phase, expected] of phases) {
    test(`while ${phase.kind} says so: ${expected}`, () => {
      expect(barLine({ ...FIRST, phase, currentPath: new Uint8Array(0) }, 200)).toStartWith(expected);
    });
  }
  test("never reaches the last column, whatever it shows", () => {
    const path = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ unit: "grapheme", maxLength: 100 }).map((text) => Buffer.from(text)),
    );
    const number = fc.nat(2 ** 40);
    const phase = fc.constantFrom<ProgressPhase>(...phases.map(([kind]) => kind), { kind: "sending" });
    const snapshot = fc.record({
      phase,
      elapsedMs: number,
      entries: number,
      rawBytes: number,
      rawBytesTotalEstimate: fc.option(number, { nil: undefined }),
      sentBytes: number,
      ackedBytes: number,
      rawBytesPerSecond: number,
      entriesPerSecond: number,
      retries: number,
      streams: fc.nat(255),
      currentPath: path,
    });
    fc.assert(
      fc.property(snapshot, fc.integer({ min: COLUMNS_MIN, max: 300 }), (value, columns) => {
        const line = barLine(value, columns);
        expect(columnsOf(line)).toBeLessThan(columns);
        expect(line).not.toMatch(/\p{Cc}/u);
        expect(plainLine(value)).not.toMatch(/\p{Cc}/u);
      }),
      { numRuns: 500 },
    );
  });
});

describe("the plain line", () => {
  test("says everything in words", () => {
    expect(plainLine(RUNNING)).toBe(
      "sending, ~42% (estimated), 12.4 GB read, 5.00 GB compressed, 4.50 GB safe on the server, 118 MB/s, 52,310 objects, 1,204 objects/s, elapsed 3m 07s, ETA 2m 28s (estimated), 2 retries, 4 streams, at /srv/www/static/images/2026/02/picture-of-something.jpeg",
    );
  });
});

describe("estimates", () => {
  test("never claim the end before the end", () => {
    expect(fractionDone({ ...RUNNING, rawBytes: 40 * GB })).toBe(0.99);
    expect(etaMs({ ...RUNNING, rawBytes: 40 * GB })).toBeUndefined();
    expect(barLine({ ...RUNNING, rawBytes: 40 * GB }, 30)).toBe("~99%  40.0 GB  118 MB/s");
  });
  test("say nothing without a total, without a rate, or for more than a month", () => {
    expect(fractionDone(FIRST)).toBeUndefined();
    expect(etaMs(FIRST)).toBeUndefined();
    expect(etaMs({ ...RUNNING, rawBytesPerSecond: 0 })).toBeUndefined();
    expect(etaMs({ ...RUNNING, rawBytesPerSecond: 1 })).toBeUndefined();
  });
});

describe("rates", () => {
  const at = (seconds: number, megabytes: number): Parameters<typeof nextRates>[1] => ({
    elapsedMs: seconds * 1000,
    rawBytes: megabytes * 1e6,
    entries: megabytes,
  });
  test("of a steady run are its rate from the first look on", () => {
    let rates: Rates = NO_RATES;
    for (let second = 1; second <= 5; second += 1) {
      rates = nextRates(rates, at(second, second * 10));
      expect(rates.rawBytesPerSecond).toBeCloseTo(10e6);
      expect(rates.entriesPerSecond).toBeCloseTo(10);
    }
  });
  test("do not suffer from the time that connecting took, nor from a slow first moment", () => {
    let rates = NO_RATES;
    for (let second = 1; second <= 10; second += 1) rates = nextRates(rates, at(second, 0));
    rates = nextRates(rates, at(11, 100));
    expect(rates.rawBytesPerSecond).toBeCloseTo(100e6);
    let slow = nextRates(NO_RATES, at(1, 1));
    for (let second = 2; second <= 3; second += 1) slow = nextRates(slow, at(second, (second - 1) * 100));
    expect(slow.rawBytesPerSecond).toBeGreaterThan(200e6 / 3);
  });
  test("of a stalled run go towards zero within seconds", () => {
    let rates = nextRates(NO_RATES, at(1, 100));
    for (let second = 2; second <= 21; second += 1) rates = nextRates(rates, at(second, 100));
    expect(rates.rawBytesPerSecond).toBeLessThan(100e6 * 0.02);
  });
  test("begin anew when a session begins anew", () => {
    const rates = nextRates(nextRates(NO_RATES, at(10, 100)), at(11, 1));
    expect([rates.rawBytesPerSecond, rates.at.rawBytes]).toEqual([0, 1e6]);
  });
});

/** A display on a simulated clock; `figures` may be changed while it runs. */
function displayed(columns: (() => number) | undefined): {
  clock: SimClock;
  written: string[];
  figures: { now: Partial<ProgressFigures> };
  display: ProgressDisplay;
} {
  const clock = new SimClock();
  const written: string[] = [];
  const figures: { now: Partial<ProgressFigures> } = { now: {} };
  const display = new ProgressDisplay({
    clock,
    columns,
    write: (text) => written.push(text),
    figures: () => ({ ...RUNNING, rawBytes: 0, entries: 0, ...figures.now, elapsedMs: clock.now() }),
  });
  return { clock, written, figures, display };
}

describe("the display", () => {
  test("on a terminal redraws its line five times a second, follows its width, and leaves a clean line", () => {
    let columns = 60;
    const { clock, written, display } = displayed(() => columns);
    for (let i = 0; i < 5; i += 1) clock.step();
    columns = 30;
    clock.step();
    display.stop();
    display.stop();
    expect(clock.now()).toBe(1200);
    expect(written.length).toBe(8);
    expect(written.slice(0, 7).every((text) => text.startsWith("\r\u001b[K"))).toBe(true);
    expect(columnsOf((written[6] ?? "").slice(4))).toBeLessThan(30);
    expect(written[7]).toBe("\r\u001b[K");
    expect(clock.pendingCount).toBe(0);
  });
  test("on a terminal writes notes above the bar", () => {
    const { written, display } = displayed(() => 60);
    display.note("warning: something\n");
    expect(written.slice(1, 3)).toEqual(["\r\u001b[K", "warning: something\n"]);
    expect(written[3]).toStartWith("\r\u001b[K[----------------]  ~0%");
    display.stop();
  });
  test("elsewhere writes a line each 10 s, each 10 % and for each phase, and nothing else", () => {
    const { clock, written, figures, display } = displayed(undefined);
    const linesAfterSeconds = (seconds: number): number => {
      for (let i = 0; i < seconds; i += 1) clock.step();
      return written.length;
    };
    expect(linesAfterSeconds(9)).toBe(1);
    expect(linesAfterSeconds(1)).toBe(2);
    figures.now = { rawBytes: 3 * GB };
    expect(linesAfterSeconds(1)).toBe(3);
    figures.now = { rawBytes: 3 * GB, phase: { kind: "draining" } };
    expect(linesAfterSeconds(1)).toBe(4);
    expect(linesAfterSeconds(9)).toBe(4);
    display.stop();
    expect(written.every((text) => /^[^\n\r\u001b]+\n$/.test(text))).toBe(true);
    expect(clock.pendingCount).toBe(0);
  });
});

describe("text in columns", () => {
  test("is cut between characters, wide ones counted as two", () => {
    expect(cutEnd("日本語のファイル", 7)).toBe("日本語…");
    expect(cutStart("日本語のファイル", 8)).toBe("…ァイル");
    expect(cutStart("/a/e\u0301e\u0301", 3)).toBe("…e\u0301e\u0301");
    expect([cutEnd("abc", 3), cutEnd("abc", 1), cutEnd("abc", 0)]).toEqual(["abc", "…", ""]);
  });
  test("is wrapped at spaces", () => {
    expect(wrap("one two three", 7)).toEqual(["one two", "three"]);
    expect(wrap("overlong word", 4)).toEqual(["overlong", "word"]);
  });
});
