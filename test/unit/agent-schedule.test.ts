/** Schedules on a simulated clock: every run when its expression says, once, whatever happens to clock and daemon. */
import { describe, expect, test } from "bun:test";
import { ON_TIME_MS, startOf } from "#agent/schedule.ts";
import { naiveDueTimes } from "#test/support/naive-cron.ts";
import { type EntrySpec, ScheduleWorld } from "#test/support/schedule-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const BERLIN = "Europe/Berlin";

function iso(times: readonly number[]): string[] {
  return times.map((ms) => new Date(ms).toISOString().slice(0, 16));
}

/** Lets simulated time pass, all that happens in it included. */
function pass(clock: SimClock, ms: number): void {
  const endMs = clock.now() + ms;
  // Something is always due within a minute, so time does not stop short of the end by more.
  clock.after(ms, () => undefined);
  clock.run(() => clock.now() >= endMs, endMs);
}

function world(
  at: string,
  entries: Record<string, EntrySpec>,
  maxConcurrent = 1,
): { clock: SimClock; daemon: ScheduleWorld } {
  const clock = new SimClock(Date.parse(at));
  const daemon = new ScheduleWorld(clock, BERLIN, entries, maxConcurrent);
  daemon.start();
  return { clock, daemon };
}

const MONTH: Record<string, EntrySpec> = {
  night: { expression: "0 2 * * *", lastsMs: 20 * MINUTE_MS },
  skipped: { expression: "30 2 * * *", lastsMs: 20 * MINUTE_MS },
  quarter: { expression: "*/15 * * * *" },
  office: { expression: "5 8-18/2 * * 1-5", lastsMs: 30 * MINUTE_MS },
  month: { expression: "0 0 1 * *" },
};

describe("a simulated month", () => {
  for (const [season, from] of [
    ["spring, when an hour is skipped", "2026-03-12T10:03:20Z"],
    ["autumn, when an hour comes twice", "2026-10-03T10:03:20Z"],
  ] as const) {
    test(`in ${season}, runs every entry exactly as its expression says`, () => {
      const { clock, daemon } = world(from, MONTH, 5);
      const startMs = clock.wall();
      for (let day = 0; day < 31; day += 1) {
        // Now and then the configuration is read again, the daemon is started anew, or the clock is set right.
        if (day % 3 === 0) daemon.reload();
        if (day % 5 === 2) {
          daemon.kill();
          pass(clock, 40_000);
          daemon.start();
        }
        if (day % 7 === 4) clock.jumpWall(90_000);
        if (day % 7 === 6) clock.jumpWall(-90_000);
        pass(clock, DAY_MS);
      }
      for (const [name, { expression }] of Object.entries(MONTH)) {
        expect([name, ...iso(daemon.dueTimes(name))]).toEqual([
          name,
          ...iso(naiveDueTimes(expression, BERLIN, startMs, clock.wall())),
        ]);
      }
      expect(daemon.events).toEqual([]);
      for (const run of daemon.ran) expect(run.startMs - run.dueMs).toBeLessThan(ON_TIME_MS);
      daemon.kill();
    });
  }

  test("with nights that the machine sleeps through and clocks that are wrong by hours, runs nothing twice and tells of all that it misses", () => {
    const { clock, daemon } = world("2026-03-12T10:03:20Z", MONTH, 5);
    const startMs = clock.wall();
    const asleep: [number, number][] = [];
    for (let day = 0; day < 31; day += 1) {
      pass(clock, 13 * HOUR_MS);
      const fromMs = clock.wall();
      // Timers stand still while the machine sleeps.
      if (day % 4 === 1) clock.jumpWall(7 * HOUR_MS);
      if (day % 4 === 1) asleep.push([fromMs, clock.wall()]);
      pass(clock, 2 * HOUR_MS);
      if (day % 4 === 3) clock.jumpWall(-50 * MINUTE_MS);
      pass(clock, 2 * HOUR_MS);
    }
    for (const [name, { expression }] of Object.entries(MONTH)) {
      const [ran, missed] = [daemon.dueTimes(name), daemon.told("schedule.missed", name)];
      const dealtWith = new Set([...ran, ...missed]);
      expect([name, dealtWith.size]).toEqual([name, ran.length + missed.length]);
      const due = naiveDueTimes(expression, BERLIN, startMs, clock.wall());
      expect([...dealtWith].filter((ms) => !due.includes(ms))).toEqual([]);
      // Of several that passed in one sleep the last one is told, or run.
      const silent = due.filter((ms) => !dealtWith.has(ms));
      expect(silent.filter((ms) => !asleep.some(([fromMs, toMs]) => ms > fromMs && ms <= toMs))).toEqual([]);
    }
    expect(daemon.told("schedule.missed", "night").length).toBeGreaterThan(0);
    daemon.kill();
  });
});

