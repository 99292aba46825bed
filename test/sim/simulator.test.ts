/** A few seeds of the simulator, all that once failed, and that a seed gives the same run twice. Thousands: scripts/sim.ts. */
import { expect, test } from "bun:test";
import { drawOptions } from "./options.ts";
import { REGRESSIONS } from "./regressions.ts";
import { runSeed } from "./run.ts";

const SEEDS = 60;
const TIMEOUT_MS = 120_000;

test(
  `seeds 1 to ${SEEDS}: nothing that was promised is broken`,
  async () => {
    const broken: string[] = [];
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { violation } = await runSeed(seed, drawOptions(seed));
      if (violation !== undefined) broken.push(`seed ${seed}: ${violation}`);
    }
    expect(broken).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a seed gives the same run twice",
  async () => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const first = await runSeed(seed, drawOptions(seed));
      const second = await runSeed(seed, drawOptions(seed));
      expect([seed, second.hash, second.durationMs]).toEqual([seed, first.hash, first.durationMs]);
    }
  },
  TIMEOUT_MS,
);

for (const { seed, options, found } of REGRESSIONS) {
  test(`seed ${seed}, which once found: ${found}`, async () => {
    expect((await runSeed(seed, options)).violation).toBeUndefined();
  });
}
