/**
 * Two months in which everything happens at once: clocks that change and jump, a machine that sleeps, starts of the daemon, and
 * reloads that change expressions. Every run begins exactly as the expression of its time says, within seconds.
 */
import { expect, test } from "bun:test";
import { naiveDueTimes } from "#test/support/naive-cron.ts";
import { type EntrySpec, ScheduleWorld } from "#test/support/schedule-world.ts";
import { seededRandom } from "#test/support/seeded-random.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAYS = 31;
/** A start of the daemon takes so long. */
const START_MS = 20_000;
/** A clock that jumped is looked at again within a minute. */
const LATE_MS_MAX = 62_000;

const EXPRESSIONS: Readonly<Record<string, readonly string[]>> = {
  night: ["0 2 * * *", "30 2 * * *", "15 3 * * 1-6"],
  often: ["*/15 * * * *", "*/20 8-18 * * *", "7 * * * *"],
  midnight: ["0 0 * * *", "59 23 * * *"],
  weekly: ["0 4 * * 0", "30 1 * * 0,3"],
};

function pass(clock: SimClock, ms: number): void {
  const endMs = clock.now() + ms;
  clock.after(ms, () => undefined);
  clock.run(() => clock.now() >= endMs, endMs);
}

/** Which expression counted from when to when, on the wall. */
interface Reign {
  readonly expression: string;
  readonly fromMs: number;
  toMs: number;
}

test.each([
  ["Europe/Berlin", "2026-03-12T10:03:20Z", 1],
  ["Europe/Berlin", "2026-10-03T10:03:20Z", 2],
  ["America/Nuuk", "2026-03-12T10:03:20Z", 3],
  ["Africa/Cairo", "2026-04-10T10:03:20Z", 4],
  ["Australia/Lord_Howe", "2026-03-20T10:03:20Z", 5],
] as const)("a month in %s from %s runs every entry exactly as its expression says", (zone, from, seed) => {
  const clock = new SimClock(Date.parse(from));
  const random = seededRandom(seed);
  const current = new Map(Object.entries(EXPRESSIONS).map(([name, [first = ""]]) => [name, first]));
  const entries = (): Record<string, EntrySpec> =>
    Object.fromEntries([...current].map(([name, expression]) => [name, { expression, lastsMs: 3 * MINUTE_MS }]));
  const daemon = new ScheduleWorld(clock, zone, entries(), 8);
  const reigns = new Map<string, Reign[]>();
  const reign = (name: string): void => {
    const all = reigns.get(name) ?? [];
    const last = all.at(-1);
    const expression = current.get(name) ?? "";
    if (last?.expression === expression && last.toMs === Number.POSITIVE_INFINITY) return;
    if (last !== undefined) last.toMs = clock.wall();
    reigns.set(name, [...all, { expression, fromMs: clock.wall(), toMs: Number.POSITIVE_INFINITY }]);
  };
  daemon.start();
  for (const name of current.keys()) reign(name);
  /** Spans in which the wall clock passed over times: of several the last is made up for or told. */
  const jumped: [number, number][] = [];
  for (let day = 0; day < DAYS; day += 1) {
    for (let part = 0; part < 4; part += 1) {
      pass(clock, 5.5 * HOUR_MS + Math.floor(random.unit() * HOUR_MS));
      const chance = random.unit();
      if (chance < 0.2) {
        daemon.kill();
        pass(clock, START_MS);
        daemon.start();
      } else if (chance < 0.4) {
        const names = [...current.keys()];
        const name = names[Math.floor(random.unit() * names.length)] ?? "night";
        const choices = EXPRESSIONS[name] ?? [];
        current.set(name, choices[Math.floor(random.unit() * choices.length)] ?? "");
        daemon.reload(entries());
        reign(name);
      } else if (chance < 0.5) {
        clock.jumpWall(-Math.floor(random.unit() * 20 * MINUTE_MS));
      } else if (chance < 0.6) {
        // It slept, or its clock was set: timers heard nothing.
        const fromMs = clock.wall();
        clock.jumpWall(Math.floor(random.unit() * 3 * HOUR_MS));
        jumped.push([fromMs, clock.wall()]);
      }
      pass(clock, 2 * MINUTE_MS);
    }
  }
  const endMs = clock.wall();
  for (const [name, all] of reigns) {
    const [ran, missed] = [daemon.dueTimes(name), daemon.told("schedule.missed", name)];
    const dealtWith = [...ran, ...missed].sort((a, b) => a - b);
    expect([name, new Set(dealtWith).size]).toEqual([name, dealtWith.length]);
    const due = all.flatMap(({ expression, fromMs, toMs }) =>
      naiveDueTimes(expression, zone, fromMs, Math.min(toMs, endMs)).map((ms) => ({ ms, fromMs })),
    );
    const dueTimes = new Set(due.map(({ ms }) => ms));
    expect([name, dealtWith.filter((ms) => !dueTimes.has(ms))]).toEqual([name, []]);
    // What was passed over in one jump is dealt with by its last time; all else has run, and was not only told.
    const inJump = (ms: number): boolean => jumped.some(([fromMs, toMs]) => ms > fromMs && ms <= toMs);
    const runs = new Set(ran);
    const overlaps = new Set(daemon.told("schedule.overlap", name));
    const silent = [...dueTimes].filter((ms) => !runs.has(ms) && !inJump(ms) && !overlaps.has(ms));
    expect([name, silent.map((ms) => new Date(ms).toISOString())]).toEqual([name, []]);
  }
  for (const run of daemon.ran) {
    const late = run.startMs - run.dueMs;
    const inJump = jumped.some(([fromMs, toMs]) => run.dueMs > fromMs && run.dueMs <= toMs);
    if (!inJump) expect(late).toBeLessThan(LATE_MS_MAX);
  }
  expect(daemon.ran.length).toBeGreaterThan(500);
  daemon.kill();
});