describe("a time that was missed", () => {
  const nights = (runMissed: boolean): Record<string, EntrySpec> => ({ night: { expression: "0 2 * * *", runMissed } });

  test("while the machine slept is made up for once with run_missed, and only told without", () => {
    for (const runMissed of [true, false]) {
      const { clock, daemon } = world("2026-02-01T20:00:00Z", nights(runMissed));
      pass(clock, HOUR_MS);
      clock.jumpWall(3 * DAY_MS);
      pass(clock, HOUR_MS);
      expect(daemon.ran.map(({ kind, dueMs }) => [kind, ...iso([dueMs])])).toEqual(
        runMissed ? [["missed", "2026-02-04T01:00"]] : [],
      );
      expect(iso(daemon.told("schedule.missed", "night"))).toEqual(runMissed ? [] : ["2026-02-04T01:00"]);
      pass(clock, DAY_MS);
      expect(iso(daemon.dueTimes("night")).at(-1)).toBe("2026-02-05T01:00");
      daemon.kill();
    }
  });

  test("while the daemon did not run is made up for by its next start, and not by the one after", () => {
    const { clock, daemon } = world("2026-02-01T20:00:00Z", nights(true));
    pass(clock, HOUR_MS);
    daemon.kill();
    pass(clock, 10 * HOUR_MS);
    daemon.start();
    pass(clock, HOUR_MS);
    daemon.kill();
    daemon.start();
    pass(clock, HOUR_MS);
    expect(daemon.ran.map(({ kind, dueMs }) => [kind, ...iso([dueMs])])).toEqual([["missed", "2026-02-02T01:00"]]);
    daemon.kill();
  });

  test("because a crash cut its run short is made up for with run_missed", () => {
    for (const runMissed of [true, false]) {
      const { clock, daemon } = world("2026-02-02T00:30:00Z", {
        night: { expression: "0 2 * * *", runMissed, lastsMs: HOUR_MS },
      });
      pass(clock, HOUR_MS);
      daemon.kill();
      pass(clock, 10 * MINUTE_MS);
      daemon.start();
      pass(clock, 3 * HOUR_MS);
      expect(daemon.ran.map(({ kind }) => kind)).toEqual(runMissed ? ["schedule", "cut-off"] : ["schedule"]);
      daemon.kill();
    }
  });

  test("because the daemon ended while its run waited for another is made up for with run_missed, and told once without", () => {
    for (const runMissed of [true, false]) {
      const { clock, daemon } = world("2026-02-02T00:30:00Z", {
        long: { expression: "0 2 * * *", lastsMs: HOUR_MS },
        behind: { expression: "5 2 * * *", runMissed },
      });
      pass(clock, HOUR_MS);
      expect(daemon.scheduler.activity("behind")).toBe("waiting");
      for (let start = 0; start < 2; start += 1) {
        daemon.kill();
        daemon.start();
        pass(clock, 10 * MINUTE_MS);
      }
      const ran = daemon.ran.filter(({ name }) => name === "behind");
      expect(ran.map(({ kind, dueMs }) => [kind, ...iso([dueMs])])).toEqual(
        runMissed ? [["cut-off", "2026-02-02T01:05"]] : [],
      );
      expect(iso(daemon.told("schedule.missed", "behind"))).toEqual(runMissed ? [] : ["2026-02-02T01:05"]);
      daemon.kill();
    }
  });

  test("before the entry was ever seen is none", () => {
    const { clock, daemon } = world("2026-02-01T09:00:00Z", nights(true));
    pass(clock, HOUR_MS);
    daemon.reload({ ...nights(true), new: { expression: "0 9 * * *", runMissed: true } });
    // Nor is one of an expression that is new.
    daemon.reload({
      night: { expression: "0 8 * * *", runMissed: true },
      new: { expression: "0 9 * * *", runMissed: true },
    });
    pass(clock, HOUR_MS);
    expect(daemon.ran).toEqual([]);
    daemon.kill();
  });
});

