/** The simulator finds bugs: each of those planted on purpose, and none in the sources as they are. */
import { describe, expect, test } from "bun:test";
import { run, type RunResult } from "#scripts/lib/run.ts";
import { PatchedCopy, PLANTED_BUGS, type PlantedBug } from "#test/support/planted-bugs.ts";

/** A bug that hides for longer would hide from a careless eye at the totals too. */
const SEEDS_MAX = 400;
const TIMEOUT_MS = 300_000;

async function simulate(bug: PlantedBug | undefined, seeds: number): Promise<RunResult> {
  const copy = await PatchedCopy.make(bug);
  try {
    const command = [process.execPath, "scripts/sim.ts", "--seed", "1", "--runs", String(seeds), "--stop"];
    return await run(command, { cwd: copy.directory, timeoutMs: TIMEOUT_MS });
  } finally {
    await copy.remove();
  }
}

describe("the simulator", () => {
  for (const bug of PLANTED_BUGS) {
    test(
      `finds that ${bug.name}`,
      async () => {
        const { stdout, stderr, exitCode } = await simulate(bug, SEEDS_MAX);
        expect(stderr).toBe("");
        expect(stdout).toContain("FAILED seed");
        expect(exitCode).toBe(1);
      },
      TIMEOUT_MS,
    );
  }

  test(
    "finds nothing in the sources as they are",
    async () => {
      const { stdout, exitCode } = await simulate(undefined, 50);
      expect(stdout).toContain("50 runs, 0 failed");
      expect(exitCode).toBe(0);
    },
    TIMEOUT_MS,
  );
});
