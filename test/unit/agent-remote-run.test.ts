/** Runs that the server asks for, in the line of the daemon's scheduler. */
import { expect, test } from "bun:test";
import { runVerdict } from "#agent/run-verdict.ts";
import { ScheduleWorld } from "#test/support/schedule-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const HOUR_MS = 3_600_000;
const entries = {
  home: { expression: "0 0 29 2 *", lastsMs: HOUR_MS },
  etc: { expression: "0 0 29 2 *", lastsMs: HOUR_MS },
};

function world(): { readonly clock: SimClock; readonly schedule: ScheduleWorld } {
  const clock = new SimClock();
  const schedule = new ScheduleWorld(clock, "UTC", entries);
  schedule.start();
  return { clock, schedule };
}

test("a run of an idle entry begins at once, with a trigger of its own", () => {
  const { schedule } = world();
  expect(schedule.scheduler.request("home")).toBe("begun");
  expect(schedule.ran).toMatchObject([{ name: "home", kind: "remote" }]);
});

test("a run beyond max_concurrent waits for the one that runs, and then begins", async () => {
  const { clock, schedule } = world();
  schedule.scheduler.request("home");
  expect(schedule.scheduler.request("etc")).toBe("queued");
  expect(schedule.ran).toHaveLength(1);
  await clock.advance(HOUR_MS + 1);
  expect(schedule.ran.map(({ name }) => name)).toEqual(["home", "etc"]);
  expect(schedule.mostAtOnce).toBe(1);
});

test("an entry that runs or waits already, or is none, is told as that and not begun", () => {
  const { schedule } = world();
  schedule.scheduler.request("home");
  schedule.scheduler.request("etc");
  expect(schedule.scheduler.request("home")).toBe("running");
  expect(schedule.scheduler.request("etc")).toBe("waiting");
  expect(schedule.scheduler.request("nothing")).toBe("unknown");
  expect(schedule.ran).toHaveLength(1);
});

test("a wish that waits is kept by a reload, unless its entry is gone", () => {
  const { schedule } = world();
  schedule.scheduler.request("home");
  schedule.scheduler.request("etc");
  schedule.reload();
  expect(schedule.scheduler.activity("etc")).toBe("waiting");
  schedule.reload({ home: entries.home });
  expect(schedule.scheduler.request("etc")).toBe("unknown");
});

test("a wish that waits when the daemon stops is forgotten, which was said beforehand and is said in the log", () => {
  const { schedule } = world();
  schedule.scheduler.request("home");
  const became = schedule.scheduler.request("etc");
  expect(runVerdict("etc", became, 1)).toEqual({
    accepted: true,
    message: "a run of etc waits: 1 others run, no more at once; a restart of the agent forgets it",
  });
  schedule.scheduler.stop();
  expect(schedule.log.lines).toEqual([
    { level: "warn", message: expect.stringMatching(/forgotten/), fields: { backup: "etc" } },
  ]);
});

test("a scheduler that has stopped begins nothing", () => {
  const { schedule } = world();
  schedule.scheduler.stop();
  expect(schedule.scheduler.request("home")).toBe("stopped");
  expect(schedule.ran).toEqual([]);
});

test("a scheduled run that is skipped because a wish waits is made up for when a restart loses the wish", async () => {
  const clock = new SimClock(Date.parse("2026-06-10T01:00:00Z"));
  const night = { expression: "0 2 * * *", runMissed: true };
  const schedule = new ScheduleWorld(clock, "UTC", { home: { ...entries.home, lastsMs: 5 * HOUR_MS }, night });
  schedule.start();
  schedule.scheduler.request("home");
  expect(schedule.scheduler.request("night")).toBe("queued");
  await clock.advance(2 * HOUR_MS);
  expect(schedule.told("schedule.overlap", "night")).toHaveLength(1);
  schedule.kill();
  schedule.start();
  await clock.advance(6 * HOUR_MS);
  expect(schedule.ran.filter(({ name }) => name === "night")).toMatchObject([{ kind: "cut-off" }]);
});
