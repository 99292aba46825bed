/** Bandwidth timetables: which limit counts when, and that a session that runs is held to it. */
import { describe, expect, test } from "bun:test";
import { Bandwidth } from "#agent/bandwidth.ts";
import { type BandwidthRule, limitAt, limitInForce, lowestLimit } from "#agent/bandwidth-timetable.ts";
import { Throttle } from "#agent/throttle.ts";
import { KiB, MiB } from "#base/units.ts";
import type { BandwidthWindow } from "#config/types.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const BERLIN = "Europe/Berlin";
const EVERY_DAY = [0, 1, 2, 3, 4, 5, 6];

function window(from: string, to: string, bytesPerSecond: number, days = EVERY_DAY): BandwidthWindow {
  const minute = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
  return { fromMinute: minute(from), toMinute: minute(to), bytesPerSecond, days };
}

function rule(windows: readonly BandwidthWindow[], zone = BERLIN): BandwidthRule {
  return { bytesPerSecond: undefined, windows, zone };
}

const at = (text: string): number => Date.parse(text);
const until = (of: BandwidthRule, text: string): [number | undefined, string] => {
  const { bytesPerSecond, untilMs } = limitInForce(of, at(text));
  return [bytesPerSecond, untilMs === undefined ? "never" : new Date(untilMs).toISOString().slice(0, 16)];
};

describe("the limit in force", () => {
  test("is that of the window of the clock on the wall, and none outside", () => {
    const day = rule([window("08:00", "18:00", 2 * MiB)]);
    expect(until(day, "2026-06-10T05:59:59Z")).toEqual([undefined, "2026-06-10T06:00"]);
    expect(until(day, "2026-06-10T06:00:00Z")).toEqual([2 * MiB, "2026-06-10T16:00"]);
    expect(until(day, "2026-06-10T16:00:00Z")).toEqual([undefined, "2026-06-11T06:00"]);
  });

  test("goes on over midnight, and days are those on which a window begins", () => {
    const night = rule([window("22:00", "06:00", MiB, [5])]);
    expect(until(night, "2026-06-12T21:00:00Z")).toEqual([MiB, "2026-06-13T04:00"]);
    expect(until(night, "2026-06-13T03:59:00Z")).toEqual([MiB, "2026-06-13T04:00"]);
    expect(until(night, "2026-06-13T21:00:00Z")).toEqual([undefined, "2026-06-19T20:00"]);
    const saturday = rule([window("22:00", "06:00", MiB, [6])]);
    expect(until(saturday, "2026-06-14T03:00:00Z")).toEqual([MiB, "2026-06-14T04:00"]);
  });

  test("changes where one window follows another, and not where they are alike", () => {
    const two = rule([window("08:00", "18:00", MiB), window("18:00", "08:00", 2 * MiB)]);
    expect(until(two, "2026-06-10T06:00:00Z")).toEqual([MiB, "2026-06-10T16:00"]);
    expect(until(two, "2026-06-10T16:00:00Z")).toEqual([2 * MiB, "2026-06-11T06:00"]);
    expect(until(rule([window("00:00", "24:00", MiB)]), "2026-06-10T06:00:00Z")).toEqual([MiB, "never"]);
    expect(until({ ...rule([]), bytesPerSecond: MiB }, "2026-06-10T06:00:00Z")).toEqual([MiB, "never"]);
  });

  test("follows the clock where it is put forward and back", () => {
    const skipped = rule([window("02:15", "03:30", MiB)]);
    expect(until(skipped, "2026-03-29T00:30:00Z")).toEqual([undefined, "2026-03-29T01:00"]);
    expect(until(skipped, "2026-03-29T01:00:00Z")).toEqual([MiB, "2026-03-29T01:30"]);
    const twice = rule([window("01:00", "02:30", MiB)]);
    expect(until(twice, "2026-10-25T00:00:00Z")).toEqual([MiB, "2026-10-25T00:30"]);
    // Half past two is over, and at three it is two again.
    expect(until(twice, "2026-10-25T00:30:00Z")).toEqual([undefined, "2026-10-25T01:00"]);
    expect(until(twice, "2026-10-25T01:00:00Z")).toEqual([MiB, "2026-10-25T01:30"]);
  });

  test("is the same as minute by minute, over the changes of the clocks, in any zone", () => {
    const windows = [
      window("23:30", "01:10", MiB, [0, 3, 6]),
      window("02:20", "02:50", 2 * MiB),
      window("12:00", "12:01", KiB),
    ];
    for (const zone of [BERLIN, "America/Nuuk", "Africa/Cairo", "Australia/Lord_Howe", "America/Havana"]) {
      for (const from of [
        "2026-03-07T00:00Z",
        "2026-03-27T00:00Z",
        "2026-04-03T00:00Z",
        "2026-10-23T00:00Z",
        "2026-10-31T00:00Z",
      ]) {
        const of = rule(windows, zone);
        let next = limitInForce(of, at(from)).untilMs ?? 0;
        let before = limitAt(of, at(from));
        for (let ms = at(from) + MINUTE_MS; ms < at(from) + 3 * 24 * HOUR_MS; ms += MINUTE_MS) {
          const now = limitAt(of, ms);
          if (now === before) continue;
          expect([zone, new Date(ms).toISOString()]).toEqual([zone, new Date(next).toISOString()]);
          next = limitInForce(of, ms).untilMs ?? 0;
          before = now;
        }
      }
    }
  });

  test("the lowest of a timetable is what streams are counted by", () => {
    expect(lowestLimit(rule([window("08:00", "18:00", MiB), window("18:00", "19:00", KiB)]))).toBe(KiB);
    expect(lowestLimit({ bytesPerSecond: 5, windows: [] })).toBe(5);
    expect(lowestLimit({ bytesPerSecond: undefined, windows: [] })).toBeUndefined();
  });
});

