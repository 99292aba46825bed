/** The autoscaler's rules on synthetic links and on samples that were recorded. */
import { describe, expect, test } from "bun:test";
import { MiB } from "#base/units.ts";
import {
  producedRate,
  drainRate,
  SCALE_START,
  type ScaleSample,
  type ScaleState,
  type ScaleStep,
  windowIsFull,
} from "#agent/autoscaler.ts";
import { adaptiveStep } from "#agent/autoscaler-adaptive.ts";
import { efficiencyStep } from "#agent/autoscaler-efficiency.ts";
import { type ScaleLink, ScaleModel } from "#test/support/scale-model.ts";

const MODES: readonly (readonly [string, ScaleStep])[] = [
  ["efficiency", efficiencyStep],
  ["adaptive", adaptiveStep],
];
const fast = (): number => 400 * MiB;
const FLOWS_OF_2MB: ScaleLink = { produces: fast, perFlow: 2 * MiB };

describe.each(MODES)("%s", (_, step) => {
  test("reaches all of 16 flows of 2 MB/s within 20 s, and stays there", () => {
    const model = new ScaleModel(FLOWS_OF_2MB, step, 16).run(20_000);
    expect(model.active).toBe(16);
    const before = model.ackedBytes;
    model.run(40_000);
    expect((model.ackedBytes - before) / 40).toBeGreaterThan(0.9 * 16 * 2 * MiB);
    expect(model.mostActive(30)).toBe(16);
  });

  test("reaches them 300 ms away within a minute with chunks of 4 MB, and within a minute and a half with 16 MB", () => {
    const link = { ...FLOWS_OF_2MB, windowBytes: 1024 * MiB, setupMs: 1200, ackMs: 350 };
    expect(new ScaleModel({ ...link, chunkBytes: 4 * MiB }, step, 16).run(60_000).active).toBe(16);
    expect(new ScaleModel({ ...link, chunkBytes: 16 * MiB }, step, 16).run(90_000).active).toBe(16);
  });

  test("goes on beyond 20 streams, up to 255", () => {
    const link = { produces: () => 2000 * MiB, perFlow: 2 * MiB, windowBytes: 1024 * MiB };
    expect(new ScaleModel(link, step, 40).run(60_000).active).toBe(40);
    expect(new ScaleModel(link, step, 255).run(60_000).active).toBe(255);
  });

  test("stays at one or two streams when the producer is what limits", () => {
    const model = new ScaleModel({ produces: () => 50 * MiB, perFlow: 500 * MiB }, step, 16).run(600_000);
    expect(model.mostActive()).toBeLessThanOrEqual(2);
    expect(model.ackedBytes).toBeGreaterThan(0.98 * 600 * 50 * MiB);
  });

  test("does not pile up streams where all share one line: one more is no gain, and then it is left alone for half a minute", () => {
    const model = new ScaleModel({ produces: fast, perFlow: 100 * MiB, shared: 100 * MiB }, step, 16).run(300_000);
    expect(model.mostActive()).toBeLessThanOrEqual(2);
    const trials = model.windows.filter(({ active }, i) => active > (model.windows[i - 1]?.active ?? 1)).length;
    expect(trials).toBeLessThanOrEqual(300 / 30);
    expect(model.ackedBytes).toBeGreaterThan(0.95 * 300 * 100 * MiB);
  });

  test("does not double beyond the number of streams that fill a shared line", () => {
    const model = new ScaleModel({ produces: fast, perFlow: 2 * MiB, shared: 20 * MiB }, step, 64).run(120_000);
    // Ten are enough; sixteen came by doubling, and one more now and then by chance.
    expect(model.mostActive(20)).toBeLessThan(24);
    expect(model.active).toBeGreaterThanOrEqual(10);
  });

  test("does not grow against the bandwidth limit", () => {
    const model = new ScaleModel({ produces: fast, perFlow: 100 * MiB, limit: 10 * MiB }, step, 16).run(120_000);
    expect(model.mostActive()).toBe(1);
  });

  test("does not grow while the server's disk stands still", () => {
    // Half of the time; each window has some of it.
    const link = { produces: fast, perFlow: 100 * MiB, stalled: (atMs: number): boolean => atMs % 1000 < 500 };
    expect(new ScaleModel(link, step, 16).run(120_000).mostActive()).toBe(1);
  });

  test("grows for bursts that one stream cannot carry, and not for those that it can", () => {
    const bursts = (atMs: number): number => (atMs % 20_000 < 4000 ? 60 * MiB : 0);
    const slow = new ScaleModel({ produces: bursts, perFlow: 2 * MiB }, step, 16).run(120_000);
    expect(slow.mostActive()).toBe(16);
    const quick = new ScaleModel({ produces: bursts, perFlow: 200 * MiB }, step, 16).run(120_000);
    expect(quick.mostActive()).toBeLessThanOrEqual(2);
  });

  test("never leaves 1 to max, whatever the samples say", () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      let x = seed * 7919;
      const any = (most: number): number => {
        x = (x * 1103515245 + 12345) % 2147483648;
        return (x / 2147483648) * most;
      };
      const max = 1 + Math.floor(any(255));
      let state: ScaleState = SCALE_START;
      for (let i = 0; i < 100; i += 1) {
        state = step(state, sampleOf({ ...randomFields(any), stalled: any(1) < 0.1 }), max);
        expect(state.active).toBeGreaterThanOrEqual(1);
        expect(state.active).toBeLessThanOrEqual(max);
      }
    }
  });
});

