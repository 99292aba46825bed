/** `logging.stream_stats` on both sides: what each stream carried, also over a reconnection. */
import { expect, test } from "bun:test";
import { runBackup } from "#agent/backup-run.ts";
import type { SessionProgress } from "#agent/session-progress.ts";
import { StreamStats } from "#observe/stream-stats.ts";
import { KiB } from "#base/units.ts";
import { agentPlan, agentWorld, MadeUpProducer } from "#test/support/agent-world.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { ServerWorld } from "#test/support/server-world.ts";

test("agent and server count for each stream what it carried, and go on counting when it reconnects", async () => {
  const world = await ServerWorld.start({ streamStats: true });
  const agent = agentWorld(world, () => new MadeUpProducer(world.clock, Array<number>(60).fill(100 * KiB), 500));
  let progress: (() => SessionProgress) | undefined;
  const run = runBackup(agent.deps, agentPlan({ parallels: 2 }), new AbortController().signal, (stage) => {
    if (stage.stage === "running") progress = stage.progress;
  });
  await world.clock.advance(10_000);
  // A stream, not the session connection.
  agent.network.cut(1);
  await world.clock.advance(12_000);
  const sent = progress?.().streams ?? [];
  const bytes = sent.reduce((sum, stream) => sum + stream.sentBytes, 0);
  expect(sent.map(({ slot, state }) => [slot, state])).toEqual([
    [0, "up"],
    [1, "up"],
  ]);
  expect(bytes).toBeGreaterThan(35 * 100 * KiB);
  await world.clock.advance(10_000);
  const told = world.logged.filter((line) => line.includes('"event":"stream.stats"'));
  const counts = told.map((line) =>
    [...line.matchAll(/"bytes":(\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0),
  );
  expect(told.at(-1)).toContain('"agent":"web-1","backup":"home"');
  expect(counts.at(-1)).toBeGreaterThan(35 * 100 * KiB);
  expect(counts.at(-1)).toBeLessThan(61 * 100 * KiB);
  expect(counts.at(0)).toBeLessThan(counts.at(-1) ?? 0);
  expect((await world.clock.until(run, 600_000)).result).toBe("committed");
});

test("a line has the rate of each stream since the line before, and no more than a hundred of them", () => {
  const log = memoryLogger();
  const stats = new StreamStats(log);
  const session = (bytes: number, count = 1) => ({
    ...{ session: "s", backup: "home" },
    streams: Array.from({ length: count }, (_, slot) => ({ slot, up: slot === 0, bytes })),
  });
  stats.tell([session(3_000)], 1_500, true);
  stats.tell([session(9_000)], 1_500, true);
  stats.tell([session(9_000, 255)], 1_500, true);
  expect(log.lines.map(({ fields }) => fields["bytesPerSecond"])).toEqual([2_000, 4_000, 254 * 6_000]);
  expect(log.lines[1]?.fields["streams"]).toEqual([{ slot: 0, up: true, bytes: 9_000, bytesPerSecond: 4_000 }]);
  expect(log.lines[2]?.fields).toMatchObject({ more: 156 });
});

test("a line that is wanted from now on has the rate of the last seconds, not of all that came before", () => {
  const log = memoryLogger();
  const stats = new StreamStats(log);
  const session = (bytes: number) => ({ session: "s", backup: "home", streams: [{ slot: 0, up: true, bytes }] });
  stats.tell([session(900_000)], 1_500, false);
  stats.tell([session(903_000)], 1_500, true);
  expect(log.lines.map(({ fields }) => fields["bytesPerSecond"])).toEqual([2_000]);
});