/** Sends as fast as it may, as a stream whose socket takes everything. */
function eager(throttle: Throttle): { bytes: number } {
  const sent = { bytes: 0 };
  const wake = (): void => {
    for (let pieces = 0; pieces < 1_000; pieces += 1) {
      const piece = throttle.pieceBytesMax;
      if (!throttle.take(piece, wake)) return;
      sent.bytes += piece;
    }
  };
  wake();
  return sent;
}

describe("a session that runs", () => {
  function running(of: BandwidthRule, wall: string) {
    const clock = new SimClock(at(wall));
    const log = memoryLogger();
    const bandwidth = new Bandwidth({ clock, log, backup: "home" }, of);
    const throttle = new Throttle(clock, bandwidth.bytesPerSecond);
    bandwidth.hold(throttle);
    return { clock, log, bandwidth, throttle, sent: eager(throttle) };
  }

  test("is held to each window's limit from its first second, and the log says so", async () => {
    const { clock, sent, log } = running(
      rule([window("08:00", "09:00", MiB), window("09:00", "10:00", 4 * MiB)]),
      "2026-06-10T06:59:50Z",
    );
    await clock.advance(10_000);
    expect(sent.bytes / (10 * MiB)).toBeWithin(0.97, 1.03);
    const before = sent.bytes;
    await clock.advance(10_000);
    expect((sent.bytes - before) / (40 * MiB)).toBeWithin(0.97, 1.03);
    expect(
      log.lines.filter(({ message }) => message.includes("bandwidth limit changed")).map(({ fields }) => fields),
    ).toEqual([{ backup: "home", bytesPerSecond: 4 * MiB, until: "2026-06-10T08:00:00.000Z" }]);
  });

  test("follows a clock that is changed, within a minute", async () => {
    const { clock, throttle } = running(rule([window("08:00", "18:00", MiB)]), "2026-06-10T06:00:00Z");
    expect(throttle.bytesPerSecond).toBe(MiB);
    clock.jumpWall(12 * HOUR_MS);
    await clock.advance(MINUTE_MS);
    expect(throttle.bytesPerSecond).toBeUndefined();
    clock.jumpWall(-12 * HOUR_MS);
    await clock.advance(MINUTE_MS);
    expect(throttle.bytesPerSecond).toBe(MiB);
  });

  test("takes a limit that is set, changed and removed while it runs, and who waits at a low one goes on", async () => {
    const always = (bytesPerSecond: number | undefined): BandwidthRule => ({ ...rule([]), bytesPerSecond });
    const { clock, throttle, bandwidth, sent } = running(always(64 * KiB), "2026-06-10T06:00:00Z");
    await clock.advance(10_000);
    expect(sent.bytes / (640 * KiB)).toBeWithin(0.97, 1.03);
    let before = sent.bytes;
    bandwidth.use(always(10 * MiB));
    await clock.advance(10_000);
    expect((sent.bytes - before) / (100 * MiB)).toBeWithin(0.97, 1.03);
    bandwidth.use(always(64 * KiB));
    before = sent.bytes;
    await clock.advance(10_000);
    // What was saved up at the old limit is not sent at the new one.
    expect((sent.bytes - before) / (640 * KiB)).toBeWithin(0.97, 1.03);
    before = sent.bytes;
    bandwidth.use(always(undefined));
    await clock.advance(1);
    expect(sent.bytes - before).toBeGreaterThan(100 * MiB);
    bandwidth.use(always(MiB));
    expect(throttle.bytesPerSecond).toBe(MiB);
  });

  test("is told of no change once it is over, whatever the timetable says then", async () => {
    const { clock, throttle, log } = running(
      rule([window("08:00", "09:00", MiB), window("09:00", "10:00", 4 * MiB)]),
      "2026-06-10T06:59:50Z",
    );
    throttle.stop();
    await clock.advance(HOUR_MS);
    expect(log.lines).toEqual([]);
  });

  test("leaves no timer behind", async () => {
    const { clock, throttle, bandwidth } = running(rule([window("08:00", "18:00", MiB)]), "2026-06-10T06:00:00Z");
    bandwidth.release();
    throttle.stop();
    await clock.advance(24 * HOUR_MS);
    expect(clock.pendingCount).toBe(0);
  });
});
