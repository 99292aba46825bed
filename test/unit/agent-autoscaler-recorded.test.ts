/**
 * The autoscaler's rules on windows that real runs of the programs recorded over shaped links (test/fixtures/links). Recorded is
 * what an agent measured, the noise of a busy machine included; scripts/record-links.ts makes them again.
 */
import { readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "bun:test";
import { type RecordedLink, readLink, replay } from "#test/support/recorded-link.ts";

const NAMES = readdirSync(path.join(import.meta.dir, "../fixtures/links")).map((file) => path.basename(file, ".json"));

/** Seconds from the beginning until so many streams were concluded; infinite when they never were. */
function reachedSeconds({ windows }: RecordedLink, streams: number): number {
  let ms = 0;
  for (const { sample, next } of windows) {
    ms += sample.durationMs;
    if (next >= streams) return ms / 1000;
  }
  return Number.POSITIVE_INFINITY;
}

/** Of the windows that begin in that part of the recording. */
function between(link: RecordedLink, fromSeconds: number, toSeconds: number): RecordedLink["windows"] {
  let ms = 0;
  return link.windows.filter(({ sample }) => {
    const atSeconds = ms / 1000;
    ms += sample.durationMs;
    return atSeconds >= fromSeconds && atSeconds < toSeconds;
  });
}

const mostOf = (windows: RecordedLink["windows"]): number => Math.max(...windows.map(({ next }) => next));
const leastOf = (windows: RecordedLink["windows"]): number => Math.min(...windows.map(({ next }) => next));

function bytesPerSecond(windows: RecordedLink["windows"]): number {
  const [bytes, ms] = windows.reduce(
    ([b, t], { sample }) => [b + sample.acknowledgedBytes, t + sample.durationMs],
    [0, 0],
  );
  return (bytes * 1000) / ms;
}

describe.each(NAMES)("%s", (name) => {
  const link = readLink(name);

  test("is judged today as it was when it was recorded", () => {
    expect(replay(link, link.mode)).toEqual(link.windows.map(({ next }) => next));
  });

  test("keeps either mode within 1 and its maximum, and no window at more than twice the streams of the one before", () => {
    for (const mode of ["efficiency", "adaptive"] as const) {
      const decided = replay(link, mode);
      expect(leastOf(link.windows)).toBeGreaterThanOrEqual(1);
      decided.forEach((streams, i) => {
        expect(streams).toBeGreaterThanOrEqual(1);
        expect(streams).toBeLessThanOrEqual(Math.min(link.max, 2 * (link.windows[i]?.active ?? 1)));
      });
    }
  });
});

describe("up", () => {
  test.each(["efficiency", "adaptive"])(
    "%s has all of 16 slow flows within 20 s, keeps them, and they carry nine tenths or more",
    (mode) => {
      const link = readLink(`sixteen-flows-${mode}`);
      expect(reachedSeconds(link, 16)).toBeLessThan(20);
      const settled = between(link, 22, 60);
      expect(leastOf(settled)).toBe(16);
      expect(bytesPerSecond(settled)).toBeGreaterThan(0.9 * 16 * 2 * 2 ** 20);
    },
  );

  test("efficiency goes beyond 20 streams where 40 slow flows are needed, and keeps them", () => {
    const link = readLink("forty-flows-efficiency");
    expect(reachedSeconds(link, 40)).toBeLessThan(30);
    const settled = between(link, 30, 60);
    expect(leastOf(settled)).toBe(40);
    expect(bytesPerSecond(settled)).toBeGreaterThan(0.9 * 40 * 2 ** 19);
  });
});

test.each(["efficiency", "adaptive"])(
  "%s grows also where the rate of each connection changes all the time",
  (mode) => {
    const link = readLink(`jittery-flows-${mode}`);
    expect(reachedSeconds(link, link.max)).toBeLessThan(20);
    expect(leastOf(between(link, 22, 60))).toBeGreaterThan(link.max / 2);
  },
);

describe("down, and no further up than there is something to be had", () => {
  test.each(["efficiency", "adaptive"])("%s has one or two streams on a line that one can fill", (mode) => {
    const link = readLink(`shared-line-${mode}`);
    expect(mostOf(link.windows)).toBeLessThanOrEqual(2);
    // A trial lasts three windows, and there is one in half a minute.
    const tried = link.windows.filter(({ next }) => next > 1).length;
    expect(tried).toBeLessThanOrEqual(3 * Math.ceil(link.windows.length / 30));
    expect(bytesPerSecond(between(link, 2, 60))).toBeGreaterThan(0.9 * 12 * 2 ** 20);
  });

  test.each(["efficiency", "adaptive"])(
    "%s stops where six flows fill the line: 32 are tried at most and not kept",
    (mode) => {
      const link = readLink(`shared-flows-${mode}`);
      expect(reachedSeconds(link, 6)).toBeLessThan(20);
      const settled = between(link, 25, 60);
      expect(mostOf(settled)).toBeLessThanOrEqual(17);
      expect(bytesPerSecond(settled)).toBeGreaterThan(0.9 * 12 * 2 ** 20);
    },
  );

  test("efficiency gives streams up one after the other when each carries enough, and takes them back when it does not", () => {
    const link = readLink("up-down-up-efficiency");
    const fast = between(link, 28, 50);
    expect(mostOf(between(link, 0, 25))).toBeGreaterThanOrEqual(8);
    expect(leastOf(fast)).toBeLessThanOrEqual(3);
    for (const { active, next } of fast) expect(active - next).toBeLessThanOrEqual(1);
    expect(mostOf(between(link, 52, 90))).toBeGreaterThanOrEqual(8);
  });
});
