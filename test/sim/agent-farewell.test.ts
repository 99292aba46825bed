/**
 * From the agent's side: an interrupted run tells the server, also when it is interrupted while no connection is up or an
 * answer is on its way; and it ends within a short time whatever the network does. The server is a script.
 */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { FAREWELL_MS } from "#agent/farewell.ts";
import { KiB } from "#base/units.ts";
import { MadeUpProducer } from "#test/support/agent-world.ts";
import { ScriptRun, type ScriptRunOptions } from "#test/support/script-run.ts";
import { SESSION } from "#test/support/script-server.ts";

function steadyRun(options: ScriptRunOptions = {}): ScriptRun {
  return new ScriptRun({
    producer: (clock) => new MadeUpProducer(clock, Array<number>(1000).fill(64 * KiB), 100),
    ...options,
  });
}

/** The run was interrupted and took no longer; how often the server heard of it, and on how many connections. */
async function interrupted(run: ScriptRun, withinMs: number): Promise<{ disowned: number; sessions: unknown[] }> {
  const startedAtMs = run.clock.now();
  run.interrupt();
  const result = await run.result();
  expect(result.failure).toMatchObject({ code: "E_INTERRUPTED", exitCode: 130 });
  expect(result.durationMs - startedAtMs).toBeLessThanOrEqual(withinMs);
  const links = run.server.links.filter((link) => link.count("disown") > 0);
  return { disowned: links.length, sessions: links.map((link) => link.hello?.session) };
}

describe("an interruption", () => {
  test("while the session connection waits to be opened again is told on a connection of its own", async () => {
    const run = steadyRun();
    await run.advance(2000);
    run.server.down = true;
    for (const link of run.server.open) link.pipe.cut();
    await run.advance(60_000);
    run.server.down = false;
    expect(run.server.open).toEqual([]);
    expect(await interrupted(run, 10)).toEqual({ disowned: 1, sessions: [SESSION] });
  });

  test("while it is being dialled is told too, when the network is back in time", async () => {
    const run = steadyRun({ parallels: 2 });
    await run.advance(2000);
    run.server.hanging = true;
    for (const link of run.server.open) link.pipe.cut();
    await run.advance(1000);
    run.server.hanging = false;
    expect(await interrupted(run, 10)).toEqual({ disowned: 1, sessions: [SESSION] });
  });

  test("while a resumed connection waits for its Welcome is told on another one", async () => {
    let silent = true;
    const run = steadyRun({
      script: (_link, arrived) => {
        if (arrived.type !== "hello" || arrived.body.session === undefined || !silent) return false;
        silent = false;
        return true;
      },
    });
    await run.advance(2000);
    for (const link of run.server.open) link.pipe.cut();
    await run.advance(1000);
    expect(silent).toBe(false);
    expect(await interrupted(run, 10)).toEqual({ disowned: 1, sessions: [SESSION] });
  });

  for (const how of ["hanging", "down"] as const) {
    test(`that no connection can tell (${how}) ends the run within ${FAREWELL_MS / 1000} s`, async () => {
      const run = steadyRun({ parallels: 2 });
      await run.advance(2000);
      run.server[how] = true;
      for (const link of run.server.open) link.pipe.cut();
      await run.advance(1000);
      expect(await interrupted(run, FAREWELL_MS)).toEqual({ disowned: 0, sessions: [] });
      expect(run.logged.some((line) => line.includes("could not be told"))).toBe(true);
    });
  }

  test("and a server that does not answer Hello keeps the run no longer either", async () => {
    const run = steadyRun({
      script: (_link, arrived) => arrived.type === "hello" && arrived.body.session !== undefined,
    });
    await run.advance(2000);
    for (const link of run.server.open) link.pipe.cut();
    await run.advance(1000);
    expect(await interrupted(run, FAREWELL_MS)).toEqual({ disowned: 0, sessions: [] });
  });

  test("before Begin was sent leaves nothing to tell", async () => {
    const run = steadyRun({ script: (_link, arrived) => arrived.type === "hello" });
    await run.advance(1000);
    expect(await interrupted(run, 10)).toEqual({ disowned: 0, sessions: [] });
    expect(run.server.dialled).toBe(1);
  });

  test("while Begin waits for its answer is told on that very connection", async () => {
    const run = steadyRun({ script: (_link, arrived) => arrived.type === "begin" });
    await run.advance(1000);
    expect(await interrupted(run, 10)).toEqual({ disowned: 1, sessions: [undefined] });
    expect(run.server.dialled).toBe(1);
  });

  test("after the connection broke with Begin unanswered gives up what the server may have begun, and begins nothing", async () => {
    const run = steadyRun({
      plan: (plan) => ({ ...plan, retry: { ...plan.retry, initialDelayMs: 60_000 } }),
      script: (link, arrived) => {
        if (arrived.type !== "begin") return false;
        link.pipe.cut();
        return true;
      },
    });
    await run.advance(1000);
    expect(await interrupted(run, 10)).toEqual({ disowned: 1, sessions: [undefined] });
    expect(run.server.links.map((link) => link.count("begin"))).toEqual([1, 0]);
    expect(run.server.links[1]?.received.at(-1)?.body).toMatchObject({ code: "E_INTERRUPTED", backup: "home" });
    expect(run.producers).toEqual([]);
  });

  test("after a refusal, while it waits to ask again, leaves nothing to tell", async () => {
    const run = steadyRun({
      script: (link, arrived, server) => {
        if (arrived.type !== "begin") return false;
        server.refuse(link, "E_BUSY", { retryAfterMs: 60_000 });
        return true;
      },
    });
    await run.advance(1000);
    expect(await interrupted(run, 0)).toEqual({ disowned: 0, sessions: [] });
    expect(run.server.dialled).toBe(1);
  });
});

test("any other end that the server cannot know of is told the same way", async () => {
  let fail: () => void = () => undefined;
  const run = new ScriptRun({
    producer: (clock) => {
      const producer = new MadeUpProducer(clock, Array<number>(1000).fill(1000), 100);
      const start = producer.start.bind(producer);
      producer.start = (sink) => {
        fail = () => sink.failed(new Failure("E_SOURCE_MISSING", "the source is gone"));
        start(sink);
      };
      return producer;
    },
  });
  await run.advance(1000);
  run.server.hanging = true;
  for (const link of run.server.open) link.pipe.cut();
  await run.advance(1000);
  run.server.hanging = false;
  fail();
  expect((await run.result()).failure?.code).toBe("E_SOURCE_MISSING");
  expect(run.server.links.at(-1)?.received.at(-1)).toMatchObject({
    type: "disown",
    body: { code: "E_SOURCE_MISSING" },
  });
});
