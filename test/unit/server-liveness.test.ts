/** When a connection is dead, when something must be said on it, and how a probe is answered. */
import { describe, expect, test } from "bun:test";
import { Liveness } from "#server/liveness.ts";
import { SimClock } from "#test/support/sim-clock.ts";

function make(): { clock: SimClock; live: Liveness; seen: string[] } {
  const clock = new SimClock();
  const seen: string[] = [];
  const live = new Liveness(clock, {
    tick: () => undefined,
    beat: () => seen.push(`beat ${clock.now()}`),
    silent: () => {
      seen.push(`silent ${clock.now()}`);
      live.stop();
    },
  });
  return { clock, live, seen };
}

describe("liveness", () => {
  test("a heartbeat is due 5 s after the last thing said, and silence is death after 20 s", async () => {
    const { clock, seen } = make();
    await clock.advance(30_000);
    expect(seen).toEqual(["beat 5000", "beat 10000", "beat 15000", "silent 20000"]);
    expect(clock.pendingCount).toBe(0);
  });

  test("whatever is said puts the heartbeat off, whatever is heard puts death off", async () => {
    const { clock, live, seen } = make();
    await clock.advance(4_000);
    live.said();
    live.heard();
    await clock.advance(19_000);
    expect(seen).toEqual(["beat 9000", "beat 14000", "beat 19000"]);
    await clock.advance(1_000);
    expect(seen.at(-1)).toBe("silent 24000");
  });

  test("time in which this side does not read does not count as silence, but heartbeats go on", async () => {
    const { clock, live, seen } = make();
    await clock.advance(1_000);
    live.pause();
    await clock.advance(100_000);
    expect(seen.filter((line) => line.startsWith("silent"))).toEqual([]);
    expect(seen.length).toBe(20);
    live.resume();
    await clock.advance(18_999);
    expect(seen.some((line) => line.startsWith("silent"))).toBe(false);
    await clock.advance(1);
    expect(seen.at(-1)).toBe("silent 120000");
  });

  test("a timer that fires late shows that the process stood still: that time is no silence either", async () => {
    let nowMs = 0;
    let fire: () => void = () => undefined;
    const seen: string[] = [];
    const live = new Liveness(
      {
        now: () => nowMs,
        wall: () => 0,
        after: (_delayMs, fn) => {
          fire = fn;
          return { cancel: () => undefined };
        },
      },
      { tick: () => undefined, beat: () => seen.push("beat"), silent: () => seen.push("silent") },
    );
    nowMs = 60_000;
    fire();
    expect(seen).toEqual(["beat"]);
    // Bytes that were waiting may be read before the late timer runs: heard when it runs, and no later.
    nowMs = 120_000;
    live.heard();
    fire();
    nowMs = 125_000;
    fire();
    nowMs = 130_000;
    fire();
    nowMs = 135_000;
    fire();
    expect(seen).not.toContain("silent");
    nowMs = 140_000;
    fire();
    expect(seen.at(-1)).toBe("silent");
    live.stop();
  });
});

describe("a probe", () => {
  test("is answered by the Pong of its Ping, not by what was on its way before", async () => {
    const { clock, live } = make();
    const answers: boolean[] = [];
    void live.probe(7).then((alive) => answers.push(alive));
    live.heard();
    live.ponged(6);
    await clock.advance(0);
    expect(answers).toEqual([]);
    live.ponged(7);
    await clock.advance(0);
    expect(answers).toEqual([true]);
    live.stop();
  });

  test("without a Pong it is dead after 10 s, unless bytes still come", async () => {
    const silent = make();
    expect(await silent.clock.until(silent.live.probe(1), 11_000)).toBe(false);
    expect(silent.clock.now()).toBe(10_000);
    silent.live.stop();
    const slow = make();
    const answer = slow.live.probe(1);
    await slow.clock.advance(6_000);
    slow.live.heard();
    expect(await slow.clock.until(answer, 11_000)).toBe(true);
    slow.live.stop();
  });

  test("waits for as long as this side does not read", async () => {
    const { clock, live } = make();
    const answers: boolean[] = [];
    live.pause();
    void live.probe(1).then((alive) => answers.push(alive));
    await clock.advance(60_000);
    expect(answers).toEqual([]);
    live.resume();
    await clock.advance(10_000);
    expect(answers).toEqual([false]);
    live.stop();
  });

  test("is answered with dead when the connection ends, and afterwards at once", async () => {
    const { live } = make();
    const answer = live.probe(1);
    live.stop();
    expect(await answer).toBe(false);
    expect(await live.probe(2)).toBe(false);
  });
});
