/** The autoscaler in a running session: the real agent against the real server, over connections that are each held to a rate. */
import { describe, expect, test } from "bun:test";
import { KiB, MiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import type { SessionProgress } from "#agent/session-progress.ts";
import { agentPlan, type AgentWorld, agentWorld, MadeUpProducer, type PlanFields } from "#test/support/agent-world.ts";
import type { ScriptLine } from "#test/support/script-pipe.ts";
import { ServerWorld } from "#test/support/server-world.ts";

const HOUR_MS = 3_600_000;
const FLOW_BYTES_PER_SECOND = 256 * KiB;
const CHUNK_BYTES = 64 * KiB;

interface Measured extends AgentWorld {
  readonly world: ServerWorld;
  readonly atMost: number;
  readonly progress: SessionProgress;
  readonly resentBytes: number;
  readonly durationMs: number;
}

/** A whole backup of `chunks` chunks, one each `everyMs`; what was seen of it each 100 ms until `stopAtMs` or its end. */
async function backUp(
  mode: "efficiency" | "adaptive",
  chunks: number,
  everyMs: number,
  fields: PlanFields & { readonly line?: ScriptLine; readonly enabled?: boolean } = {},
): Promise<Measured> {
  const world = await ServerWorld.start();
  const producer = new MadeUpProducer(world.clock, Array<number>(chunks).fill(CHUNK_BYTES), everyMs);
  const agent = agentWorld(world, () => producer);
  agent.network.line = { latencyMs: 10, bufferBytes: 64 * KiB, ...fields.line };
  const plan = agentPlan({ parallels: 16, ...fields });
  const autoScaler = { enabled: fields.enabled ?? true, mode };
  let progress: (() => SessionProgress) | undefined;
  const run = runBackup(
    agent.deps,
    { ...plan, entry: { ...plan.entry, autoScaler } },
    new AbortController().signal,
    (stage) => {
      if (stage.stage === "running") ({ progress } = stage);
    },
  );
  let over = false;
  void run.then(() => (over = true));
  let atMost = 0;
  while (!over && world.clock.now() < HOUR_MS) {
    await world.clock.advance(100);
    atMost = Math.max(atMost, progress?.().autoscaler?.active ?? 0);
  }
  const result = await run;
  expect(result.failure?.toString()).toBeUndefined();
  expect(world.content(result.archive ?? "").equals(Buffer.concat(producer.made))).toBe(true);
  expect(result.reconnects).toBe(0);
  const { resentBytes, durationMs } = result;
  await world.close();
  if (progress === undefined) throw new Error("no session ran");
  return { ...agent, world, atMost, progress: progress(), resentBytes, durationMs };
}

describe.each(["efficiency", "adaptive"] as const)("%s", (mode) => {
  test("opens one stream after the other where each is slow, and comes near to what all of them can do", async () => {
    const line = { bytesPerSecond: FLOW_BYTES_PER_SECOND };
    // A minute of 16 flows.
    const chunks = Math.round((60 * 16 * FLOW_BYTES_PER_SECOND) / CHUNK_BYTES);
    const { atMost, durationMs, resentBytes } = await backUp(mode, chunks, 1, { line, windowBytes: 64 * MiB });
    expect(atMost).toBe(16);
    expect(durationMs).toBeLessThan(75_000);
    expect(resentBytes).toBe(0);
  });

  test("leaves it at one or two where the producer is slow", async () => {
    const { atMost, network } = await backUp(mode, 600, 100);
    expect(atMost).toBeLessThanOrEqual(2);
    expect(network.dialled).toBeLessThanOrEqual(4);
  });

  test("leaves it at one where the bandwidth limit decides", async () => {
    expect((await backUp(mode, 300, 1, { limitBytesPerSecond: 512 * KiB })).atMost).toBe(1);
  });
});

test("frozen, all streams are there from the beginning", async () => {
  const { progress, network } = await backUp("efficiency", 50, 10, { enabled: false });
  expect(progress.autoscaler).toMatchObject({ enabled: false, active: 16, max: 16, state: "frozen" });
  expect(network.dialled).toBe(17);
});

test("streams that are not needed any more are drained, and nothing that they carried is sent again", async () => {
  // Fast at first, then slow: the window takes up what 16 flows carry away in some seconds.
  const world = await ServerWorld.start();
  const lengths = [...Array<number>(1500).fill(CHUNK_BYTES), ...Array<number>(300).fill(CHUNK_BYTES / 4)];
  const producer = new MadeUpProducer(world.clock, lengths, 1);
  const slowDown = producer.made;
  const agent = agentWorld(world, () => producer);
  agent.network.line = { latencyMs: 10, bufferBytes: 64 * KiB, bytesPerSecond: FLOW_BYTES_PER_SECOND };
  const plan = agentPlan({ parallels: 8, windowBytes: 32 * MiB });
  let progress: (() => SessionProgress) | undefined;
  const run = runBackup(
    agent.deps,
    { ...plan, entry: { ...plan.entry, autoScaler: { enabled: true, mode: "efficiency" } } },
    new AbortController().signal,
    (stage) => {
      if (stage.stage === "running") ({ progress } = stage);
    },
  );
  let over = false;
  void run.then(() => (over = true));
  const seen = new Set<number>();
  while (!over) {
    await world.clock.advance(100);
    if (slowDown.length >= 1500) producer.everyMs = 200;
    const { autoscaler, phase } = progress?.() ?? {};
    if (slowDown.length > 1600 && phase === "reading") seen.add(autoscaler?.active ?? 0);
  }
  const result = await run;
  expect(result).toMatchObject({ result: "committed", resentBytes: 0, reconnects: 0 });
  expect(Math.max(...seen)).toBe(8);
  expect(Math.min(...seen)).toBeLessThan(5);
  expect(agent.logged.filter((line) => / (warn|error) /.test(line))).toEqual([]);
  await world.close();
});
