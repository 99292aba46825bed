/** How streams share a bandwidth limit. */
import { expect, test } from "bun:test";
import { KiB, MiB } from "#base/units.ts";
import { Throttle } from "#agent/throttle.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const PIECE = 4 * KiB;

/** Takes pieces as long as it may, as a connection does that is woken. */
class Taker {
  readonly name: string;
  readonly #throttle: Throttle;
  readonly #log: string[];
  /** What its connection takes; then nothing, until it is told to go on. */
  room = Number.POSITIVE_INFINITY;
  readonly wake = (): void => {
    while (this.room > 0 && this.#throttle.take(PIECE, this.wake)) {
      this.room -= 1;
      this.#log.push(this.name);
    }
  };

  constructor(name: string, throttle: Throttle, log: string[]) {
    this.name = name;
    this.#throttle = throttle;
    this.#log = log;
  }
}

test("those who wait take turns, a piece each, and who comes later does not go before them", async () => {
  const clock = new SimClock();
  const throttle = new Throttle(clock, 64 * KiB);
  const log: string[] = [];
  const takers = ["a", "b", "c"].map((name) => new Taker(name, throttle, log));
  for (const taker of takers) taker.wake();
  await clock.advance(2000);
  expect(log.length).toBe(32);
  expect(log.slice(0, 9).join("")).toBe("abcabcabc");
  // Woken by something else, as by a drain: it keeps its place.
  takers[2]?.wake();
  await clock.advance(1000);
  for (const name of ["a", "b", "c"])
    expect(Math.abs(log.filter((n) => n === name).length - 16)).toBeLessThanOrEqual(1);
});

test("one whose connection is gone or full holds up nobody, and is let in again when it asks", async () => {
  const clock = new SimClock();
  const throttle = new Throttle(clock, 64 * KiB);
  const log: string[] = [];
  const [a, b] = ["a", "b"].map((name) => new Taker(name, throttle, log));
  if (a === undefined || b === undefined) throw new Error("two were made");
  a.wake();
  b.wake();
  a.room = 0;
  await clock.advance(1000);
  expect(log.join("")).toBe("b".repeat(16));
  a.room = 2;
  a.wake();
  await clock.advance(500);
  expect(log.filter((name) => name === "a")).toHaveLength(2);
  b.room = 0;
  await clock.advance(5000);
  expect(clock.pendingCount).toBe(0);
});

test("after its end nothing is held back and nobody is called", async () => {
  const clock = new SimClock();
  const throttle = new Throttle(clock, 64 * KiB);
  const log: string[] = [];
  const taker = new Taker("a", throttle, log);
  taker.wake();
  throttle.stop();
  await clock.advance(1000);
  expect(log).toEqual([]);
  taker.room = 100;
  taker.wake();
  expect(log).toHaveLength(100);
  expect(clock.pendingCount).toBe(0);
});

for (const limit of [64 * KiB, 500 * MiB]) {
  test.each([1, 4, 32])(
    `%i streams hold ${limit / KiB} kB/s within 3 % over any 10 s, also after a pause, and send no second's worth at once`,
    async (streams) => {
      const clock = new SimClock();
      const throttle = new Throttle(clock, limit);
      const perSlice: number[] = [];
      let paused = false;
      let bytes = 0;
      const wakes = Array.from({ length: streams }, () => {
        const wake = (): void => {
          while (!paused && throttle.take(throttle.pieceBytesMax, wake)) bytes += throttle.pieceBytesMax;
        };
        return wake;
      });
      const slices = async (count: number): Promise<void> => {
        for (let slice = 0; slice < count; slice += 1) {
          const before = bytes;
          await clock.advance(100);
          perSlice.push(bytes - before);
        }
      };
      const most = (width: number): number =>
        Math.max(
          ...perSlice.map((_, slice) => perSlice.slice(slice, slice + width).reduce((sum, value) => sum + value, 0)),
        );
      for (const wake of wakes) wake();
      await slices(120);
      expect(bytes / (12 * limit)).toBeWithin(0.97, 1.03);
      paused = true;
      await slices(100);
      paused = false;
      const resumedAt = bytes;
      for (const wake of wakes) wake();
      await slices(120);
      expect((bytes - resumedAt) / (12 * limit)).toBeWithin(0.97, 1.03);
      expect(most(100) / (10 * limit)).toBeLessThan(1.03);
      expect(most(1) / limit).toBeLessThan(0.5);
    },
  );
}