describe("a clock", () => {
  const hourly: Record<string, EntrySpec> = { hourly: { expression: "0 * * * *", runMissed: true } };

  test("that was years ahead does not make the daemon wait for years", () => {
    const { clock, daemon } = world("2036-01-01T10:30:00Z", hourly);
    pass(clock, HOUR_MS);
    clock.jumpWall(-10 * 365 * DAY_MS);
    const setMs = clock.wall();
    pass(clock, 3 * HOUR_MS);
    expect(daemon.dueTimes("hourly").slice(1)).toEqual(naiveDueTimes("0 * * * *", BERLIN, setMs, clock.wall()));
    expect(daemon.log.lines[0]?.message).toStartWith("the clock shows a time long before the last run");
    daemon.kill();
  });

  test("that begins in 1970 and is set right later does not make the daemon forget what it ran", () => {
    const { clock, daemon } = world("2026-02-01T10:30:00Z", hourly);
    pass(clock, HOUR_MS);
    daemon.kill();
    const rightMs = clock.wall();
    clock.jumpWall(-rightMs);
    daemon.start();
    pass(clock, 5 * MINUTE_MS);
    clock.jumpWall(rightMs);
    pass(clock, 10 * MINUTE_MS);
    expect(iso(daemon.dueTimes("hourly"))).toEqual(["2026-02-01T11:00"]);
    daemon.kill();
  });

  test("that is put back within three hours does not run a time again", () => {
    const { clock, daemon } = world("2026-02-01T10:30:00Z", hourly);
    pass(clock, 40 * MINUTE_MS);
    clock.jumpWall(-20 * MINUTE_MS);
    pass(clock, 100 * MINUTE_MS);
    expect(iso(daemon.dueTimes("hourly"))).toEqual(["2026-02-01T11:00", "2026-02-01T12:00"]);
    daemon.kill();
  });

  test("that was ahead for a moment costs no run: what it made look missed is due when its time comes", () => {
    const { clock, daemon } = world("2026-02-01T23:00:00Z", { night: { expression: "0 2 * * *" } });
    pass(clock, HOUR_MS);
    clock.jumpWall(2 * HOUR_MS);
    pass(clock, 2 * MINUTE_MS);
    expect(iso(daemon.told("schedule.missed", "night"))).toEqual(["2026-02-02T01:00"]);
    clock.jumpWall(-2 * HOUR_MS);
    pass(clock, 2 * HOUR_MS);
    expect(iso(daemon.dueTimes("night"))).toEqual(["2026-02-02T01:00"]);
    daemon.kill();
  });
});