test("efficiency takes streams away after three windows with much less to send than they can take", () => {
  let produces = 400 * MiB;
  const model = new ScaleModel(
    { produces: () => produces, perFlow: 2 * MiB, windowBytes: 64 * MiB },
    efficiencyStep,
    16,
  );
  model.run(30_000);
  expect(model.active).toBe(16);
  produces = 4 * MiB;
  model.run(120_000);
  // Two flows are needed, and 0.7 of what the streams can take is not much less.
  expect(model.active).toBeLessThanOrEqual(4);
  expect(model.active).toBeGreaterThanOrEqual(2);
  produces = 400 * MiB;
  expect(model.run(60_000).active).toBe(16);
});

test("the rates are produced bytes per time not blocked, and acknowledged bytes per summed busy time times the streams", () => {
  const sample = sampleOf({
    producedBytes: 30_000,
    waitingBytes: 10_000,
    blockedMs: 600,
    acknowledgedBytes: 8000,
    busyMs: 1600,
  });
  expect(producedRate(sample)).toBe(100);
  expect(drainRate(sample, 4)).toBe(20);
  expect(producedRate(sampleOf({ blockedMs: 1000 }))).toBe(Number.POSITIVE_INFINITY);
  expect(drainRate(sampleOf({ busyMs: 0 }), 4)).toBe(Number.POSITIVE_INFINITY);
});

test("a window lasts a second, or until some chunks of busy streams were acknowledged", () => {
  expect(windowIsFull(sampleOf({ durationMs: 999 }), 1)).toBe(false);
  expect(windowIsFull(sampleOf({ durationMs: 1000, busyMs: 1000, acknowledgedChunks: 1 }), 1)).toBe(true);
  expect(windowIsFull(sampleOf({ durationMs: 5000, busyMs: 20_000, acknowledgedChunks: 3 }), 4)).toBe(false);
  expect(windowIsFull(sampleOf({ durationMs: 5000, busyMs: 20_000, acknowledgedChunks: 4 }), 4)).toBe(true);
  expect(windowIsFull(sampleOf({ durationMs: 16_000, busyMs: 64_000, acknowledgedChunks: 0 }), 4)).toBe(true);
  expect(windowIsFull(sampleOf({ durationMs: 1000, busyMs: 0, acknowledgedChunks: 0 }), 4)).toBe(true);
});

function sampleOf(fields: Partial<ScaleSample>): ScaleSample {
  return {
    ...{
      durationMs: 1000,
      producedBytes: 0,
      waitingBytes: 0,
      blockedMs: 0,
      acknowledgedBytes: 0,
      acknowledgedChunks: 4,
    },
    ...{ busyMs: 1000, heldMs: 0, stalled: false, up: 1 },
    ...fields,
  };
}

function randomFields(any: (most: number) => number): Partial<ScaleSample> {
  return {
    ...{ producedBytes: any(1e8), waitingBytes: any(1e8), blockedMs: any(1000), acknowledgedBytes: any(1e8) },
    ...{ busyMs: any(4000), heldMs: any(40), up: Math.floor(any(3)) },
  };
}
