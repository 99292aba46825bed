/** The real clock's timers, longer than what a single one of the runtime can hold. */
import { expect, test } from "bun:test";
import { timeout } from "#bin/system.ts";

test("a timer that is made of several fires once, after all of them", async () => {
  const startedAtMs = performance.now();
  let fired = 0;
  await new Promise<void>((resolve) => {
    timeout(
      50,
      () => {
        fired += 1;
        resolve();
      },
      20,
    );
  });
  expect(performance.now() - startedAtMs).toBeGreaterThan(49);
  expect(fired).toBe(1);
});

test("a timer is cancelled in any of its parts", async () => {
  let fired = false;
  const timer = timeout(
    60,
    () => {
      fired = true;
    },
    20,
  );
  // Its second part runs when this one fires.
  await new Promise<void>((resolve) => timeout(30, resolve, 1000));
  timer.cancel();
  await new Promise<void>((resolve) => timeout(100, resolve, 1000));
  expect(fired).toBe(false);
});