describe("several entries", () => {
  test("that are due at once run one after another in the order of their times, then of the file", () => {
    const { clock, daemon } = world("2026-02-01T10:30:00Z", {
      c: { expression: "0 * * * *", lastsMs: 10 * MINUTE_MS },
      a: { expression: "0 * * * *", lastsMs: 10 * MINUTE_MS },
      early: { expression: "59 * * * *", lastsMs: 10 * MINUTE_MS },
    });
    pass(clock, HOUR_MS);
    expect(daemon.ran.map(({ name }) => name)).toEqual(["early", "c", "a"]);
    expect(daemon.mostAtOnce).toBe(1);
    daemon.kill();
  });

  test("run at the same time up to max_concurrent", () => {
    const names = ["a", "b", "c", "d", "e"];
    const entries = Object.fromEntries(
      names.map((name) => [name, { expression: "0 * * * *", lastsMs: 10 * MINUTE_MS }]),
    );
    const { clock, daemon } = world("2026-02-01T10:30:00Z", entries, 3);
    pass(clock, HOUR_MS);
    expect(daemon.ran.map(({ name }) => name)).toEqual(names);
    expect(daemon.mostAtOnce).toBe(3);
    daemon.kill();
  });

  test("are looked at while one runs: a run that overlaps the one before, or waits for it, is skipped and told", () => {
    const { clock, daemon } = world("2026-02-01T10:30:00Z", {
      long: { expression: "0 * * * *", lastsMs: 90 * MINUTE_MS },
      behind: { expression: "30 * * * *" },
    });
    pass(clock, 3 * HOUR_MS + 45 * MINUTE_MS);
    expect(iso(daemon.dueTimes("long"))).toEqual(["2026-02-01T11:00", "2026-02-01T13:00"]);
    expect(iso(daemon.told("schedule.overlap", "long"))).toEqual(["2026-02-01T12:00", "2026-02-01T14:00"]);
    expect(iso(daemon.dueTimes("behind"))).toEqual(["2026-02-01T11:30"]);
    expect(iso(daemon.told("schedule.overlap", "behind"))).toEqual(["2026-02-01T12:30"]);
    expect([daemon.scheduler.activity("long"), daemon.scheduler.activity("behind")]).toEqual(["running", "waiting"]);
    daemon.kill();
  });

  test("that are gone from the configuration run no more, and one that still runs is not begun a second time when it is back", () => {
    for (const runMissed of [false, true]) {
      const long: EntrySpec = { expression: "0 * * * *", lastsMs: 90 * MINUTE_MS, runMissed };
      const { clock, daemon } = world("2026-02-01T10:30:00Z", { long, other: { expression: "5 * * * *" } });
      pass(clock, 40 * MINUTE_MS);
      daemon.reload({});
      pass(clock, MINUTE_MS);
      daemon.reload({ long });
      pass(clock, HOUR_MS);
      expect(daemon.ran.map(({ name }) => name)).toEqual(["long"]);
      expect(iso(daemon.told("schedule.overlap", "long"))).toEqual(["2026-02-01T12:00"]);
      pass(clock, 35 * MINUTE_MS);
      expect(daemon.ran.map(({ name }) => name)).toEqual(["long"]);
      daemon.kill();
    }
  });
});

describe("schedule_jitter", () => {
  const rule = { expression: "0 2 * * *", zone: BERLIN, runMissed: false, jitterMs: 30 * MINUTE_MS };
  const dueMs = Date.parse("2026-02-02T01:00:00Z");

  test("delays a run by a part of it that is the same after a restart, and spreads agents evenly", () => {
    const { clock, daemon } = world("2026-02-02T00:30:00Z", {
      night: { expression: "0 2 * * *", jitterMs: 30 * MINUTE_MS },
    });
    const startMs = startOf({ ...rule, seed: "web-1/night" }, dueMs);
    pass(clock, startMs - clock.wall() - MINUTE_MS);
    expect(daemon.scheduler.nextMs("night")).toBe(startMs);
    daemon.kill();
    daemon.start();
    pass(clock, 5 * MINUTE_MS);
    expect(daemon.ran).toEqual([{ name: "night", kind: "schedule", dueMs, startMs }]);
    daemon.kill();
    const delays = Array.from(
      { length: 1000 },
      (_, index) => startOf({ ...rule, seed: `web-${index}/night` }, dueMs) - dueMs,
    );
    for (let sixth = 0; sixth < 6; sixth += 1) {
      const count = delays.filter((ms) => Math.floor(ms / (5 * MINUTE_MS)) === sixth).length;
      expect(count).toBeGreaterThan(120);
      expect(count).toBeLessThan(220);
    }
  });

  test("never delays a run beyond half the way to the next", () => {
    const often = { ...rule, expression: "*/10 * * * *", jitterMs: DAY_MS };
    for (let agent = 0; agent < 100; agent += 1) {
      expect(startOf({ ...often, seed: String(agent) }, dueMs) - dueMs).toBeLessThan(5 * MINUTE_MS);
    }
  });
});
